//! A named index: from a value that a function finds in objects to those objects. The functions are user code.
//!
//! Law: a function that panics on an object takes that object out of its index, and nothing else happens.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::Map;
use crate::id::{Name, ObjectKey};
use crate::object::{Keyed, Object};

/// The values under which an object is to be found; pure.
pub type IndexFn = Arc<dyn Fn(&Object) -> Vec<String> + Send + Sync>;

/// The values of one object, or that the function panicked.
pub(super) type Found = Result<Box<[Name]>, Panicked>;

/// An index function panicked. What it said is not kept: it may quote the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panicked;

pub(super) fn find(function: &IndexFn, object: &Object) -> Found {
    let mut values = catch_unwind(AssertUnwindSafe(|| function(object))).map_err(|_| Panicked)?;
    values.sort_unstable();
    values.dedup();
    Ok(values.into_iter().map(Name::from).collect())
}

pub(super) struct Index {
    pub function: IndexFn,
    by_value: Map<Name, BTreeSet<Keyed>>,
    /// Under which values an object stands, so that a function that changes its mind leaves nothing behind.
    values: Map<ObjectKey, Box<[Name]>>,
}

impl Index {
    pub fn new(function: IndexFn) -> Self {
        Self { function, by_value: Map::default(), values: Map::default() }
    }

    pub fn get(&self, value: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.by_value.get(value).into_iter().flatten().map(|keyed| &keyed.0)
    }

    pub fn all_values(&self) -> Vec<Name> {
        let mut values: Vec<_> = self.by_value.keys().cloned().collect();
        values.sort_unstable();
        values
    }

    /// Puts an object under its values and under no others.
    pub fn set(&mut self, object: &Arc<Object>, values: Box<[Name]>) {
        let key = object.key();
        for old in self.values.remove(key).unwrap_or_default().iter().filter(|old| !values.contains(old)) {
            self.forget(old, key);
        }
        for value in &values {
            self.by_value.entry(value.clone()).or_default().replace(Keyed(object.clone()));
        }
        if !values.is_empty() {
            self.values.insert(key.clone(), values);
        }
    }

    pub fn remove(&mut self, key: &ObjectKey) {
        for value in self.values.remove(key).unwrap_or_default() {
            self.forget(&value, key);
        }
    }

    fn forget(&mut self, value: &Name, key: &ObjectKey) {
        if let Some(objects) = self.by_value.get_mut(value) {
            objects.remove(key);
            if objects.is_empty() {
                self.by_value.remove(value);
            }
        }
    }
}
