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

impl ChildExit {
    /// The name of the error that an actor ended with. Whatever an actor returns arrives here as a
    /// [`Failure`], so anything that is neither that nor a [`Panicked`] is what ractor caught from a panic.
    pub(super) fn of_error(error: &BoxError) -> Self {
        match error.downcast_ref::<Failure>() {
            Some(Failure::Returned(error)) => Self::Failed(chain(error.as_ref())),
            Some(Failure::Panicked(message)) => Self::Panicked(message.clone()),
            None => Self::Panicked(error.to_string()),
        }
    }
}

/// An actor's error on its way through ractor, which makes no difference between an error and a panic.
#[derive(Debug)]
pub(super) enum Failure {
    Returned(BoxError),
    Panicked(String),
}

impl Failure {
    /// Marks what an actor returned, unless it is marked already.
    pub(super) fn mark(error: BoxError) -> BoxError {
        if error.is::<Self>() { error } else { Box::new(Self::Returned(error)) }
    }

    /// What a panic left behind.
    pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Self::Panicked(text.unwrap_or("a panic without a text").to_owned())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(error) => fmt::Display::fmt(error, f),
            Self::Panicked(message) => f.write_str(message),
        }
    }
}

impl Error for Failure {}

/// An error with its sources: `this: because of that: because of that`.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        // Some errors show their source themselves.
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        source = error.source();
    }
    text
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
    #[error("add a child to `{path}`: there is no supervisor")]
    NotASupervisor {
        /// The path.
        path: String,
    },
    /// Its supervisor is stopping, has ended, or waits to be restarted itself.
    #[error("{operation} `{path}`: its supervisor does not run; try again when `tree()` shows that it does")]
    Down {
        /// What was asked for.
        operation: &'static str,
        /// Of whom.
        path: String,
    },
}
