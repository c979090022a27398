//! A collection's content: values by key, indexes, who looked at what, and what changed in this commit.

use std::any::Any;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use super::index::{AnyIndex, Index, IndexState};
use super::watch::{Lookup, Reader, Watches};
use crate::Map;

/// What can be a key of a collection or an index.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static> Key for T {}

/// What can be a value of a collection. Equality is what cuts a change off.
pub trait Value: PartialEq + Send + Sync + 'static {}

impl<T: PartialEq + Send + Sync + 'static> Value for T {}

/// A collection of a graph, from keys to shared values. A handle; the content is the graph's.
pub struct Collection<K, V> {
    pub(super) id: u32,
    pub(super) types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Collection<K, V> {
    pub(super) fn new(id: u32) -> Self {
        Self { id, types: PhantomData }
    }
}

impl<K, V> Clone for Collection<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Collection<K, V> {}

/// A collection whose types are known to its handles alone.
pub(super) trait AnyCollection: Any + Send {
    fn len(&self) -> usize;
    fn is_touched(&self) -> bool;
    fn take_triggered(&mut self) -> Vec<Reader>;
    fn end_commit(&mut self);
    fn watch_add(&mut self, lookup: Lookup, watch: u32, reader: Reader);
    fn watch_remove(&mut self, lookup: Lookup, watch: u32, reader: Reader);
    fn as_any(&mut self) -> &mut dyn Any;
}

pub(super) struct State<K, V> {
    values: Map<K, Arc<V>>,
    watches: Watches<K>,
    indexes: Vec<Box<dyn AnyIndex<K, V>>>,
    /// What the keys that were set in this commit held before it, in the order in which they were first set.
    touched: Map<K, Option<Arc<V>>>,
    order: Vec<K>,
    triggered: Vec<Reader>,
}

/// One key's difference in this commit.
pub(super) struct Delta<K, V> {
    pub key: K,
    pub old: Option<Arc<V>>,
    pub new: Option<Arc<V>>,
}

impl<K: Key, V: Value> State<K, V> {
    pub fn new() -> Self {
        Self {
            values: Map::default(),
            watches: Watches::default(),
            indexes: Vec::new(),
            touched: Map::default(),
            order: Vec::new(),
            triggered: Vec::new(),
        }
    }

    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.values.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.values.iter()
    }

    /// Sets or removes a value; an equal one changes nothing.
    pub fn set(&mut self, key: K, new: Option<Arc<V>>) {
        let same = match (self.values.get(&key), &new) {
            (None, None) => true,
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
            _ => false,
        };
        if same {
            return;
        }
        let old = match new.clone() {
            Some(new) => self.values.insert(key.clone(), new),
            None => self.values.remove(&key),
        };
        self.triggered.extend(self.watches.readers(&key));
        for index in &mut self.indexes {
            index.update(&key, old.as_deref(), new.as_ref(), &mut self.triggered);
        }
        if !self.touched.contains_key(&key) {
            self.order.push(key.clone());
            self.touched.insert(key, old);
        }
    }

    /// What is different from before this commit.
    pub fn deltas(&self) -> impl Iterator<Item = Delta<K, V>> {
        self.order.iter().filter_map(|key| {
            let old = self.touched.get(key).and_then(Clone::clone);
            let new = self.values.get(key).cloned();
            let same = match (&old, &new) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            (!same).then(|| Delta { key: key.clone(), old, new })
        })
    }

    pub fn watch(&mut self, key: &K) -> u32 {
        self.watches.intern(key)
    }

    pub fn add_index<I: Key>(
        &mut self,
        collection: Collection<K, V>,
        extract: impl Fn(&K, &V) -> Vec<I> + Send + 'static,
    ) -> Index<K, V, I> {
        self.indexes.push(Box::new(IndexState::new(Box::new(extract))));
        Index { collection, at: self.indexes.len() as u32 - 1, key: PhantomData }
    }

    pub fn index<I: Key>(&mut self, index: Index<K, V, I>) -> &mut IndexState<K, V, I> {
        let state = self.indexes[index.at as usize].as_any().downcast_mut();
        // The handle was made by `add_index` of this very collection, with these very types.
        #[allow(clippy::expect_used)]
        state.expect("an index handle has its index's types")
    }
}

impl<K: Key, V: Value> AnyCollection for State<K, V> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn is_touched(&self) -> bool {
        !self.order.is_empty()
    }

    fn take_triggered(&mut self) -> Vec<Reader> {
        std::mem::take(&mut self.triggered)
    }

    fn end_commit(&mut self) {
        self.touched.clear();
        self.order.clear();
        // After a first list these would hold the list's size for ever.
        self.touched.shrink_to(64);
        self.order.shrink_to(64);
    }

    fn watch_add(&mut self, lookup: Lookup, watch: u32, reader: Reader) {
        match lookup {
            Lookup::Key => self.watches.add(watch, reader),
            Lookup::Index(at) => self.indexes[at as usize].watch_add(watch, false, reader),
            Lookup::Count(at) => self.indexes[at as usize].watch_add(watch, true, reader),
        }
    }

    fn watch_remove(&mut self, lookup: Lookup, watch: u32, reader: Reader) {
        match lookup {
            Lookup::Key => self.watches.remove(watch, reader),
            Lookup::Index(at) => self.indexes[at as usize].watch_remove(watch, false, reader),
            Lookup::Count(at) => self.indexes[at as usize].watch_remove(watch, true, reader),
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
