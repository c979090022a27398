//! A collection's content: values by key, indexes, who looked at what, and what changed in this commit.

use std::any::Any;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use super::index::{AnyIndex, Index, IndexState};
use super::numbered::Numbered;
use super::watch::{Lookup, Reader, Readers};

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
    /// What is there, what was looked at, and what changed in this commit, absences included.
    held: Numbered<K, Held<V>>,
    /// How many have a value.
    len: usize,
    indexes: Vec<Box<dyn AnyIndex<K, V>>>,
    /// What was set in this commit, in the order in which it was first set.
    touched: Vec<Touched<V>>,
    triggered: Vec<Reader>,
}

/// What is known of one key.
struct Held<V> {
    value: Option<Arc<V>>,
    readers: Readers,
    touched: bool,
}

impl<V> Default for Held<V> {
    fn default() -> Self {
        Self { value: None, readers: Readers::None, touched: false }
    }
}

impl<V> Held<V> {
    /// Whether there is no reason to remember the key.
    fn is_vacant(&self) -> bool {
        self.value.is_none() && self.readers.is_empty() && !self.touched
    }
}

/// A key that was set in this commit, and what it held before.
struct Touched<V> {
    number: u32,
    old: Option<Arc<V>>,
}

/// One key's difference in this commit.
pub(super) struct Delta<K, V> {
    /// The key's number, which no other key has for as long as this commit lasts.
    pub number: u32,
    pub key: K,
    pub old: Option<Arc<V>>,
    pub new: Option<Arc<V>>,
}

impl<K: Key, V: Value> State<K, V> {
    pub fn new() -> Self {
        Self { held: Numbered::default(), len: 0, indexes: Vec::new(), touched: Vec::new(), triggered: Vec::new() }
    }

