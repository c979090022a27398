//! What objects are told: every object's conditions for the API, and written back where a source takes them.
//!
//! Invariant: nothing here knows of what kind a source is.

mod merge;

mod shard;

mod stamp;

mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::value::RawValue;
use tidegate_actors::correlation::{OutputBatch, Taps};
use tidegate_actors::env::Env;
use tidegate_actors::id::ObjectRef;
use tidegate_actors::publisher::{PublishError, Publisher};

pub use self::shard::Speaker;
use self::stamp::{stamp, timestamp};
pub use self::writer::StatusWriter;
use crate::correlate::Outputs;
use crate::correlate::status::ObjectStatus;

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

/// Keeps [`PublishedStatuses`] up to date, and tells the [`StatusWriter`].
pub struct StatusPublisher {
    env: Env,
    collections: Outputs,
    statuses: PublishedStatuses,
    writer: StatusWriter,
}

impl StatusPublisher {
    /// A publisher into `statuses` and through `writer`, which both outlive it.
    pub fn new(env: &Env, collections: &Outputs, statuses: PublishedStatuses, writer: StatusWriter) -> Self {
        Self { env: env.clone(), collections: *collections, statuses, writer }
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
        let now = timestamp(self.env.clock.wall());
        let mut all = self.statuses.all.write();
        let answers = batch.changes(self.collections.answers);
        self.writer.answers(batch.is_full(), answers.iter().map(|(key, change)| (key, change.new.as_deref().copied())));
        let changes = batch.changes(self.collections.statuses);
        self.writer.apply(batch.is_full(), changes.iter().map(|(object, change)| (object, change.new.clone())));
        if batch.is_full() {
            let named: std::collections::BTreeSet<&ObjectRef> = changes.iter().map(|(object, _)| object).collect();
            all.retain(|object, _| named.contains(object));
        }
        for (object, change) in changes {
            match &change.new {
                Some(status) => {
                    let stamped = stamped(status, all.get(object).map(|held| &**held), &now).map_err(|error| {
                        PublishError { reason: format!("{object}: its status does not serialise: {error}") }
                    })?;
                    all.insert(object.clone(), stamped);
                }
                None => drop(all.remove(object)),
            }
        }
        Ok(())
    }
}

fn stamped(status: &ObjectStatus, before: Option<&RawValue>, now: &str) -> serde_json::Result<Box<RawValue>> {
    let mut new = serde_json::to_value(status)?;
    let old = before.map(|text| serde_json::from_str(text.get())).transpose()?;
    stamp(&mut new, old.as_ref(), now);
    serde_json::value::to_raw_value(&new)
}
