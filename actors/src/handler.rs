//! Callbacks on a store's changes. Each handler has a task of its own, fed by a port of its own, so a slow one
//! delays only itself. Thin: order, coalescing and redelivery are the port's.
//!
//! Laws: `old` is what this handler last saw; an object that was deleted and created again under its name is
//! shown as both; a call that panics is counted, reported on the object, and not repeated.

mod handle;

mod run;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use handle::HandlerHandle;
pub(crate) use run::Handling;

use crate::object::Object;

/// Is told what happens to the objects of one type. Calls come one after the other.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// There is an object that this handler has not seen. `initial`: it was there already, when the type was
    /// first listed or when this handler was added.
    async fn on_add(&self, object: Arc<Object>, initial: bool) {
        let _ = (object, initial);
    }

    /// An object changed; or, with both the same, it is time for a resync. What happened in between two calls
    /// shows as one.
    async fn on_update(&self, old: Arc<Object>, new: Arc<Object>) {
        let _ = (old, new);
    }

    /// An object is gone; this is how it was last seen. `tombstone`: its delete was not seen but inferred, so
    /// its last changes may be missing.
    async fn on_delete(&self, object: Arc<Object>, tombstone: bool) {
        let _ = (object, tombstone);
    }
}

/// How a handler is called.
#[derive(Clone, Debug, Default)]
pub struct HandlerOptions {
    /// Calls `on_update` with each object again and again, so often; never, by default.
    pub resync: Option<Duration>,
}
