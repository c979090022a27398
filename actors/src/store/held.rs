//! What a store holds: objects in the order of their keys, and their indexes. Plain data, no locks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::index::{Found, Index, IndexFn};
use crate::id::{Name, ObjectKey};
use crate::object::{Keyed, Object};

#[derive(Default)]
pub(super) struct Held {
    objects: BTreeSet<Keyed>,
    indexes: BTreeMap<Name, Index>,
}

impl Held {
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key).map(|keyed| &keyed.0)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter().map(|keyed| &keyed.0)
    }

    /// All of one namespace: keys sort by source, then namespace, so they are neighbours.
    pub fn of_namespace(&self, source: &Name, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let namespace = Name::from(namespace);
        let first = ObjectKey { source: source.clone(), namespace: Some(namespace.clone()), name: Name::from("") };
        let from = self.objects.range::<ObjectKey, _>((Bound::Included(first), Bound::Unbounded));
        from.map(|keyed| &keyed.0).take_while(move |object| object.key().namespace.as_ref() == Some(&namespace))
    }

    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.get(name)
    }

    pub fn functions(&self) -> Vec<(Name, IndexFn)> {
        self.indexes.iter().map(|(name, index)| (name.clone(), index.function.clone())).collect()
    }

    pub fn insert_index(&mut self, name: Name, index: Index) {
        self.indexes.insert(name, index);
    }

    /// Takes the objects of a first list while it is empty, in one piece: one by one each is looked for. They
    /// are yet to be put in the indexes.
    pub fn fill(&mut self, objects: impl Iterator<Item = Arc<Object>>) {
        self.objects = objects.map(Keyed).collect();
    }

    /// Sets an object, and returns the one before it; `found` names what each index function found in it.
    pub fn set(&mut self, object: &Arc<Object>, found: Vec<(Name, Found)>) -> Option<Arc<Object>> {
        let old = self.objects.replace(Keyed(object.clone()));
        self.put_in_indexes(object, found);
        old.map(|Keyed(old)| old)
    }

    /// Puts an object that is held under what each index function found in it.
    pub fn put_in_indexes(&mut self, object: &Arc<Object>, found: Vec<(Name, Found)>) {
        for (name, values) in found {
            let Some(index) = self.indexes.get_mut(&name) else { continue };
            match values {
                Ok(values) => index.set(object, values),
                Err(_) => index.remove(object.key()),
            }
        }
    }

    /// Removes an object, and returns it.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Object>> {
        let old = self.objects.take(key);
        for index in self.indexes.values_mut() {
            index.remove(key);
        }
        old.map(|Keyed(old)| old)
    }
}
