//! The table that everybody reads: what each child is now.

use serde::Serialize;

use super::report::Report;

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It runs, and says that it does not do so well.
    Degraded,
    /// It runs, and says that it waits; or, under rest-for-one, it waits for a sibling.
    Waiting,
    /// It ended and will be started again.
    BackingOff,
    /// Its circuit breaker is open: it ended too often in a row and will be probed.
    Open,
    /// It is being stopped.
    Stopping,
    /// Somebody paused it.
    Paused,
    /// It finished, or was stopped, and stays so.
    Stopped,
    /// It failed and is not restarted.
    Failed,
}

/// A supervisor or another child, with its children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeStatus {
    /// Its name among its siblings.
    pub name: String,
    /// Its path under the root, the names joined by `/`; empty for the root.
    pub path: String,
    /// What it does now.
    pub state: State,
    /// How often it has been started again.
    pub restarts: u64,
    /// Why it last ended, or what it says is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it tries again: milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<u64>,
    /// For how long it has been in this state, in milliseconds.
    pub since: u64,
    /// Its children, in order of start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeStatus>,
}

/// The rows of one supervisor.
pub(super) struct Table {}

impl Table {
    pub(super) fn report(&self, _child: u64, _generation: u64, _report: Report) {
        unimplemented!("next commit")
    }
}
