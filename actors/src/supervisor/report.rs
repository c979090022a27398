//! How a child tells its health. It only changes what is shown, never what the supervisor decides.

use std::sync::Arc;
use std::time::Duration;

use super::table::Table;

/// A child's own word on its health, valid for the one start that it was given to: a report of an earlier
/// life is ignored.
#[derive(Clone)]
pub struct Reporter {
    target: Option<(Arc<Table>, u64, u64)>,
}

/// What a child last said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Running,
    Degraded(String),
    Waiting(String, Option<Duration>),
}

impl Reporter {
    pub(super) fn new(table: Arc<Table>, child: u64, generation: u64) -> Self {
        Self { target: Some((table, child, generation)) }
    }

    /// One that tells nobody, for children run outside a supervisor.
    pub fn detached() -> Self {
        Self { target: None }
    }

    /// All is well.
    pub fn running(&self) {
        self.report(Report::Running);
    }

    /// It works, but not as it should: on stale data, say.
    pub fn degraded(&self, reason: impl Into<String>) {
        self.report(Report::Degraded(reason.into()));
    }

    /// It cannot work now and tries again in `next_attempt`; `None` when it waits for an event, such as a
    /// resource type that does not exist yet.
    pub fn waiting(&self, reason: impl Into<String>, next_attempt: Option<Duration>) {
        self.report(Report::Waiting(reason.into(), next_attempt));
    }

    fn report(&self, report: Report) {
        if let Some((table, child, generation)) = &self.target {
            table.report(*child, *generation, report);
        }
    }
}
