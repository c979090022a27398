//! The handle of a whole tree: add, remove, pause, resume, restart, look, shut down.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorCell;

use super::exit::{Exit, SupervisorError};
use super::policy::Strategy;
use super::spec::ChildSpec;
use super::status::{Table, TreeStatus};
use crate::env::Env;

/// A running tree of supervised actors. Cheap to clone. Paths are names joined by `/`, without the root's:
/// `sources/demo/httproutes`. Dropping the handle stops nothing.
#[derive(Clone)]
pub struct Supervisor {
    #[allow(dead_code)]
    table: Arc<Table>,
}

impl Supervisor {
    /// Starts a root without children.
    pub async fn start(_name: &str, _strategy: Strategy, _env: Env) -> Result<Self, SupervisorError> {
        unimplemented!("next commit")
    }

    /// Adds a child to the root and waits for its first attempt to start (with that of its own first
    /// children, if it is a supervisor). A child that cannot start is no error here: it is backed off like one that crashed.
    pub async fn add(&self, spec: ChildSpec) -> Result<(), SupervisorError> {
        self.add_to("", spec).await
    }

    /// Adds a child to the supervisor at `parent`; the empty path is the root.
    pub async fn add_to(&self, _parent: &str, _spec: ChildSpec) -> Result<(), SupervisorError> {
        unimplemented!("next commit")
    }

    /// Stops a child, waits until it is gone, and forgets it.
    pub async fn remove(&self, _path: &str) -> Result<(), SupervisorError> {
        unimplemented!("next commit")
    }

    /// Stops a child, waits until it is gone, and keeps it down until `resume` or `restart`.
    pub async fn pause(&self, _path: &str) -> Result<(), SupervisorError> {
        unimplemented!("next commit")
    }

    /// Starts a paused child again; does nothing to one that is not paused. Does not wait for the start.
    pub async fn resume(&self, _path: &str) -> Result<(), SupervisorError> {
        unimplemented!("next commit")
    }

    /// Stops a child if it runs and starts it at once, whatever it waited for, with its failures forgotten.
    /// Does not wait for it.
    pub async fn restart(&self, _path: &str) -> Result<(), SupervisorError> {
        unimplemented!("next commit")
    }

    /// What everybody does now.
    pub fn tree(&self) -> TreeStatus {
        unimplemented!("next commit")
    }

    /// The running actor at a path; `None` when there is none or it does not run. The empty path is the root.
    pub fn get(&self, _path: &str) -> Option<ActorCell> {
        unimplemented!("next commit")
    }

    /// Stops the children in reverse order of their start, each awaited and, after its stop timeout, killed;
    /// then the root. What is left at the deadline is killed.
    pub async fn shutdown(&self, _deadline: Duration) {
        unimplemented!("next commit")
    }

    /// Resolves when the root has ended, and says how.
    pub async fn ended(&self) -> Exit {
        unimplemented!("next commit")
    }
}
