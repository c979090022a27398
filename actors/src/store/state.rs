//! How current a store is.

use std::time::Duration;

use serde::Serialize;

use crate::queue::Phase;

/// How a resource type stands with its source, as far as its readers can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyncState {
    /// How it stands.
    pub phase: Phase,
    /// Whether a whole list has ever been applied: what is held is, or once was, complete.
    pub complete: bool,
    /// When it came into this phase, since the Unix epoch.
    pub since: Duration,
    /// When the source last told anything, since the Unix epoch.
    pub last_event: Option<Duration>,
}

impl SyncState {
    /// Whether readers may rely on it: it is complete, or the type is known not to exist.
    pub fn is_settled(&self) -> bool {
        self.complete || matches!(self.phase, Phase::Absent(_))
    }

    /// Why it does not follow its source, if it does not.
    pub fn reason(&self) -> Option<&str> {
        match &self.phase {
            Phase::Pending | Phase::Synced => None,
            Phase::Absent(reason) | Phase::Degraded(reason) => Some(reason),
        }
    }
}
