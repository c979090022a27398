//! Named index functions over a collection: from one value to any number of index keys.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::collection::{Collection, Key, Value};
use super::watch::{Reader, Watches};
use crate::Map;

/// An index of a collection, by key type `I`. Made by [`Graph::index`](super::Graph::index).
pub struct Index<K, V, I> {
    pub(super) collection: Collection<K, V>,
    pub(super) at: u32,
    pub(super) key: PhantomData<fn() -> I>,
}

impl<K, V, I> Clone for Index<K, V, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, I> Copy for Index<K, V, I> {}

/// An index whose key type is known to its handle alone.
pub(super) trait AnyIndex<K, V>: Any + Send {
    /// Moves one value to where it belongs, and names the readers that saw a difference.
    fn update(&mut self, key: &K, old: Option<&V>, new: Option<&Arc<V>>, triggered: &mut Vec<Reader>);
    fn watch_add(&mut self, watch: u32, count: bool, reader: Reader);
    fn watch_remove(&mut self, watch: u32, count: bool, reader: Reader);
    fn as_any(&mut self) -> &mut dyn Any;
}

type Extract<K, V, I> = Box<dyn Fn(&K, &V) -> Vec<I> + Send>;

pub(super) struct IndexState<K, V, I> {
    extract: Extract<K, V, I>,
    entries: Map<I, BTreeMap<K, Arc<V>>>,
    content: Watches<I>,
    counts: Watches<I>,
}

impl<K: Key, V: Value, I: Key> IndexState<K, V, I> {
    pub fn new(extract: Extract<K, V, I>) -> Self {
        Self { extract, entries: Map::default(), content: Watches::default(), counts: Watches::default() }
    }

    pub fn fetch(&mut self, index_key: &I) -> (u32, Vec<(K, Arc<V>)>) {
        let found = self.entries.get(index_key).into_iter().flatten();
        let found = found.map(|(key, value)| (key.clone(), value.clone())).collect();
        (self.content.intern(index_key), found)
    }

    pub fn count(&mut self, index_key: &I) -> (u32, usize) {
        (self.counts.intern(index_key), self.entries.get(index_key).map_or(0, BTreeMap::len))
    }
}

impl<K: Key, V: Value, I: Key> AnyIndex<K, V> for IndexState<K, V, I> {
    fn update(&mut self, key: &K, old: Option<&V>, new: Option<&Arc<V>>, triggered: &mut Vec<Reader>) {
        let mut before = old.map_or_else(Vec::new, |old| (self.extract)(key, old));
        let mut after = new.map_or_else(Vec::new, |new| (self.extract)(key, new));
        for keys in [&mut before, &mut after] {
            keys.sort();
            keys.dedup();
        }
        for gone in before.iter().filter(|k| after.binary_search(k).is_err()) {
            triggered.extend(self.content.readers(gone).chain(self.counts.readers(gone)));
            if let Some(entries) = self.entries.get_mut(gone) {
                entries.remove(key);
                if entries.is_empty() {
                    self.entries.remove(gone);
                }
            }
        }
        let Some(value) = new else { return };
        for index_key in after {
            triggered.extend(self.content.readers(&index_key));
            if before.binary_search(&index_key).is_err() {
                triggered.extend(self.counts.readers(&index_key));
            }
            self.entries.entry(index_key).or_default().insert(key.clone(), value.clone());
        }
    }

    fn watch_add(&mut self, watch: u32, count: bool, reader: Reader) {
        if count { self.counts.add(watch, reader) } else { self.content.add(watch, reader) }
    }

    fn watch_remove(&mut self, watch: u32, count: bool, reader: Reader) {
        if count { self.counts.remove(watch, reader) } else { self.content.remove(watch, reader) }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
