//! What one type's subscribers see: the objects, and the order in which they changed. Subscribers pull; what
//! changes twice before it is pulled is seen once, so memory is bounded by the number of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::Map;
use tidegate_actors::id::ObjectKey;
use tidegate_actors::object::Object;
use tidegate_actors::source::SourceEvent;
use tidegate_actors::watch;

/// How many deletions are remembered for those who come back.
const MAX_TOMBSTONES: usize = 4096;

/// See the module.
pub(super) struct Feed {
    /// `None` stands for a deletion that somebody may not have seen yet.
    objects: Map<ObjectKey, (u64, Option<Arc<Object>>)>,
    log: BTreeMap<u64, ObjectKey>,
    tombstones: BTreeMap<u64, ObjectKey>,
    last: u64,
    /// From where on the log is complete.
    complete_from: u64,
    changed: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        let changed = watch::Sender::new(0);
        Self {
            objects: Map::default(),
            log: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            last: 0,
            complete_from: 0,
            changed,
        }
    }
}

impl Feed {
    /// Sets or deletes one object.
    pub fn set(&mut self, key: &ObjectKey, object: Option<Arc<Object>>) {
        self.last += 1;
        if object.is_none() {
            self.tombstones.insert(self.last, key.clone());
        }
        if let Some((seq, _)) = self.objects.insert(key.clone(), (self.last, object)) {
            self.log.remove(&seq);
            self.tombstones.remove(&seq);
        }
        self.log.insert(self.last, key.clone());
        while self.tombstones.len() > MAX_TOMBSTONES {
            let Some((seq, key)) = self.tombstones.pop_first() else { break };
            self.log.remove(&seq);
            self.objects.remove(&key);
            self.complete_from = seq;
        }
    }

    /// Wakes the subscribers, after the last of some changes that belong together.
    pub fn notify(&self) {
        self.changed.send_replace(self.last);
    }

    /// For waiting for changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Where the feed is now.
    pub fn position(&self) -> u64 {
        self.last
    }

    /// All objects, by key.
    pub fn list(&self) -> Vec<Arc<Object>> {
        let mut all: Vec<_> = self.objects.values().filter_map(|(_, object)| object.clone()).collect();
        all.sort_by(|a, b| a.key().cmp(b.key()));
        all
    }

    /// What changed after a position, in order; `None` if that is no longer known.
    pub fn since(&self, position: u64) -> Option<Vec<SourceEvent>> {
        if position < self.complete_from || position > self.last {
            return None;
        }
        let keys = self.log.range(position + 1..).map(|(_, key)| key);
        let event = |key: &ObjectKey| {
            let object = self.objects.get(key).and_then(|(_, object)| object.clone());
            object.map_or_else(|| SourceEvent::Delete(key.clone()), SourceEvent::Apply)
        };
        Some(keys.map(event).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_actors::id::{ResourceType, Scope};
    use tidegate_actors::object::Decoder;

    fn mk_object(name: &str) -> Arc<Object> {
        let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
        let raw = format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}");
        Arc::new(Decoder::new("s".into(), things).decode(raw).unwrap())
    }

    fn set(feed: &mut Feed, name: &str) {
        let object = mk_object(name);
        feed.set(object.key(), Some(object.clone()));
    }

    fn delete(feed: &mut Feed, name: &str) {
        feed.set(&ObjectKey::cluster("s", name), None);
    }

    fn spell(events: Option<Vec<SourceEvent>>) -> Vec<String> {
        let spell = |event: &SourceEvent| match event {
            SourceEvent::Apply(object) => format!("+{}", object.key().name),
            SourceEvent::Delete(key) => format!("-{}", key.name),
            other => panic!("{other:?}"),
        };
        events.expect("the position is known").iter().map(spell).collect()
    }

    #[test]
    fn changes_come_in_order_and_once() {
        let mut feed = Feed::default();
        for name in ["a", "b", "c"] {
            set(&mut feed, name);
        }
        let position = feed.position();
        set(&mut feed, "a");
        delete(&mut feed, "b");
        set(&mut feed, "a");
        assert_eq!(spell(feed.since(position)), ["-b", "+a"]);
        assert_eq!(spell(feed.since(feed.position())), Vec::<String>::new());
        assert_eq!(feed.list().len(), 2);
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_not_guessed() {
        let mut feed = Feed::default();
        let start = feed.position();
        for name in 0..2 * MAX_TOMBSTONES {
            set(&mut feed, &name.to_string());
            delete(&mut feed, &name.to_string());
        }
        assert_eq!(feed.objects.len(), MAX_TOMBSTONES);
        assert_eq!(feed.log.len(), MAX_TOMBSTONES);
        assert!(feed.since(start).is_none());
        assert_eq!(feed.since(feed.position() - 2).map(|events| events.len()), Some(1));
        assert!(feed.since(feed.position() + 1).is_none(), "a position that never was");
    }
}
