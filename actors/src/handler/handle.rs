//! What whoever added a handler has of it.

use std::sync::Arc;

use super::run::Handling;
use crate::supervisor::{Supervisor, SupervisorError};

/// A handler that was added. Cheap to clone; dropping it removes nothing.
#[derive(Clone)]
pub struct HandlerHandle {
    handling: Arc<Handling>,
    supervisor: Supervisor,
    path: Arc<str>,
}

impl HandlerHandle {
    pub(crate) fn new(handling: Arc<Handling>, supervisor: Supervisor, path: String) -> Self {
        Self { handling, supervisor, path: path.into() }
    }

    /// Whether it was called for everything that the first list named.
    pub fn has_synced(&self) -> bool {
        *self.handling.synced.borrow()
    }

    /// Waits for that.
    pub async fn synced(&self) {
        // The sender is held by the handling, which is held here.
        let _ = self.handling.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// How many calls have panicked.
    pub fn panics(&self) -> u64 {
        self.handling.panics()
    }

    /// Its path in the supervisor's tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Removes it. When this returns, no call is under way and none will be made; a call that does not end within the
    /// child's stop timeout is cut off where it waits.
    pub async fn remove(&self) {
        match self.supervisor.remove(&self.path).await {
            // It was removed before, or the whole tree has ended.
            Ok(()) | Err(SupervisorError::NotFound { .. } | SupervisorError::Down { .. }) => {}
            Err(error) => tracing::warn!(%error, "cannot stop `{}`", self.path),
        }
        self.handling.end();
    }
}
