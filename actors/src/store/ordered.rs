//! Objects by key: found by hash, and walked in the order of keys. Plain data, no locks.
//!
//! An object has a number for as long as one of its key is held; a table finds numbers by hash, and `chunks` has them in
//! order. So what changes most, another version of an object, is one look-up and one pointer, whoever is its neighbour.
//!
//! Laws: each key once; a number that was let go is given again; a chunk holds at most [`CHUNK`] numbers and is never
//! empty; two neighbours together hold more than half of that, whatever was removed.
//!
//! Why: in a tree of 20,000, the comparisons on the way to a key were 6 to 8 % of all that an update costs an informer,
//! since each looks at an object and at its name, which are elsewhere in memory.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;

use crate::id::ObjectKey;
use crate::object::Object;

/// The most numbers in a chunk; above, it is split in two.
const CHUNK: usize = 256;

type Numbered = [Option<Arc<Object>>];

/// See the module.
#[derive(Default)]
pub(super) struct Ordered {
    numbers: HashTable<u32>,
    objects: Vec<Option<Arc<Object>>>,
    free: Vec<u32>,
    chunks: Vec<Vec<u32>>,
}

fn key_of(objects: &Numbered, number: u32) -> Option<&ObjectKey> {
    objects[number as usize].as_ref().map(|object| object.key())
}

fn hash(key: &ObjectKey) -> u64 {
    FxBuildHasher.hash_one(key)
}

impl Ordered {
    /// Takes a first list in one piece. One by one, a place would be looked for again and again.
    pub fn of(objects: impl Iterator<Item = Arc<Object>>) -> Self {
        let mut all = Self::default();
        all.objects.reserve(objects.size_hint().0);
        for object in objects {
            let _: Option<Arc<Object>> = all.put(object, |_, _| ());
        }
        let mut sorted: Vec<u32> = (0..all.objects.len() as u32).collect();
        sorted.sort_unstable_by_key(|number| key_of(&all.objects, *number));
        all.chunks = sorted.chunks(CHUNK).map(<[u32]>::to_vec).collect();
        all
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        let number = self.numbers.find(hash(key), |number| key_of(&self.objects, *number) == Some(key))?;
        self.objects[*number as usize].as_ref()
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.walk(self.chunks.iter().flatten())
    }

