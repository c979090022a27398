//! Keys with a dense number each, and what belongs to a key beside it: one look-up by hash finds everything, and
//! whoever remembers the number needs none.
//!
//! Laws: a key has one number for as long as it is held; the number of a key that was removed is given again.
//!
//! Why: with a map for the values, one for who looks at them and one for who owns them, a change among 50,000 objects
//! cost as many cache misses for each; what is remembered as a number was remembered as a key.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;

/// See the module. `T` starts as its default.
pub(super) struct Numbered<K, T> {
    numbers: HashTable<u32>,
    held: Vec<Option<(K, T)>>,
    free: Vec<u32>,
}

impl<K, T> Default for Numbered<K, T> {
    fn default() -> Self {
        Self { numbers: HashTable::new(), held: Vec::new(), free: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash, T: Default> Numbered<K, T> {
    /// Makes room for so many keys in all at once: growing step by step moves, and hashes, everything each time.
    pub fn make_room(&mut self, keys: usize) {
        let held = &self.held;
        let more = keys.saturating_sub(self.numbers.len());
        let hasher = |number: &u32| held[*number as usize].as_ref().map_or(0, |(key, _)| FxBuildHasher.hash_one(key));
        self.numbers.reserve(more, hasher);
        self.held.reserve(more.saturating_sub(self.free.len()));
    }

    /// The number of a key that is held.
    pub fn find(&self, key: &K) -> Option<u32> {
        let same = |number: &u32| self.key(*number) == Some(key);
        self.numbers.find(FxBuildHasher.hash_one(key), same).copied()
    }

    /// The number of a key, which is held from now on.
    pub fn number(&mut self, key: &K) -> u32 {
        let held = &mut self.held;
        let key_of = |number: &u32| held[*number as usize].as_ref().map(|(key, _)| key);
        let hasher = |number: &u32| key_of(number).map_or(0, |key| FxBuildHasher.hash_one(key));
        match self.numbers.entry(FxBuildHasher.hash_one(key), |number| key_of(number) == Some(key), hasher) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let number = self.free.pop().unwrap_or(held.len() as u32);
                vacant.insert(number);
                let entry = Some((key.clone(), T::default()));
                match held.get_mut(number as usize) {
                    Some(place) => *place = entry,
                    None => held.push(entry),
                }
                number
            }
        }
    }

    /// The key with a number.
    pub fn key(&self, number: u32) -> Option<&K> {
        self.get(number).map(|(key, _)| key)
    }

    /// The key with a number, and what belongs to it.
    pub fn get(&self, number: u32) -> Option<&(K, T)> {
        self.held.get(number as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<(&K, &mut T)> {
        self.held.get_mut(number as usize)?.as_mut().map(|(key, of)| (&*key, of))
    }

    /// No longer holds the key with a number.
    pub fn remove(&mut self, number: u32) {
        let Some((key, _)) = self.held.get_mut(number as usize).and_then(Option::take) else { return };
        if let Ok(found) = self.numbers.find_entry(FxBuildHasher.hash_one(&key), |other| *other == number) {
            found.remove();
        }
        self.free.push(number);
    }

    /// Everything that is held, in the order of numbers.
    pub fn iter(&self) -> impl Iterator<Item = &(K, T)> {
        self.held.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_keys(held: &Numbered<String, u8>) -> Vec<&str> {
        held.iter().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn a_key_keeps_its_number_and_what_belongs_to_it_until_it_is_removed() {
        let mut held = Numbered::<String, u8>::default();
        let (a, b) = (held.number(&"a".to_owned()), held.number(&"b".to_owned()));
        *held.get_mut(a).unwrap().1 = 7;
        assert_eq!((a, b), (0, 1));
        assert_eq!((held.number(&"a".to_owned()), held.find(&"b".to_owned())), (a, Some(b)));
        assert_eq!(held.get(a), Some(&("a".to_owned(), 7)));

        held.remove(a);

        assert_eq!((held.find(&"a".to_owned()), held.get(a), held.key(b).map(String::as_str)), (None, None, Some("b")));
        assert_eq!(held.number(&"c".to_owned()), a, "a number is given again");
        assert_eq!(held.get(a), Some(&("c".to_owned(), 0)), "with nothing of what it was");
        assert_eq!(mk_keys(&held), ["c", "b"]);
        held.remove(9);
        assert_eq!(mk_keys(&held), ["c", "b"], "what is not held cannot be removed");
    }

    #[test]
    fn thousands_of_keys_that_come_and_go_are_found_by_the_numbers_that_they_were_given() {
        let mut held = Numbered::<u32, u32>::default();
        for round in 0..3 {
            for key in 0..5_000 {
                let number = held.number(&key);
                *held.get_mut(number).unwrap().1 = key + round;
            }
            assert!((0..5_000).all(|key| held.get(held.find(&key).unwrap()) == Some(&(key, key + round))));
            for key in (0..5_000).filter(|key| key % 3 == round) {
                held.remove(held.find(&key).unwrap());
                assert_eq!(held.find(&key), None);
            }
        }
        assert!(held.held.len() <= 5_000, "numbers are given again");
    }
}
