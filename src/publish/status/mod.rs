//! What objects are told: every object's conditions for the API, and written back where a source takes them. What
//! proxies reject is in them.
//!
//! Invariant: nothing here knows of what kind a source is.

mod merge;

mod shard;

mod stamp;

mod writer;

mod rejected;

mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::value::RawValue;
use tidegate_actors::correlation::{OutputBatch, Taps};
use tidegate_actors::id::ObjectRef;
use tidegate_actors::publisher::{PublishError, Publisher};

pub use self::shard::Speaker;
pub use self::told::Told;
pub use self::writer::StatusWriter;
use crate::correlate::Outputs;
use crate::publish::traffic::Traffic;

/// Every object's status now, as JSON text. Clones share it.
#[derive(Clone, Default)]
pub struct PublishedStatuses {
    all: Arc<RwLock<BTreeMap<ObjectRef, Box<RawValue>>>>,
}

impl PublishedStatuses {
    /// All of them, sorted by resource type and key.
    pub fn list(&self) -> Vec<Box<RawValue>> {
        self.all.read().values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, object: &ObjectRef) -> Option<Box<RawValue>> {
        self.all.read().get(object).cloned()
    }
}

/// Keeps what is [`Told`] up to date with what translation says.
pub struct StatusPublisher {
    collections: Outputs,
    told: Told,
    traffic: Traffic,
}

impl StatusPublisher {
    /// A publisher into `told`, which outlives it. It lets `traffic` go first.
    pub fn new(collections: &Outputs, told: Told, traffic: Traffic) -> Self {
        Self { collections: *collections, told, traffic }
    }

    /// The collections that it needs.
    pub fn taps(collections: &Outputs) -> Taps {
        let mut taps = Taps::default();
        taps.add(collections.statuses);
        taps.add(collections.answers);
        taps
    }
}

impl Publisher for StatusPublisher {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        self.traffic.go_first().await;
        let answers = batch.changes(self.collections.answers);
        self.told.answers(batch.is_full(), answers.iter().map(|(key, change)| (key, change.new.as_deref().copied())));
        let changes = batch.changes(self.collections.statuses);
        let changes = changes.iter().map(|(object, change)| (object, change.new.clone()));
        let told = self.told.translated(batch.is_full(), changes);
        told.map_err(|error| PublishError { reason: format!("a status does not serialise: {error}") })
    }
}
