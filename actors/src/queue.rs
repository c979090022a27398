//! Deltas between a reflector and its store: what a source tells goes in, coalesced changes come out. It belongs
//! to the slot of a resource type and outlives both ends. Pure and synchronous; it knows no actor.
//!
//! Laws: at most one delta a key, in first-seen order, with `old` as the store last saw it; a list appears as one
//! atomic batch, and an aborted one leaves no trace; what a list no longer names becomes a tombstone; one
//! version of an object is told once and held once; a batch that was begun and not committed comes again, unchanged.

use std::sync::Arc;

use serde::Serialize;

use crate::Set;
use crate::changes::{Batch, Change, Changes};
use crate::id::ObjectKey;
use crate::object::{Keyed, Object};
use crate::port::Buffer;
use crate::source::{Cursor, SourceEvent};

#[cfg(test)]
mod tests;

/// How a resource type stands with its source.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case", tag = "phase", content = "reason")]
pub enum Phase {
    /// No list has been completed yet.
    #[default]
    Pending,
    /// What is held follows the source.
    Synced,
    /// The source has no such resource type, which is not the same as an empty list.
    Absent(String),
    /// The source cannot be followed now, and why; what is held is the last known state.
    Degraded(String),
}

/// What the store is to apply at once.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Changed objects.
    pub changes: Batch<ObjectKey, Arc<Object>>,
    /// How the type stands with its source after them.
    pub phase: Phase,
    /// Whether a whole list has ever been completed.
    pub complete: bool,
    /// From where a watch would go on after these changes, or a little before them.
    pub cursor: Option<Cursor>,
}

/// Deltas that wait for the store. See the module's laws.
#[derive(Default)]
pub struct DeltaQueue {
    /// The source's state as far as it was told, deltas that wait included.
    known: Set<Keyed>,
    changes: Changes<ObjectKey, Arc<Object>>,
    /// A list under way, in order; objects of an unchanged version are the known ones.
    listing: Option<Vec<Arc<Object>>>,
    cursor: Option<Cursor>,
    phase: Phase,
    complete: bool,
    /// What is known is from an earlier run, and the source has told nothing in this one.
    unconfirmed: bool,
    /// The phase changed since the store last looked.
    news: bool,
    begun: Option<Delta>,
}

impl DeltaQueue {
    /// Takes in what the source tells.
    pub fn feed(&mut self, event: SourceEvent) {
        let confirms = self.listing.is_none() && !matches!(event, SourceEvent::Init);
        self.unconfirmed &= !(confirms || matches!(event, SourceEvent::InitDone(_)));
        match event {
            SourceEvent::Init => self.listing = Some(Vec::new()),
            SourceEvent::InitApply(object) | SourceEvent::Apply(object) if self.listing.is_some() => {
                let object = self.held_if_same(object);
                self.listing.get_or_insert_default().push(object);
            }
            SourceEvent::InitApply(object) | SourceEvent::Apply(object) => self.apply(object),
            SourceEvent::InitKeep(key) => {
                if let Some(listing) = &mut self.listing {
                    listing.extend(self.known.get(&key).map(|known| known.0.clone()));
                }
            }
            SourceEvent::InitDone(cursor) => {
                // One that ends no list (it came twice, say) names no objects, and must not delete them all.
                let Some(listed) = self.listing.take() else { return self.cursor = Some(cursor) };
                self.replace(listed);
                self.cursor = Some(cursor);
                // News even when the list is empty and nothing changed: the store must learn that it is synced.
                self.news |= !self.complete;
                self.complete = true;
                self.set_phase(Phase::Synced);
            }
            SourceEvent::Delete(key) => match &mut self.listing {
                Some(listing) => listing.retain(|object| *object.key() != key),
                None => self.delete(&key, false),
            },
            SourceEvent::Bookmark(cursor) => self.cursor = Some(cursor),
        }
    }

    /// The stream ended. A list that was under way leaves no trace.
    pub fn abort_list(&mut self) {
        self.listing = None;
    }

    /// What is known is from an earlier run.
    pub fn doubt(&mut self) {
        self.unconfirmed = true;
    }

    /// Whether the source has told nothing yet, though something is known from an earlier run.
    pub fn is_doubtful(&self) -> bool {
        self.unconfirmed
    }

    /// Whether a list is under way.
    pub fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// The cursor is of no use any more: the next watch begins with a list.
    pub fn forget_cursor(&mut self) {
        self.cursor = None;
    }

    /// Where a watch is to be resumed; `None` when a list is needed.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// How the type stands with its source.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether a whole list has ever been completed.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Says how the type stands with its source; the store learns it in order with the deltas.
    pub fn set_phase(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.news = true;
        }
    }

    /// What the store is to apply next: the batch that was begun and not committed, else all that waits.
    pub fn begin(&mut self) -> Option<Delta> {
        if self.begun.is_none() && (self.news || !self.changes.is_empty()) {
            self.news = false;
            self.begun = Some(Delta {
                changes: self.changes.begin().unwrap_or_default(),
                phase: self.phase.clone(),
                complete: self.complete,
                cursor: self.cursor.clone(),
            });
        }
        self.begun.clone()
    }

    /// The store has applied the batch that was begun.
    pub fn commit(&mut self) {
        self.changes.commit();
        self.begun = None;
    }

    /// Distinct keys that wait.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing waits, not even a change of phase.
    pub fn is_empty(&self) -> bool {
        self.depth() == 0
    }

    fn held_if_same(&self, object: Arc<Object>) -> Arc<Object> {
        match self.known.get(object.key()) {
            Some(Keyed(held)) if held.is_same_version(&object) => held.clone(),
            _ => object,
        }
    }

    fn apply(&mut self, object: Arc<Object>) {
        let known = self.known.get(object.key());
        if known.is_some_and(|known| known.0.is_same_version(&object)) {
            return;
        }
        let old = self.known.replace(Keyed(object.clone())).map(|known| known.0);
        self.changes.record(object.key().clone(), Change::live(old, Some(object)));
    }

    fn delete(&mut self, key: &ObjectKey, tombstone: bool) {
        if let Some(Keyed(old)) = self.known.take(key) {
            self.changes.record(key.clone(), Change { tombstone, ..Change::live(Some(old), None) });
        }
    }

    /// The list is the new truth: its difference to what is known is recorded as one.
    fn replace(&mut self, listed: Vec<Arc<Object>>) {
        let mut now: Set<Keyed> = Set::with_capacity_and_hasher(listed.len(), rustc_hash::FxBuildHasher);
        for object in &listed {
            now.replace(Keyed(object.clone()));
        }
        let initial = !self.complete;
        for object in listed {
            // A key that was listed twice counts as it was listed last.
            if !now.get(object.key()).is_some_and(|last| Arc::ptr_eq(&last.0, &object)) {
                continue;
            }
            let old = self.known.get(object.key()).map(|known| known.0.clone());
            if !old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &object)) {
                self.changes.record(object.key().clone(), Change { initial, ..Change::live(old, Some(object)) });
            }
        }
        let mut gone: Vec<ObjectKey> = self.known.difference(&now).map(|known| known.0.key().clone()).collect();
        gone.sort_unstable();
        for key in gone {
            self.delete(&key, true);
        }
        self.known = now;
    }
}

impl Buffer for DeltaQueue {
    fn depth(&self) -> usize {
        let silent = self.begun.as_ref().is_some_and(|begun| begun.changes.is_empty());
        self.changes.len() + usize::from(self.news || silent)
    }
}
