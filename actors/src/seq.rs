//! A sorted sequence that shares what did not change: one route more among 50,000 costs one small chunk and a
//! list of pointers, for the writer and for every reader that compares chunks by identity.
//!
//! Laws: sorted by key, each key once; a version never changes once it was handed out; a chunk holds at most
//! `MAX` entries, and two neighbours together more than half of that, whatever was removed; `a == b` compares
//! content, whatever the chunking.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The most entries a chunk holds; above, it is split in two.
const MAX: usize = 64;
/// Neighbours that hold no more together become one, far from the size at which that would be split again.
const SMALL: usize = MAX / 2;

/// Some neighbouring entries. Never changed; compare with [`Arc::ptr_eq`] to see what did not.
pub type Chunk<K, V> = Arc<[(K, Arc<V>)]>;

/// See the module.
#[derive(Debug)]
pub struct Seq<K, V> {
    chunks: Arc<[Chunk<K, V>]>,
    len: usize,
}

impl<K, V> Clone for Seq<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<K, V> Default for Seq<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new([]), len: 0 }
    }
}

impl<K: Ord + Clone, V> Seq<K, V> {
    /// The chunks, in order.
    pub fn chunks(&self) -> &[Chunk<K, V>] {
        &self.chunks
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, Arc<V>)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// This sequence with some keys set (`Some`) and some removed (`None`); cost grows with the edits, plus a
    /// pointer a chunk.
    pub fn edited(&self, edits: impl IntoIterator<Item = (K, Option<Arc<V>>)>) -> Self {
        let mut edits: Vec<_> = edits.into_iter().collect();
        // Stable, so that of two edits of one key the later wins below.
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        let mut edits = edits.into_iter().peekable();
        let mut new = Chunks { chunks: Vec::with_capacity(self.chunks.len() + 1), len: 0, changed: false };
        let mut from = 0;
        while from < self.chunks.len()
            && let Some((key, _)) = edits.peek()
        {
            // A key belongs to the last chunk that begins with it or before it; one before all to the first.
            let before = self.chunks[from..].partition_point(|chunk| chunk[0].0 <= *key);
            let at = from + before.saturating_sub(1);
            new.keep(&self.chunks[from..at]);
            let upper = self.chunks.get(at + 1).map(|next| &next[0].0);
            let mut entries = self.chunks[at].to_vec();
            while let Some((key, value)) = edits.next_if(|(key, _)| upper.is_none_or(|upper| key < upper)) {
                apply(&mut entries, key, value);
            }
            new.put(entries);
            from = at + 1;
        }
        new.keep(&self.chunks[from..]);
        let mut entries = Vec::new();
        for (key, value) in edits {
            apply(&mut entries, key, value);
        }
        new.put(entries);
        Self { chunks: new.chunks.into(), len: new.len }
    }
}

/// The chunks of a new version, from the first on.
struct Chunks<K, V> {
    chunks: Vec<Chunk<K, V>>,
    len: usize,
    /// The last of them is not one of the old version, so it may be too small beside the next.
    changed: bool,
}

impl<K: Clone, V> Chunks<K, V> {
    /// Takes chunks of the old version as they are, unless the first lies beside one that has shrunk.
    fn keep(&mut self, mut chunks: &[Chunk<K, V>]) {
        while let Some((first, rest)) = chunks.split_first()
            && self.changed
        {
            if self.chunks.last().is_some_and(|last| last.len() + first.len() <= SMALL) {
                self.put(first.to_vec());
                chunks = rest;
            } else {
                self.changed = false;
            }
        }
        self.len += chunks.iter().map(|chunk| chunk.len()).sum::<usize>();
        self.chunks.extend_from_slice(chunks);
        self.changed &= chunks.is_empty();
    }

