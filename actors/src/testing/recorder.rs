//! An event handler that remembers every call, and can be slow, stuck or panicking.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::probe::{Mood, endure};
use crate::handler::EventHandler;
use crate::object::Object;
use crate::watch;

/// One call of a handler.
#[derive(Clone, Debug)]
pub enum Call {
    /// `on_add`.
    Add {
        /// The object.
        object: Arc<Object>,
        /// Whether it was there already.
        initial: bool,
    },
    /// `on_update`.
    Update {
        /// What the handler is said to have seen last.
        old: Arc<Object>,
        /// What there is now.
        new: Arc<Object>,
    },
    /// `on_delete`.
    Delete {
        /// What the handler is said to have seen last.
        object: Arc<Object>,
        /// Whether the delete was inferred.
        tombstone: bool,
    },
}

/// Notes its calls when they end. Clones share the notes.
#[derive(Clone, Default)]
pub struct Recorder {
    calls: Arc<Mutex<Vec<(Instant, Call)>>>,
    mood: watch::Sender<Mood>,
}

impl Recorder {
    /// How it treats calls from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Every call so far, with its time.
    pub fn calls(&self) -> Vec<(Instant, Call)> {
        self.calls.lock().clone()
    }

    #[allow(clippy::panic)]
    async fn note(&self, call: Call) {
        if let Err(reason) = endure(&self.mood, None).await {
            panic!("{reason}");
        }
        self.calls.lock().push((Instant::now(), call));
    }
}

#[async_trait]
impl EventHandler for Recorder {
    async fn on_add(&self, object: Arc<Object>, initial: bool) {
        self.note(Call::Add { object, initial }).await;
    }

    async fn on_update(&self, old: Arc<Object>, new: Arc<Object>) {
        self.note(Call::Update { old, new }).await;
    }

    async fn on_delete(&self, object: Arc<Object>, tombstone: bool) {
        self.note(Call::Delete { object, tombstone }).await;
    }
}
