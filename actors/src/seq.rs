//! A sorted sequence that shares what did not change: one route more among 50,000 costs one small chunk, one page
//! of pointers to chunks and the list of pages, for the writer and for every reader that compares by identity.
//!
//! Laws: sorted by key, each key once; a version never changes once it was handed out; a chunk holds at most
//! `ENTRIES` entries and a page at most `CHUNKS` chunks; two neighbouring chunks of a page, and two neighbouring
//! pages, together hold more than half of that, whatever was removed; `a == b` compares content, whatever the
//! chunking.
//!
//! Why pages: with one flat list of chunks, an edit counted a reference up and another down in every chunk, each a
//! cache miss of its own; one route among 50,000 cost 1.9 times what it cost among 500. A tree of any depth would
//! save nothing more: two levels hold some 50,000 entries before the list of pages is as long as a page.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use serde::{Serialize, Serializer};

/// The most entries a chunk holds; above, it is split in two. Few, as a chunk that is edited is copied, and each entry
/// holds some references to elsewhere, each to be counted.
const ENTRIES: usize = 16;
/// The most chunks a page holds.
const CHUNKS: usize = 64;

/// Some neighbouring entries. Never changed; compare with [`Arc::ptr_eq`] to see what did not.
pub type Chunk<K, V> = Arc<[(K, Arc<V>)]>;

/// Some neighbouring chunks. Never changed either.
pub type Page<K, V> = Arc<[Chunk<K, V>]>;

/// See the module.
#[derive(Debug)]
pub struct Seq<K, V> {
    pages: Arc<[Page<K, V>]>,
    len: usize,
}

impl<K, V> Clone for Seq<K, V> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }
}

impl<K, V> Default for Seq<K, V> {
    fn default() -> Self {
        Self { pages: Arc::new([]), len: 0 }
    }
}

impl<K: Ord + Clone, V> Seq<K, V> {
    /// The pages, in order; none is empty.
    pub fn pages(&self) -> &[Page<K, V>] {
        &self.pages
    }

    /// The chunks of all pages, in order; none is empty.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &Chunk<K, V>> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, Arc<V>)> {
        self.chunks().flat_map(|chunk| chunk.iter())
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
    /// pointer a page.
    pub fn edited(&self, edits: impl IntoIterator<Item = (K, Option<Arc<V>>)>) -> Self {
        let mut edits: Vec<_> = edits.into_iter().collect();
        // Stable, so that of two edits of one key the later wins below.
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        let mut edits = Edits { edits: edits.into_iter().peekable(), len: self.len };
        let pages = edit(&self.pages, CHUNKS, &mut edits, None, |chunks, edits, end| {
            edit(chunks, ENTRIES, edits, end, |entries, edits, end| edits.apply(entries, end))
        });
        Self { pages: pages.into(), len: edits.len }
    }
}

/// What is still to be done, in order.
struct Edits<K, V> {
    edits: Peekable<vec::IntoIter<Edit<K, V>>>,
    /// How many entries there are after what was done.
    len: usize,
}

type Edit<K, V> = (K, Option<Arc<V>>);

impl<K: Ord + Clone, V> Edits<K, V> {
    /// The next key, if it lies before the end of what is edited now.
    fn next_before(&mut self, end: Option<&K>) -> Option<&K> {
        self.edits.peek().map(|(key, _)| key).filter(|key| end.is_none_or(|end| *key < end))
    }

    /// Entries with all edits before the end done.
    fn apply(&mut self, entries: &[(K, Arc<V>)], end: Option<&K>) -> Vec<(K, Arc<V>)> {
        let mut entries = entries.to_vec();
        while let Some((key, value)) = self.edits.next_if(|(key, _)| end.is_none_or(|end| key < end)) {
            match (entries.binary_search_by(|(k, _)| k.cmp(&key)), value) {
                (Ok(at), Some(value)) => entries[at].1 = value,
                (Ok(at), None) => {
                    entries.remove(at);
                    self.len -= 1;
                }
                (Err(at), Some(value)) => {
                    entries.insert(at, (key, value));
                    self.len += 1;
                }
                (Err(_), None) => {}
            }
        }
        entries
    }
}

/// An entry, a chunk or a page: by its first key it is found.
trait First<K> {
    fn first(&self) -> &K;
}

impl<K, V> First<K> for (K, Arc<V>) {
    fn first(&self) -> &K {
        &self.0
    }
}

impl<K, T: First<K>> First<K> for Arc<[T]> {
    fn first(&self) -> &K {
        self[0].first()
    }
}