    /// Those from a key on, in order.
    pub fn from<'a>(&'a self, key: &ObjectKey) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let (chunk, at) = self.place(key);
        let rest = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk[at..]);
        self.walk(rest.iter().chain(self.chunks.iter().skip(chunk + 1).flatten()))
    }

    fn walk<'a>(&'a self, numbers: impl Iterator<Item = &'a u32>) -> impl Iterator<Item = &'a Arc<Object>> {
        numbers.filter_map(|number| self.objects[*number as usize].as_ref())
    }

    /// Sets an object, and returns the one before it.
    pub fn set(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        self.put(object, Self::sort_in)
    }

    /// `new` is told the number of one that was not held.
    fn put(&mut self, object: Arc<Object>, new: impl FnOnce(&mut Self, u32)) -> Option<Arc<Object>> {
        let (key, objects) = (object.key(), &mut self.objects);
        let same = |number: &u32| key_of(objects, *number) == Some(key);
        let hasher = |number: &u32| key_of(objects, *number).map_or(0, hash);
        match self.numbers.entry(hash(key), same, hasher) {
            Entry::Occupied(found) => objects[*found.get() as usize].replace(object),
            Entry::Vacant(vacant) => {
                let number = self.free.pop().unwrap_or(objects.len() as u32);
                vacant.insert(number);
                match objects.get_mut(number as usize) {
                    Some(place) => *place = Some(object),
                    None => objects.push(Some(object)),
                }
                new(self, number);
                None
            }
        }
    }

    /// Removes an object, and returns it.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Object>> {
        let same = |number: &u32| key_of(&self.objects, *number) == Some(key);
        let (number, _) = self.numbers.find_entry(hash(key), same).ok()?.remove();
        let (chunk, at) = self.place(key);
        self.chunks[chunk].remove(at);
        self.merge(chunk);
        self.merge(chunk.saturating_sub(1));
        let old = self.objects[number as usize].take();
        self.free.push(number);
        if self.numbers.is_empty() {
            // The room that a type took goes with the last of its objects.
            *self = Self::default();
        }
        old
    }

    /// Where a key is in the order, or would be: a chunk, and a place in it. Both are past the end for a key behind all
    /// others only if there is no chunk at all.
    fn place(&self, key: &ObjectKey) -> (usize, usize) {
        let before = |number: u32, or_same: bool| match key_of(&self.objects, number) {
            Some(other) if or_same => other <= key,
            other => other < Some(key),
        };
        let chunk = self.chunks.partition_point(|chunk| before(chunk[0], true)).saturating_sub(1);
        let at = self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(|number| before(*number, false)));
        (chunk, at)
    }

    fn sort_in(&mut self, number: u32) {
        let Some(key) = key_of(&self.objects, number) else { return };
        let (chunk, at) = self.place(key);
        let is_last = chunk + 1 == self.chunks.len();
        match self.chunks.get_mut(chunk) {
            // What comes in order fills chunks, and leaves none half full.
            Some(full) if full.len() == CHUNK && is_last && at == CHUNK => self.chunks.push(vec![number]),
            Some(full) if full.len() == CHUNK => {
                let mut rest = full.split_off(CHUNK / 2);
                match at.checked_sub(CHUNK / 2) {
                    Some(at) => rest.insert(at, number),
                    None => full.insert(at, number),
                }
                self.chunks.insert(chunk + 1, rest);
            }
            Some(room) => room.insert(at, number),
            None => self.chunks.push(vec![number]),
        }
    }

    /// Makes one of a chunk and the next if they need not be two.
    fn merge(&mut self, chunk: usize) {
        let len = |at: usize| self.chunks.get(at).map(Vec::len);
        match (len(chunk), len(chunk + 1)) {
            (Some(0), _) => drop(self.chunks.remove(chunk)),
            (Some(one), Some(next)) if one + next <= CHUNK / 2 => {
                let next = self.chunks.remove(chunk + 1);
                self.chunks[chunk].extend(next);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::reflector::scripted::{mk_key, mk_object};

    fn mk(name: u32, version: u32) -> Arc<Object> {
        mk_object("demo", &format!("{name:05}"), version)
    }

    fn is_well_formed(all: &Ordered) -> bool {
        let sizes: Vec<usize> = all.chunks.iter().map(Vec::len).collect();
        let numbers = all.objects.len() - all.free.len();
        sizes.iter().all(|size| (1..=CHUNK).contains(size))
            && sizes.windows(2).all(|two| two[0] + two[1] > CHUNK / 2)
            && sizes.iter().sum::<usize>() == numbers
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Runs of neighbours come and go, so that chunks fill up and become empty.
        #[test]
        fn whatever_comes_and_goes_is_found_by_its_key_and_walked_in_order(
            first in 0..1_500_u32,
            runs in proptest::collection::vec((any::<bool>(), 0..2_000_u32, 1..700_u32, 1..4_u32), 1..12),
        ) {
            let mut model: BTreeMap<ObjectKey, Arc<Object>> =
                (0..first).map(|name| mk(name * 7 % 2_000, 0)).map(|object| (object.key().clone(), object)).collect();
            let mut all = Ordered::of((0..first).map(|name| mk(name * 7 % 2_000, 0)));
            for (removes, from, count, step) in runs {
                for name in (from..from + count).step_by(step as usize) {
                    let object = mk(name, from);
                    let (old, expected) = if removes {
                        (all.remove(object.key()), model.remove(object.key()))
                    } else {
                        (all.set(object.clone()), model.insert(object.key().clone(), object))
                    };
                    prop_assert_eq!(old.map(|old| old.raw().to_owned()), expected.map(|old| old.raw().to_owned()));
                }
                prop_assert!(is_well_formed(&all));
                prop_assert_eq!(all.len(), model.len());
                prop_assert!(all.iter().map(|object| object.key()).eq(model.keys()));
                prop_assert!(model.iter().all(|(key, object)| all.get(key).is_some_and(|held| held.raw() == object.raw())));
                let key = mk_key(&format!("{from:05}"));
                prop_assert_eq!(all.get(&key).is_some(), model.contains_key(&key));
                prop_assert!(all.from(&key).map(|object| object.key()).eq(model.range(&key..).map(|(key, _)| key)));
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_chunks_and_what_has_gone_leaves_none() {
        let mut all = Ordered::default();
        assert!(all.from(&mk_key("a")).next().is_none() && all.remove(&mk_key("a")).is_none());
        (0..1_000).for_each(|name| assert!(all.set(mk(name, 0)).is_none()));
        assert_eq!(all.chunks.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 256, 232]);
        (1..1_000).rev().for_each(|name| assert!(all.remove(mk(name, 0).key()).is_some()));
        assert_eq!((all.len(), all.chunks.len(), all.objects.len()), (1, 1, 1_000));
        assert!(all.set(mk(7, 0)).is_none());
        assert_eq!(all.objects.len(), 1_000, "a number that was let go is given again");
        assert!([0, 7].iter().all(|name| all.remove(mk(*name, 0).key()).is_some()));
        assert_eq!((all.len(), all.chunks.len(), all.objects.capacity()), (0, 0, 0));
    }
}
