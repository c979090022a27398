//! Named index functions over a collection: from one value to any number of index keys.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::collection::{Collection, Key, Value};
use super::numbered::Numbered;
use super::watch::{Reader, Readers};

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
    entries: Numbered<I, Entry<K, V>>,
}

/// What is known of one index key: the values under it, and who looked at them or at their number.
struct Entry<K, V> {
    values: BTreeMap<K, Arc<V>>,
    content: Readers,
    count: Readers,
}

impl<K, V> Default for Entry<K, V> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), content: Readers::None, count: Readers::None }
    }
}

impl<K: Key, V: Value, I: Key> IndexState<K, V, I> {
    pub fn new(extract: Extract<K, V, I>) -> Self {
        Self { extract, entries: Numbered::default() }
    }

    /// The number of an index key, to be watched before the commit ends, and the values under it.
    pub fn fetch(&mut self, index_key: &I) -> (u32, Vec<(K, Arc<V>)>) {
        let number = self.entries.number(index_key);
        let found = self.entries.get(number).into_iter().flat_map(|(_, entry)| &entry.values);
        (number, found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The number of an index key, to be watched before the commit ends, and how many values are under it.
    pub fn count(&mut self, index_key: &I) -> (u32, usize) {
        let number = self.entries.number(index_key);
        (number, self.entries.get(number).map_or(0, |(_, entry)| entry.values.len()))
    }

    /// Works on the entry with a number, and forgets it if nothing is left of it.
    fn with(&mut self, number: u32, work: impl FnOnce(&mut Entry<K, V>)) {
        let Some((_, entry)) = self.entries.get_mut(number) else { return };
        work(entry);
        if entry.values.is_empty() && entry.content.is_empty() && entry.count.is_empty() {
            self.entries.remove(number);
        }
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
            let Some(number) = self.entries.find(gone) else { continue };
            self.with(number, |entry| {
                triggered.extend(entry.content.iter().chain(entry.count.iter()));
                entry.values.remove(key);
            });
        }
        let Some(value) = new else { return };
        for index_key in after {
            let number = self.entries.number(&index_key);
            self.with(number, |entry| {
                triggered.extend(entry.content.iter());
                if before.binary_search(&index_key).is_err() {
                    triggered.extend(entry.count.iter());
                }
                entry.values.insert(key.clone(), value.clone());
            });
        }
    }

    fn watch_add(&mut self, watch: u32, count: bool, reader: Reader) {
        self.with(watch, |entry| entry.readers(count).add(reader));
    }

    fn watch_remove(&mut self, watch: u32, count: bool, reader: Reader) {
        self.with(watch, |entry| entry.readers(count).remove(reader));
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl<K, V> Entry<K, V> {
    fn readers(&mut self, count: bool) -> &mut Readers {
        if count { &mut self.count } else { &mut self.content }
    }
}