/// Does all edits before the end to what lies in runs of at most `max`: chunks of entries, or pages of chunks. The
/// runs that edits fall into are taken apart by `inner`; all others are kept as they are.
fn edit<K: Ord + Clone, V, T: First<K> + Clone>(
    runs: &[Arc<[T]>],
    max: usize,
    edits: &mut Edits<K, V>,
    end: Option<&K>,
    mut inner: impl FnMut(&[T], &mut Edits<K, V>, Option<&K>) -> Vec<T>,
) -> Vec<Arc<[T]>> {
    let mut new = Runs { runs: Vec::with_capacity(runs.len() + 1), max, changed: false };
    if runs.is_empty() {
        new.put(inner(&[], edits, end));
    }
    let mut from = 0;
    while from < runs.len()
        && let Some(key) = edits.next_before(end)
    {
        // A key belongs to the last run that begins with it or before it; one before all to the first.
        let before = runs[from..].partition_point(|run| run.first() <= key);
        let at = from + before.saturating_sub(1);
        new.keep(&runs[from..at]);
        new.put(inner(&runs[at], edits, runs.get(at + 1).map(First::first).or(end)));
        from = at + 1;
    }
    new.keep(&runs[from..]);
    new.runs
}

/// The runs of a new version, from the first on.
struct Runs<T> {
    runs: Vec<Arc<[T]>>,
    /// The most that a run holds. Neighbours that hold no more than half of it together become one, far from the
    /// size at which that would be split again.
    max: usize,
    /// The last of them is not one of the old version, so it may be too small beside the next.
    changed: bool,
}

impl<T: Clone> Runs<T> {
    /// Takes runs of the old version as they are, unless the first lies beside one that has shrunk.
    fn keep(&mut self, mut runs: &[Arc<[T]>]) {
        while let Some((first, rest)) = runs.split_first()
            && self.changed
        {
            if self.runs.last().is_some_and(|last| last.len() + first.len() <= self.max / 2) {
                self.put(first.to_vec());
                runs = rest;
            } else {
                self.changed = false;
            }
        }
        self.runs.extend_from_slice(runs);
        self.changed &= runs.is_empty();
    }

    /// Takes what is new, removed or changed, with what shares its run.
    fn put(&mut self, mut items: Vec<T>) {
        // If nothing is left, those on either side may now be small neighbours.
        self.changed = true;
        if items.is_empty() {
            return;
        }
        while let Some(last) = self.runs.pop_if(|last| last.len() + items.len() <= self.max / 2) {
            items.splice(..0, last.iter().cloned());
        }
        let parts = items.len().div_ceil(self.max);
        let size = items.len().div_ceil(parts);
        let mut rest = items.into_iter().peekable();
        while rest.peek().is_some() {
            self.runs.push(rest.by_ref().take(size).collect());
        }
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, Arc<V>)> for Seq<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(entries: I) -> Self {
        Self::default().edited(entries.into_iter().map(|(key, value)| (key, Some(value))))
    }
}

impl<K: Ord + Clone, V: PartialEq> PartialEq for Seq<K, V> {
    /// Costs a pointer a page, plus the entries from the first chunk that differs to the last.
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        let (a, b) = differing(&self.pages, &other.pages);
        if let ([a], [b]) = (a, b) {
            let (a, b) = differing(a, b);
            return equal(a.iter(), b.iter());
        }
        equal(a.iter().flat_map(|page| page.iter()), b.iter().flat_map(|page| page.iter()))
    }
}

/// Two lists of shared runs without those that are the very same at the beginning and at the end of both.
pub fn differing<'a, T: ?Sized>(a: &'a [Arc<T>], b: &'a [Arc<T>]) -> (&'a [Arc<T>], &'a [Arc<T>]) {
    let same = |pair: &(&Arc<T>, &Arc<T>)| Arc::ptr_eq(pair.0, pair.1);
    let head = a.iter().zip(b).take_while(same).count();
    let (a, b) = (&a[head..], &b[head..]);
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
    (&a[..a.len() - tail], &b[..b.len() - tail])
}

fn equal<'a, K: PartialEq + 'a, V: PartialEq + 'a>(
    a: impl Iterator<Item = &'a Chunk<K, V>>,
    b: impl Iterator<Item = &'a Chunk<K, V>>,
) -> bool {
    let (mut a, mut b) = (a.flat_map(|chunk| chunk.iter()), b.flat_map(|chunk| chunk.iter()));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.0 == b.0 && (Arc::ptr_eq(&a.1, &b.1) || a.1 == b.1) => {}
            _ => return false,
        }
    }
}

impl<K: Ord + Clone, V: Serialize> Serialize for Seq<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests;
