//! A list-then-watch of one type that is opened again whenever it ends, with the advice of its end.

use std::time::Duration;

use futures::StreamExt as _;
use tidegate_actors::env::Env;
use tidegate_actors::id::ResourceType;
use tidegate_actors::source::{Cursor, Source as _, SourceError, SourceEvent, SourceStream};
use tidegate_actors::supervisor::{Backoff, Delays};
use tokio::time::Instant;

use crate::source::kubernetes::KubernetesSource;

/// How often to look whether a type that is not there, or not permitted, is.
const PROBE: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Follow {
    source: KubernetesSource,
    resource_type: ResourceType,
    env: Env,
    stream: Option<SourceStream>,
    cursor: Option<Cursor>,
    delays: Delays,
    reset_after: Duration,
    open_at: Instant,
    failures: u32,
}

impl Follow {
    pub fn new(source: &KubernetesSource, resource_type: ResourceType) -> Self {
        let (backoff, env) = (Backoff::default(), source.shared.env.clone());
        Self {
            source: source.clone(),
            resource_type,
            stream: None,
            cursor: None,
            delays: backoff.delays(),
            reset_after: backoff.reset_after,
            open_at: env.clock.now(),
            failures: 0,
            env,
        }
    }

    /// How often it ended since it last told anything.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What is told next. May be dropped and called again; nothing is lost.
    pub async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        let now = self.env.clock.now();
        if self.stream.is_none() && self.open_at > now {
            self.env.clock.sleep(self.open_at.saturating_duration_since(now)).await;
        }
        let open = || self.source.open(&self.resource_type, self.cursor.clone());
        let told = self.stream.get_or_insert_with(open).next().await;
        match told.unwrap_or_else(|| Err(SourceError::retry("the stream ended"))) {
            Ok(event) => {
                self.failures = 0;
                match &event {
                    SourceEvent::Init => self.cursor = None,
                    SourceEvent::InitDone(cursor) | SourceEvent::Bookmark(cursor) => self.cursor = Some(cursor.clone()),
                    _ => {}
                }
                Ok(event)
            }
            Err(error) => {
                self.ended(&error);
                Err(error)
            }
        }
    }

    fn ended(&mut self, error: &SourceError) {
        let now = self.env.clock.now();
        if now.saturating_duration_since(self.open_at) >= self.reset_after {
            self.delays.reset();
        }
        self.stream = None;
        self.failures += 1;
        let rng = &*self.env.rng;
        let wait = match error {
            SourceError::Retry { after, .. } => self.delays.next(rng).max(after.unwrap_or_default()),
            SourceError::Relist { .. } => {
                self.cursor = None;
                self.delays.next(rng)
            }
            SourceError::Absent { .. } | SourceError::NotPermitted { .. } => {
                self.cursor = None;
                PROBE.mul_f64(1.0 - 0.25 * rng.unit())
            }
        };
        self.open_at = now + wait;
    }
}
