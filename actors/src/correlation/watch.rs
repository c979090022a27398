//! Who looked at what: the recorded look-ups of one collection by key, or of one of its indexes.
//!
//! A look-up is interned to a small number, so that a reader remembers its dependencies as plain numbers and
//! comparing two runs' dependencies costs no hashing. It is forgotten when its last reader goes.

use std::hash::Hash;

use crate::{Map, Set};

/// One input of one function node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reader {
    pub node: u32,
    pub slot: u32,
}

/// How a look-up reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lookup {
    /// One value by key.
    Key,
    /// All values under a key of the index with this number.
    Index(u32),
    /// How many values there are under a key of the index with this number.
    Count(u32),
}

/// A recorded look-up: collection, how, and the interned key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Dep {
    pub collection: u32,
    pub lookup: Lookup,
    pub watch: u32,
}

struct Watched<I> {
    what: I,
    readers: Set<Reader>,
}

pub(super) struct Watches<I> {
    ids: Map<I, u32>,
    watched: Vec<Option<Watched<I>>>,
    free: Vec<u32>,
}

impl<I> Default for Watches<I> {
    fn default() -> Self {
        Self { ids: Map::default(), watched: Vec::new(), free: Vec::new() }
    }
}

impl<I: Clone + Eq + Hash> Watches<I> {
    /// The number of a look-up; its reader is added when the run that made it is over.
    pub fn intern(&mut self, what: &I) -> u32 {
        if let Some(id) = self.ids.get(what) {
            return *id;
        }
        let entry = Some(Watched { what: what.clone(), readers: Set::default() });
        let id = match self.free.pop() {
            Some(id) => {
                self.watched[id as usize] = entry;
                id
            }
            None => {
                self.watched.push(entry);
                self.watched.len() as u32 - 1
            }
        };
        self.ids.insert(what.clone(), id);
        id
    }

    pub fn add(&mut self, id: u32, reader: Reader) {
        if let Some(watched) = &mut self.watched[id as usize] {
            watched.readers.insert(reader);
        }
    }

    pub fn remove(&mut self, id: u32, reader: Reader) {
        let Some(watched) = &mut self.watched[id as usize] else { return };
        watched.readers.remove(&reader);
        if watched.readers.is_empty() {
            self.ids.remove(&watched.what);
            self.watched[id as usize] = None;
            self.free.push(id);
        }
    }

    pub fn readers(&self, what: &I) -> impl Iterator<Item = Reader> {
        let watched = self.ids.get(what).and_then(|id| self.watched[*id as usize].as_ref());
        watched.into_iter().flat_map(|watched| watched.readers.iter().copied())
    }
}
