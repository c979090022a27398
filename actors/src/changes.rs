//! Changes waiting for one consumer, coalesced per key: what every edge of the path carries.
//!
//! Laws: at most one entry a key, whatever the event rate; first-seen order; `old` is what this consumer last
//! saw; what was added and deleted again before the consumer looked is never shown; a batch that was begun
//! and not committed (its consumer panicked) is handed out again, unchanged, before anything newer.

use std::hash::Hash;
use std::sync::Arc;

use crate::Map;

/// So much room is kept from one batch to the next.
const KEPT: usize = 256;

/// What happened to one key since the consumer last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// What the consumer last saw; `None` if it never saw one, or saw it deleted.
    pub old: Option<V>,
    /// What there is now; `None` if it was deleted.
    pub new: Option<V>,
    /// The value was known from a list (the first one, or a replay), not from a live event.
    pub initial: bool,
    /// The delete was inferred from a list that no longer names the object; `old` may miss its last changes.
    pub tombstone: bool,
}

impl<V> Change<V> {
    /// A live change.
    pub fn live(old: Option<V>, new: Option<V>) -> Self {
        Self { old, new, initial: false, tombstone: false }
    }
}

/// A batch in first-seen order, shared with whoever works on it.
pub type Batch<K, V> = Arc<[(K, Change<V>)]>;

/// Changes of one consumer. See the module's laws.
pub struct Changes<K, V> {
    pending: Map<K, (u64, Change<V>)>,
    next: u64,
    begun: Option<Batch<K, V>>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { pending: Map::default(), next: 0, begun: None }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Changes<K, V> {
    /// Makes room for so many keys that are about to be recorded, perhaps a whole list.
    pub(crate) fn make_room(&mut self, keys: usize) {
        self.pending.reserve(keys.saturating_sub(self.pending.len()));
    }

    /// Adds a change; merges it with one that still waits.
    pub fn record(&mut self, key: K, change: Change<V>) {
        if let Some((_, waiting)) = self.pending.get_mut(&key) {
            if waiting.old.is_none() && change.new.is_none() {
                self.pending.remove(&key);
                return;
            }
            waiting.new = change.new;
            waiting.tombstone = change.tombstone;
            waiting.initial &= change.initial;
            return;
        }
        if change.old.is_none() && change.new.is_none() {
            return;
        }
        self.pending.insert(key, (self.next, change));
        self.next += 1;
    }

    /// The batch to work on: the one that was begun and not committed, else all that waits. `None` if there is
    /// nothing. It stays here until [`commit`](Self::commit).
    pub fn begin(&mut self) -> Option<Batch<K, V>> {
        if self.begun.is_none() && !self.pending.is_empty() {
            let mut waiting: Vec<_> = if self.pending.capacity() > KEPT {
                // A whole list has been waiting. Its room would be walked over, and cleared, with every batch to come.
                std::mem::take(&mut self.pending).into_iter().collect()
            } else {
                self.pending.drain().collect()
            };
            waiting.sort_unstable_by_key(|(_, (order, _))| *order);
            self.begun = Some(waiting.into_iter().map(|(key, (_, change))| (key, change)).collect());
            self.next = 0;
        }
        self.begun.clone()
    }

    /// The batch that was begun is done.
    pub fn commit(&mut self) {
        self.begun = None;
    }

    /// Forgets everything, begun or waiting.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.begun = None;
    }

    /// The newest value that is on its way for a key: `None` if nothing waits, `Some(None)` if a delete does.
    pub fn latest(&self, key: &K) -> Option<Option<&V>> {
        if let Some((_, waiting)) = self.pending.get(key) {
            return Some(waiting.new.as_ref());
        }
        let begun = self.begun.as_ref()?;
        begun.iter().find(|(k, _)| k == key).map(|(_, change)| change.new.as_ref())
    }

    /// Distinct keys waiting, those of a begun batch included.
    pub fn len(&self) -> usize {
        self.pending.len() + self.begun.as_ref().map_or(0, |batch| batch.len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(batch: &Batch<&'static str, u32>) -> Vec<(&'static str, Option<u32>, Option<u32>)> {
        batch.iter().map(|(k, c)| (*k, c.old, c.new)).collect()
    }

    #[test]
    fn a_key_that_changes_often_waits_once_with_the_oldest_old_and_the_newest_new() {
        let mut changes = Changes::default();
        changes.record("b", Change::live(Some(1), Some(2)));
        changes.record("a", Change::live(None, Some(7)));
        changes.record("b", Change::live(Some(2), Some(3)));
        let batch = changes.begin().unwrap_or_default();
        assert_eq!(values(&batch), [("b", Some(1), Some(3)), ("a", None, Some(7))]);
    }

    #[test]
    fn the_room_that_a_list_took_is_given_back_and_the_room_of_a_few_changes_is_kept() {
        let mut changes = Changes::default();
        (0..10_000_u32).for_each(|key| changes.record(key, Change::live(None, Some(key))));
        let batch = changes.begin().unwrap_or_default();
        assert!(batch.iter().map(|(key, _)| *key).eq(0..10_000));
        assert_eq!(changes.pending.capacity(), 0);
        changes.commit();
        changes.record(7, Change::live(Some(7), Some(8)));
        let room = changes.pending.capacity();
        assert_eq!(changes.begin().unwrap_or_default().len(), 1);
        assert_eq!(changes.pending.capacity(), room);
    }

    #[test]
    fn what_came_and_went_unseen_is_never_shown() {
        let mut changes = Changes::default();
        changes.record("a", Change::live(None, Some(1)));
        changes.record("a", Change::live(Some(1), None));
        assert!(changes.begin().is_none());
        assert!(changes.is_empty());
    }

    #[test]
    fn a_batch_that_was_not_committed_is_handed_out_again_before_newer_changes() {
        let mut changes = Changes::default();
        changes.record("a", Change::live(None, Some(1)));
        let first = changes.begin();
        changes.record("a", Change::live(Some(1), Some(2)));
        assert_eq!(changes.begin(), first);
        assert_eq!(changes.len(), 2);
        changes.commit();
        let second = changes.begin().unwrap_or_default();
        assert_eq!(values(&second), [("a", Some(1), Some(2))]);
    }

    #[test]
    fn delete_and_create_between_two_looks_shows_both_ends() {
        let mut changes = Changes::default();
        changes.record("a", Change::live(Some(1), None));
        changes.record("a", Change::live(None, Some(2)));
        let batch = changes.begin().unwrap_or_default();
        assert_eq!(values(&batch), [("a", Some(1), Some(2))]);
    }
}