    /// Makes room for so many keys that are about to be set: a whole list at the start, or few of many.
    pub fn make_room(&mut self, keys: usize) {
        self.held.make_room(keys);
        self.touched.reserve(keys);
    }

    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        let (_, held) = self.held.get(self.held.find(key)?)?;
        held.value.as_ref()
    }

    /// The key with a number, and its value.
    pub fn entry(&self, number: u32) -> Option<(&K, &Arc<V>)> {
        let (key, held) = self.held.get(number)?;
        Some((key, held.value.as_ref()?))
    }

    /// The key with a number: one that has a value, or had one before this commit.
    pub fn key(&self, number: u32) -> Option<&K> {
        self.held.key(number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.held.iter().filter_map(|(key, held)| Some((key, held.value.as_ref()?)))
    }

    /// A key's number, and its value if it has one. Whoever asks and keeps the number must set or watch it before
    /// the commit ends, or nobody ever forgets it.
    pub fn look_up(&mut self, key: &K) -> (u32, Option<&Arc<V>>) {
        let number = self.held.number(key);
        (number, self.held.get(number).and_then(|(_, held)| held.value.as_ref()))
    }

    /// Sets or removes a value; an equal one changes nothing.
    pub fn set(&mut self, key: &K, new: Option<Arc<V>>) {
        let number = match &new {
            Some(_) => Some(self.held.number(key)),
            None => self.held.find(key),
        };
        if let Some(number) = number {
            self.set_at(number, new);
        }
    }

    /// The same, for a key whose number is known.
    pub fn set_at(&mut self, number: u32, new: Option<Arc<V>>) {
        let Some((key, held)) = self.held.get_mut(number) else { return };
        let same = match (&held.value, &new) {
            (None, None) => true,
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
            _ => false,
        };
        if same {
            return;
        }
        let old = std::mem::replace(&mut held.value, new.clone());
        match (&old, &new) {
            (None, Some(_)) => self.len += 1,
            (Some(_), None) => self.len -= 1,
            _ => {}
        }
        self.triggered.extend(held.readers.iter());
        for index in &mut self.indexes {
            index.update(key, old.as_deref(), new.as_ref(), &mut self.triggered);
        }
        if !std::mem::replace(&mut held.touched, true) {
            self.touched.push(Touched { number, old });
        }
    }

    /// What is different from before this commit.
    pub fn deltas(&self) -> impl Iterator<Item = Delta<K, V>> {
        self.touched.iter().filter_map(|Touched { number, old }| {
            let (key, held) = self.held.get(*number)?;
            let same = match (old, &held.value) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            let (key, old, new) = (key.clone(), old.clone(), held.value.clone());
            (!same).then_some(Delta { number: *number, key, old, new })
        })
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

    fn forget_if_vacant(&mut self, number: u32) {
        if self.held.get(number).is_some_and(|(_, held)| held.is_vacant()) {
            self.held.remove(number);
        }
    }
}

impl<K: Key, V: Value> AnyCollection for State<K, V> {
    fn len(&self) -> usize {
        self.len
    }

    fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    fn take_triggered(&mut self) -> Vec<Reader> {
        std::mem::take(&mut self.triggered)
    }

    fn end_commit(&mut self) {
        for Touched { number, .. } in std::mem::take(&mut self.touched) {
            if let Some((_, held)) = self.held.get_mut(number) {
                held.touched = false;
            }
            self.forget_if_vacant(number);
        }
    }

    fn watch_add(&mut self, lookup: Lookup, watch: u32, reader: Reader) {
        match lookup {
            Lookup::Key => {
                if let Some((_, held)) = self.held.get_mut(watch) {
                    held.readers.add(reader);
                }
            }
            Lookup::Index(at) => self.indexes[at as usize].watch_add(watch, false, reader),
            Lookup::Count(at) => self.indexes[at as usize].watch_add(watch, true, reader),
        }
    }

    fn watch_remove(&mut self, lookup: Lookup, watch: u32, reader: Reader) {
        match lookup {
            Lookup::Key => {
                if let Some((_, held)) = self.held.get_mut(watch) {
                    held.readers.remove(reader);
                }
                self.forget_if_vacant(watch);
            }
            Lookup::Index(at) => self.indexes[at as usize].watch_remove(watch, false, reader),
            Lookup::Count(at) => self.indexes[at as usize].watch_remove(watch, true, reader),
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_when_it_has_no_value_no_reader_and_no_change_in_this_commit() {
        let mut state = State::<&str, u8>::new();
        let collection = Collection::new(0);
        let index = state.add_index(collection, |_, value| vec![*value]);
        let (reader, held) = (Reader { node: 1, slot: 0 }, |state: &State<&str, u8>| state.held.iter().count());
        let (absent, found) = state.look_up(&"absent");
        assert_eq!(found, None);
        state.watch_add(Lookup::Key, absent, reader);
        let (nobody, _) = state.index(index).fetch(&9);
        state.watch_add(Lookup::Index(0), nobody, reader);

        state.set(&"absent", Some(Arc::new(9)));
        state.set(&"other", Some(Arc::new(1)));
        assert_eq!((state.take_triggered(), state.len()), (vec![reader; 2], 2), "by key, and by index");
        state.end_commit();
        state.set(&"absent", None);
        state.set(&"other", None);
        assert_eq!(
            state.deltas().map(|delta| (delta.key, delta.old.as_deref().copied())).collect::<Vec<_>>(),
            [("absent", Some(9)), ("other", Some(1))]
        );
        assert_eq!((state.len(), held(&state)), (0, 2), "a number is kept for as long as the commit lasts");
        state.end_commit();
        assert_eq!(held(&state), 1, "somebody still looks at the absent one");

        state.set(&"absent", Some(Arc::new(9)));
        state.set(&"absent", None);
        assert_eq!(state.deltas().count(), 0, "what came and went in one commit is no difference");
        state.watch_remove(Lookup::Key, absent, reader);
        state.watch_remove(Lookup::Index(0), nobody, reader);
        assert_eq!(held(&state), 1);
        state.end_commit();
        assert_eq!((held(&state), state.is_touched()), (0, false));
        assert_eq!(state.index(index).count(&9).1, 0);
    }
}
