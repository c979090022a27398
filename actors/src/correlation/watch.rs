//! Who looked at what: the recorded look-ups of one collection by key, or of one of its indexes.
//!
//! A look-up is remembered as the number of what was looked at, so that comparing two runs' look-ups costs no hashing.

use crate::Set;

/// One input of one function node, by its number in the node's input collection.
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

/// A recorded look-up: collection, how, and the number of what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Dep {
    pub collection: u32,
    pub lookup: Lookup,
    pub watch: u32,
}

/// Who looked at one thing: mostly nobody or one, which costs no memory of its own, and sometimes everybody.
#[derive(Debug, Default)]
pub(super) enum Readers {
    #[default]
    None,
    One(Reader),
    Many(Box<Set<Reader>>),
}

impl Readers {
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub fn add(&mut self, reader: Reader) {
        match self {
            Self::None => *self = Self::One(reader),
            Self::One(held) if *held == reader => {}
            Self::One(held) => *self = Self::Many(Box::new([*held, reader].into_iter().collect())),
            Self::Many(all) => drop(all.insert(reader)),
        }
    }

    pub fn remove(&mut self, reader: Reader) {
        match self {
            Self::One(held) if *held == reader => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(all) => {
                all.remove(&reader);
                if all.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Reader> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(reader) => (Some(*reader), None),
            Self::Many(all) => (None, Some(all.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_once_however_often_they_looked_and_not_after_they_left() {
        let reader = |slot| Reader { node: 1, slot };
        let mut readers = Readers::default();
        for slot in [1, 1, 2, 3, 2] {
            readers.add(reader(slot));
        }
        let mut all: Vec<_> = readers.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3].map(reader));

        for slot in [3, 9, 1] {
            readers.remove(reader(slot));
        }
        assert_eq!(readers.iter().collect::<Vec<_>>(), [reader(2)]);
        readers.remove(reader(2));
        assert!(readers.is_empty());
        readers.add(reader(4));
        readers.remove(reader(5));
        assert_eq!(readers.iter().collect::<Vec<_>>(), [reader(4)]);
        readers.remove(reader(4));
        assert!(readers.is_empty() && readers.iter().next().is_none());
    }
}
