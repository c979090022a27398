//! What a store holds: objects, and their indexes. Plain data, no locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::index::{Found, Index, IndexFn};
use super::ordered::Ordered;
use crate::id::{Name, ObjectKey};
use crate::object::Object;

#[derive(Default)]
pub(super) struct Held {
    objects: Ordered,
    indexes: BTreeMap<Name, Index>,
}

impl Held {
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter()
    }

    /// All of one namespace: keys sort by source, then namespace, so they are neighbours.
    pub fn of_namespace(&self, source: &Name, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let namespace = Name::from(namespace);
        let first = ObjectKey { source: source.clone(), namespace: Some(namespace.clone()), name: Name::from("") };
        self.objects.from(&first).take_while(move |object| object.key().namespace.as_ref() == Some(&namespace))
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

    /// Takes the objects of a first list while it is empty. They are yet to be put in the indexes.
    pub fn fill(&mut self, objects: impl Iterator<Item = Arc<Object>>) {
        self.objects = Ordered::of(objects);
    }

    /// Sets an object, and returns the one before it; `found` names what each index function found in it.
    pub fn set(&mut self, object: &Arc<Object>, found: Vec<(Name, Found)>) -> Option<Arc<Object>> {
        let old = self.objects.set(object.clone());
        self.put_in_indexes(object, found);
        old
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
        let old = self.objects.remove(key);
        for index in self.indexes.values_mut() {
            index.remove(key);
        }
        old
    }
}
