//! What is shown of a tree: plain data that anybody may serialise.

use std::time::Duration;

use serde::Serialize;

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

impl State {
    /// One word, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing-off",
            Self::Open => "open",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
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
    /// What it says about its state, or whom it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it has been started again.
    pub restarts: u64,
    /// How it last ended when nobody had asked it to.
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

impl TreeStatus {
    /// The child at a path under this one; the empty path is this one.
    pub fn find(&self, path: &str) -> Option<&TreeStatus> {
        if path.is_empty() {
            return Some(self);
        }
        let under = |child: &&TreeStatus| rest_of(path, &child.name).is_some();
        let child = self.children.iter().filter(under).max_by_key(|child| child.name.len())?;
        child.find(rest_of(path, &child.name)?)
    }
}

/// What of a path comes after a first name. Names may hold slashes themselves.
pub(super) fn rest_of<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
