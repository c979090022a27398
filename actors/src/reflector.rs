//! The actor that runs one source for one resource type: opens the stream, feeds the slot's queue, and goes on
//! as the source advises when the stream ends. It knows neither the store nor its readers.
//!
//! Laws: the cursor lives in the slot, so a restarted reflector resumes; a stream that is silent for too long, or a
//! list that does not end, counts as broken; nothing that goes wrong here removes an object from anywhere.

mod attempts;

mod faulty;

mod watch;

#[cfg(test)]
pub(crate) mod scripted;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::env::Env;
use crate::port::Port;
use crate::queue::DeltaQueue;
use crate::source::Source;
use crate::store::Lister;
use crate::supervisor::{Backoff, BreakerPolicy, ChildSpec};

/// How patient a reflector is.
#[derive(Clone, Debug, PartialEq)]
pub struct ReflectorOptions {
    /// How long to wait before a broken stream is opened again; a stream that lasted for its `reset_after`
    /// begins anew with the first delay.
    pub backoff: Backoff,
    /// When to stop hammering a source, and how often to probe it then.
    pub breaker: BreakerPolicy,
    /// A list that takes longer counts as broken.
    pub list_deadline: Duration,
    /// A stream that tells nothing for so long counts as broken; more than the source's distance between bookmarks.
    pub silence: Duration,
    /// A resumed stream that stays open for so long without an error works, though nothing happens.
    pub settle: Duration,
    /// How often to look whether a type that the source does not have has come.
    pub absent_probe: Duration,
    /// How often to look whether a permission that was missing has been given.
    pub denied_probe: Duration,
}

impl Default for ReflectorOptions {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            // The backoff has reached its longest delay by then, so the breaker only keeps that pace.
            breaker: BreakerPolicy { failures: 10, open_for: Duration::from_secs(30) },
            list_deadline: Duration::from_secs(300),
            silence: Duration::from_secs(300),
            settle: Duration::from_secs(5),
            absent_probe: Duration::from_secs(10),
            denied_probe: Duration::from_secs(5),
        }
    }
}

/// What a reflector works with; all of it outlives the reflector.
#[derive(Clone)]
pub(crate) struct Reflector {
    pub source: Arc<dyn Source>,
    pub port: Port<DeltaQueue>,
    /// For its type, and to say when the source was last heard.
    pub lister: Lister,
    pub options: ReflectorOptions,
    pub env: Env,
}

impl Reflector {
    /// The reflector as a supervised child. It never escalates: while it is down, the store serves what it has.
    pub fn spec(self) -> ChildSpec {
        let name = self.lister.resource_type().plural_and_group();
        ChildSpec::task(name, move |context| watch::run(self.clone(), context))
    }
}
