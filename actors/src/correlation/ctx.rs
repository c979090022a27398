//! What a function may see: other collections by key or by index, each look-up recorded.

use std::sync::Arc;

use super::collection::{Collection, Key, Value};
use super::graph::World;
use super::index::Index;
use super::watch::{Dep, Lookup};

/// Handed to a function for one run of one input.
pub struct Ctx<'a> {
    world: &'a World,
    /// The running node's own collection: only collections before it may be read.
    node: u32,
    deps: Vec<Dep>,
}

impl<'a> Ctx<'a> {
    pub(super) fn new(world: &'a World, node: u32) -> Self {
        Self { world, node, deps: Vec::new() }
    }

    /// The look-ups, sorted, each once.
    pub(super) fn into_deps(mut self) -> Vec<Dep> {
        self.deps.sort_unstable();
        self.deps.dedup();
        self.deps
    }

    /// One value by key; its absence is remembered as well.
    pub fn fetch<K: Key, V: Value>(&mut self, collection: Collection<K, V>, key: &K) -> Option<Arc<V>> {
        self.check(collection.id);
        let (watch, found) = self.world.with(collection, |state| {
            let (number, found) = state.look_up(key);
            (number, found.cloned())
        });
        self.deps.push(Dep { collection: collection.id, lookup: Lookup::Key, watch });
        found
    }

    /// All values under an index key, sorted by their own key.
    pub fn fetch_by<K: Key, V: Value, I: Key>(&mut self, index: Index<K, V, I>, key: &I) -> Vec<(K, Arc<V>)> {
        self.check(index.collection.id);
        let (watch, found) = self.world.with(index.collection, |state| state.index(index).fetch(key));
        self.deps.push(Dep { collection: index.collection.id, lookup: Lookup::Index(index.at), watch });
        found
    }

    /// How many values there are under an index key; re-run only when that number changes.
    pub fn count<K: Key, V: Value, I: Key>(&mut self, index: Index<K, V, I>, key: &I) -> usize {
        self.check(index.collection.id);
        let (watch, found) = self.world.with(index.collection, |state| state.index(index).count(key));
        self.deps.push(Dep { collection: index.collection.id, lookup: Lookup::Count(index.at), watch });
        found
    }

    fn check(&self, collection: u32) {
        assert!(collection < self.node, "a collection is read only by nodes that were declared after it, in one graph");
    }
}
