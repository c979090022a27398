//! The ways in which a child, and a whole tree, ends; each has a name. And the errors of a supervisor's
//! handle.

use std::error::Error;
use std::fmt;

/// Any error of a child.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildExit {
    /// It had nothing more to do, or stopped itself.
    Finished,
    /// It returned an error, or could not start.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// Somebody killed it, or it did not stop in time.
    Killed,
    /// Its supervisor asked it to stop.
    Stopped,
}

impl ChildExit {
    /// Whether a transient child is restarted after it.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Finished | Self::Stopped)
    }

    /// One word, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Panicked(_) => "panicked",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for ChildExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            other => f.write_str(other.name()),
        }
    }
}

/// How a whole tree ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was shut down, and every child stopped in order.
    Stopped,
    /// It was killed: the shutdown's deadline passed, or the runtime went away.
    Killed,
    /// A core child could not be kept running. The process should end, for its platform to restart it.
    Escalated {
        /// Path of the child.
        child: String,
        /// What happened, and how often.
        error: String,
    },
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Killed => f.write_str("killed: it did not stop in time"),
            Self::Escalated { child, error } => write!(f, "core actor `{child}` cannot be kept running: {error}"),
        }
    }
}

/// What a supervisor's handle refuses.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The root actor did not start.
    #[error("start the supervisor `{name}`")]
    Start {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<ractor::SpawnErr>,
    },
    /// Two children of one name.
    #[error("add the child `{path}`: a child of this name exists; remove it first or choose another name")]
    Exists {
        /// The path that is taken.
        path: String,
    },
    /// A name that no path can hold.
    #[error("add a child to `{parent}`: its name is empty")]
    EmptyName {
        /// The supervisor's path.
        parent: String,
    },
    /// No such child.
    #[error("find the child `{path}`: there is none; `tree()` lists all paths")]
    NotFound {
        /// The path that leads nowhere.
        path: String,
    },
    /// A child that has no children.
    #[error("add a child to `{path}`: that is not a running supervisor")]
    NotASupervisor {
        /// The path.
        path: String,
    },
    /// Too late.
    #[error("{operation} `{path}`: its supervisor is stopping or has ended")]
    Ending {
        /// What was asked for.
        operation: &'static str,
        /// Of whom.
        path: String,
    },
}
