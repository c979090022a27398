//! What happened to one resource type, as far back as it is remembered: the window that a watch can start in, and the
//! longer history from which a list at an earlier version is put together. It knows neither HTTP nor selectors.
//!
//! Laws: events lie in the order of their revisions; a watch starts only where nothing after it is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::kind::Kind;
use crate::object::Object;

/// One write.
#[derive(Debug)]
pub struct Event {
    /// Its revision.
    pub revision: u64,
    /// The object now; for a delete its last state at the delete's revision.
    pub object: Arc<Object>,
    /// The object before.
    pub previous: Option<Arc<Object>>,
    /// Whether it is gone.
    pub deleted: bool,
    frame: OnceLock<Bytes>,
}

impl Event {
    /// The line of a watch that sees the object before and after, in the storage version: made once, for everybody.
    pub fn frame(&self, kind: &Kind) -> Bytes {
        let word = match (self.deleted, &self.previous) {
            (true, _) => "DELETED",
            (false, None) => "ADDED",
            (false, Some(_)) => "MODIFIED",
        };
        self.frame.get_or_init(|| frame(word, &self.object.in_version(kind, &kind.storage))).clone()
    }
}

/// A line of a watch.
pub fn frame(word: &str, object: &[u8]) -> Bytes {
    let start = format!(r#"{{"type":"{word}","object":"#);
    [start.as_bytes(), object, b"}\n"].concat().into()
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that a watch can start behind.
    pub window: usize,
    /// Events that a list at an earlier version can reach back over.
    pub history: usize,
}

/// The events of one resource type.
#[derive(Debug)]
pub struct WatchCache {
    events: VecDeque<Arc<Event>>,
    limits: Limits,
    /// Watches start at this revision or later.
    window_floor: u64,
    /// Lists are at this revision or later.
    history_floor: u64,
    /// The last event that is no longer here.
    dropped: u64,
}

/// A version before everything that is remembered; the oldest that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten(pub u64);

impl WatchCache {
    /// An empty one, from a revision on.
    pub fn new(limits: Limits, revision: u64) -> Self {
        Self { events: VecDeque::new(), limits, window_floor: revision, history_floor: revision, dropped: 0 }
    }

    /// Remembers a write.
    pub fn push(&mut self, object: Arc<Object>, previous: Option<Arc<Object>>, deleted: bool) {
        let revision = object.revision;
        self.events.push_back(Arc::new(Event { revision, object, previous, deleted, frame: OnceLock::new() }));
        if let Some(first) = self.events.len().checked_sub(self.limits.window).filter(|first| *first > 0) {
            // The first event of the window can still be told to who has seen everything before it.
            let oldest = self.events.get(first).map_or(revision, |event| event.revision - 1);
            self.window_floor = self.window_floor.max(oldest);
        }
        if self.events.len() > self.limits.history.max(self.limits.window) {
            let gone = self.events.pop_front();
            self.dropped = gone.map_or(self.dropped, |event| event.revision);
            self.history_floor = self.history_floor.max(self.dropped);
        }
    }

    /// Forgets what a watch could start behind, up to a revision.
    pub fn forget_window(&mut self, revision: u64) {
        self.window_floor = self.window_floor.max(revision);
    }

    /// Forgets the history before a revision, as a compaction does.
    pub fn forget_history(&mut self, revision: u64) {
        self.history_floor = self.history_floor.max(revision);
        let window_floor = self.window_floor;
        let gone = self.events.partition_point(|event| event.revision <= revision.min(window_floor));
        self.dropped = self.events.drain(..gone).next_back().map_or(self.dropped, |event| event.revision);
    }

    /// At most so many events after a revision.
    pub fn since(&self, revision: u64, most: usize) -> Result<Vec<Arc<Event>>, Forgotten> {
        if revision < self.window_floor {
            return Err(Forgotten(self.window_floor));
        }
        self.follow(revision, most)
    }

    /// The same for a watch that is open: it goes on behind the window too, as long as the events are still there.
    pub fn follow(&self, revision: u64, most: usize) -> Result<Vec<Arc<Event>>, Forgotten> {
        if revision < self.dropped {
            return Err(Forgotten(self.window_floor));
        }
        let first = self.events.partition_point(|event| event.revision <= revision);
        Ok(self.events.range(first..).take(most).cloned().collect())
    }

    /// The last so many events up to a revision, oldest first: for whoever wants to see them again.
    pub fn last(&self, count: usize, revision: u64) -> Vec<Arc<Event>> {
        let end = self.events.partition_point(|event| event.revision <= revision);
        self.events.range(end.saturating_sub(count)..end).cloned().collect()
    }

    /// What was different at a revision: the object of each key that was written since, or that it was not there.
    pub fn before(&self, revision: u64) -> Result<BTreeMap<String, Option<Arc<Object>>>, Forgotten> {
        if revision < self.history_floor {
            return Err(Forgotten(self.history_floor));
        }
        let first = self.events.partition_point(|event| event.revision <= revision);
        let mut before = BTreeMap::new();
        for event in self.events.range(first..) {
            before.entry(event.object.key()).or_insert_with(|| event.previous.clone());
        }
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Draft;

    fn mk_kind() -> Kind {
        Kind::all_built_in().into_iter().find(|kind| kind.plural == "configmaps").unwrap()
    }

    fn mk_object(name: &str, revision: u64) -> Arc<Object> {
        let draft = Draft::parse(format!(r#"{{"metadata":{{"namespace":"a","name":"{name}"}}}}"#).as_bytes()).unwrap();
        Arc::new(Object::encode(&mk_kind(), draft, revision))
    }

    fn mk_cache(window: usize) -> WatchCache {
        let mut cache = WatchCache::new(Limits { window, history: 4 }, 10);
        for revision in 11..=16 {
            cache.push(mk_object(&format!("o{revision}"), revision), None, false);
        }
        cache
    }

    #[test]
    fn a_watch_can_start_at_the_last_revision_before_the_window_and_not_earlier() {
        let cache = mk_cache(3);
        assert_eq!(cache.since(12, 9).unwrap_err(), Forgotten(13));
        let seen: Vec<u64> = cache.since(13, 9).unwrap().iter().map(|event| event.revision).collect();
        assert_eq!(seen, [14, 15, 16]);
        assert!(cache.since(16, 9).unwrap().is_empty());
        assert!(cache.since(99, 9).unwrap().is_empty(), "a watch from the future waits");
    }

    #[test]
    fn with_nothing_forgotten_a_watch_can_start_at_the_first_list() {
        let cache = mk_cache(100);
        assert_eq!(cache.since(10, 2).unwrap().len(), 2);
        assert_eq!(cache.since(9, 9).unwrap_err(), Forgotten(10));
    }

    #[test]
    fn an_earlier_state_is_the_present_one_with_the_writes_since_undone() {
        let mut cache = WatchCache::new(Limits { window: 9, history: 9 }, 10);
        let (old, new) = (mk_object("o", 11), mk_object("o", 12));
        cache.push(old.clone(), None, false);
        cache.push(new, Some(old), false);
        cache.push(mk_object("p", 13), None, false);
        let before = cache.before(11).unwrap();
        assert_eq!(before["a/o"].as_ref().unwrap().revision, 11);
        assert!(before["a/p"].is_none());
        assert!(cache.before(10).unwrap()["a/o"].is_none());
        cache.forget_history(12);
        assert_eq!(cache.before(11).unwrap_err(), Forgotten(12));
    }

    #[test]
    fn a_frame_is_one_line() {
        let draft = Draft::parse(b"{\"metadata\":{\"name\":\"x\"},\n\"data\":{\n\"a\":\"b\"}}").unwrap();
        let frame = frame("ADDED", Object::encode(&mk_kind(), draft, 7).raw());
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\",\
             \"resourceVersion\":\"7\"},\"data\":{\"a\":\"b\"}}}\n"
        );
    }
}