    /// Takes entries that are new, removed or changed, with those that share their chunk.
    fn put(&mut self, mut entries: Vec<(K, Arc<V>)>) {
        if entries.is_empty() {
            // Those on either side may now be small neighbours.
            self.changed = true;
            return;
        }
        while let Some(last) = self.chunks.pop_if(|last| last.len() + entries.len() <= SMALL) {
            self.len -= last.len();
            entries.splice(..0, last.iter().cloned());
        }
        self.len += entries.len();
        let parts = entries.len().div_ceil(MAX);
        let size = entries.len().div_ceil(parts);
        let mut rest = entries.into_iter().peekable();
        while rest.peek().is_some() {
            self.chunks.push(rest.by_ref().take(size).collect());
        }
        self.changed = true;
    }
}

fn apply<K: Ord, V>(entries: &mut Vec<(K, Arc<V>)>, key: K, value: Option<Arc<V>>) {
    match (entries.binary_search_by(|(k, _)| k.cmp(&key)), value) {
        (Ok(at), Some(value)) => entries[at].1 = value,
        (Ok(at), None) => drop(entries.remove(at)),
        (Err(at), Some(value)) => entries.insert(at, (key, value)),
        (Err(_), None) => {}
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, Arc<V>)> for Seq<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(entries: I) -> Self {
        Self::default().edited(entries.into_iter().map(|(key, value)| (key, Some(value))))
    }
}

impl<K: Ord + Clone, V: PartialEq> PartialEq for Seq<K, V> {
    /// Costs a pointer a chunk, plus the entries from the first chunk that differs to the last.
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        let same = |pair: &(&Chunk<K, V>, &Chunk<K, V>)| Arc::ptr_eq(pair.0, pair.1);
        let head = self.chunks.iter().zip(other.chunks.iter()).take_while(same).count();
        let (a, b) = (&self.chunks[head..], &other.chunks[head..]);
        let tail = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
        let (a, b) = (&a[..a.len() - tail], &b[..b.len() - tail]);
        let (mut a, mut b) = (a.iter().flat_map(|chunk| chunk.iter()), b.iter().flat_map(|chunk| chunk.iter()));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.0 == b.0 && (Arc::ptr_eq(&a.1, &b.1) || a.1 == b.1) => {}
                _ => return false,
            }
        }
    }
}

impl<K: Ord + Clone, V: Serialize> Serialize for Seq<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_sequence_equals_a_sorted_map_after_any_edits(batches in prop::collection::vec(prop::collection::vec((0_u16..400, prop::option::of(0_u8..9)), 0..90), 0..12)) {
            let mut seq = Seq::default();
            let mut map = BTreeMap::new();
            for batch in batches {
                for (key, value) in &batch {
                    match value { Some(v) => map.insert(*key, *v), None => map.remove(key) };
                }
                seq = seq.edited(batch.into_iter().map(|(key, value)| (key, value.map(Arc::new))));
                prop_assert!(seq.chunks().iter().all(|chunk| (1..=MAX).contains(&chunk.len())));
                prop_assert!(seq.chunks().windows(2).all(|pair| pair[0].len() + pair[1].len() > SMALL));
                prop_assert_eq!(seq.len(), map.len());
                prop_assert!(seq.iter().map(|(k, v)| (*k, **v)).eq(map.iter().map(|(k, v)| (*k, *v))));
            }
        }
    }

    #[test]
    fn one_edit_shares_every_other_chunk() {
        let before: Seq<u32, u32> = (0..10_000).map(|n| (n, Arc::new(n))).collect();
        let after = before.edited([(5_000, Some(Arc::new(0)))]);
        let shared = before.chunks().iter().filter(|a| after.chunks().iter().any(|b| Arc::ptr_eq(a, b))).count();
        assert_eq!(shared, before.chunks().len() - 1);
    }

    #[test]
    fn what_is_left_of_many_entries_lies_in_few_chunks() {
        let before: Seq<u32, u32> = (0..10_000).map(|n| (n, Arc::new(n))).collect();
        // One by one, as they would go in a cluster, and from everywhere.
        let gone = (0..10_000_u32).map(|n| n * 7_919 % 10_000).filter(|n| n % 50 != 0);
        let after = gone.fold(before, |seq, n| seq.edited([(n, None)]));
        assert_eq!(after.len(), 200);
        assert!(after.chunks().len() <= 200 / (SMALL / 2) + 1, "{} chunks", after.chunks().len());
    }
}
