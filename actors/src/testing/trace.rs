//! What happened in a run: lines with their virtual time, and one number for all of them.
//!
//! Law: two runs of one plan have equal traces; where they do not, the first line that differs says what was left to
//! chance.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span;

/// What becomes of a trace's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// Nothing but their digest, which is the cheapest.
    #[default]
    Digest,
    /// They are kept.
    Lines,
    /// They are kept, and go to standard error at once.
    Print,
}

/// Everything that is noted, and everything that some modules log while it is the default subscriber of `tracing`.
/// Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    start: Option<Instant>,
    targets: Vec<&'static str>,
    keep: Keep,
    lines: Vec<String>,
    count: u64,
    digest: rustc_hash::FxHasher,
    line: String,
}

impl Trace {
    /// A trace without lines; as a subscriber it takes what the engine logs.
    pub fn new(keep: Keep) -> Self {
        Self::of(keep, &["tidegate_actors"])
    }

    /// A trace that takes what modules log whose path begins with one of `targets`.
    pub fn of(keep: Keep, targets: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            start: None,
            targets: targets.to_vec(),
            keep,
            lines: Vec::new(),
            count: 0,
            digest: rustc_hash::FxHasher::default(),
            line: String::new(),
        })))
    }

    /// Adds a line.
    pub fn note(&self, line: &str) {
        self.add(format_args!("{line}"));
    }

    /// All lines, if they are kept.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().lines.clone()
    }

    /// One number for all lines, in their order.
    pub fn digest(&self) -> u64 {
        self.0.lock().digest.clone().finish()
    }

    /// How many lines there were, kept or not.
    pub fn len(&self) -> u64 {
        self.0.lock().count
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&self, what: fmt::Arguments<'_>) {
        let inner = &mut *self.0.lock();
        let now = Instant::now();
        let at = now - *inner.start.get_or_insert(now);
        inner.line.clear();
        let _ = write!(inner.line, "{:>12.6} {what}", at.as_secs_f64());
        inner.digest.write(inner.line.as_bytes());
        inner.count += 1;
        if inner.keep == Keep::Print {
            eprintln!("{}", inner.line);
        }
        if inner.keep != Keep::Digest {
            inner.lines.push(inner.line.clone());
        }
    }
}

/// The fields of an event, as they come.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Trace {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        self.0.lock().targets.iter().any(|target| metadata.target().starts_with(target))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.add(format_args!("{}{}", event.metadata().target(), fields.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
