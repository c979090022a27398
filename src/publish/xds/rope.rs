//! Encoded bytes in shared segments, and content hashes that combine: a message of megabytes of which one
//! segment changed is neither copied nor hashed again.
//!
//! Laws: a rope never changes once it was handed out; two ropes of equal content have equal digests if their
//! parts were cut at the same entries, however these are grouped.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Bytes in segments.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pieces: Vec<Piece>,
    len: usize,
}

/// A rope of thousands of segments is one of some dozen sections, so that a message around it costs a pointer a
/// section and not one a segment.
#[derive(Clone, Debug)]
enum Piece {
    One(Bytes),
    Many(Arc<Section>),
}

/// Some segments, one after the other, that ropes share.
#[derive(Debug)]
pub struct Section {
    segments: Box<[Bytes]>,
    len: usize,
}

impl Section {
    /// Makes one.
    pub fn new(segments: impl IntoIterator<Item = Bytes>) -> Self {
        let segments: Box<[Bytes]> = segments.into_iter().filter(|segment| !segment.is_empty()).collect();
        Self { len: segments.iter().map(Bytes::len).sum(), segments }
    }
}

impl Rope {
    /// An empty rope with room for so many segments and sections.
    pub fn with_capacity(pieces: usize) -> Self {
        Self { pieces: Vec::with_capacity(pieces), len: 0 }
    }

    /// Appends a segment.
    pub fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.len += segment.len();
            self.pieces.push(Piece::One(segment));
        }
    }

    /// Appends a section, sharing it.
    pub fn push_section(&mut self, section: Arc<Section>) {
        if section.len > 0 {
            self.len += section.len;
            self.pieces.push(Piece::Many(section));
        }
    }

    /// Appends another rope, sharing its segments.
    pub fn append(&mut self, other: &Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces.iter().cloned());
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many segments and sections it was put together from.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::One(segment) => std::slice::from_ref(segment),
            Piece::Many(section) => &section.segments,
        })
    }

    /// Copies all of it into a buffer.
    pub fn write(&self, into: &mut impl BufMut) {
        for segment in self.segments() {
            into.put_slice(segment);
        }
    }

    /// All of it in one piece, copied.
    pub fn flat(&self) -> Bytes {
        let mut flat = Vec::with_capacity(self.len);
        self.write(&mut flat);
        Bytes::from(flat)
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        let mut rope = Self::with_capacity(1);
        rope.push(Bytes::from(bytes));
        rope
    }
}

/// What a resource's content hashes to: its version, in hexadecimal on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// The version that a client names; `None` if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a sequence of entries as a polynomial over their own hashes, so that neighbouring parts combine
/// without looking at the entries again, and the grouping into parts does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    sum: u128,
    power: u128,
}

impl Digest {
    /// Odd, so that no power of it vanishes; congruent to 5 modulo 8, so that its order is as large as it gets.
    const BASE: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

    /// Of nothing.
    pub const EMPTY: Self = Self { sum: 0, power: 1 };

    /// Of one entry.
    pub fn of(entry: &[u8]) -> Self {
        Self { sum: xxh3_128(entry), power: Self::BASE }
    }

    /// Of this and then that.
    pub fn then(self, next: Self) -> Self {
        Self {
            sum: self.sum.wrapping_mul(next.power).wrapping_add(next.sum),
            power: self.power.wrapping_mul(next.power),
        }
    }

    /// As a version.
    pub fn version(self) -> Version {
        Version(xxh3_64(&self.sum.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_how_entries_are_grouped_but_on_their_order() {
        let [a, b, c] = [&b"a"[..], b"b", b"c"].map(Digest::of);
        assert_eq!(a.then(b).then(c), a.then(b.then(c)));
        assert_eq!(Digest::EMPTY.then(a), a.then(Digest::EMPTY));
        assert_ne!(a.then(b).version(), b.then(a).version());
        assert_ne!(a.then(a).version(), a.version());
    }

    #[test]
    fn a_rope_is_its_segments_one_after_the_other() {
        let mut rope = Rope::default();
        for part in ["ab", "", "cde", "f"] {
            rope.push(Bytes::copy_from_slice(part.as_bytes()));
        }
        assert_eq!(&rope.flat()[..], b"abcdef");
        assert_eq!((rope.len(), rope.segments().count()), (6, 3));
    }

    #[test]
    fn a_section_is_shared_by_the_ropes_that_it_is_in() {
        let section = Arc::new(Section::new(["bc", "", "de"].map(|part| Bytes::from_static(part.as_bytes()))));
        let mut inner = Rope::from(b"a".to_vec());
        inner.push_section(section.clone());
        let mut outer = Rope::from(b"<".to_vec());
        outer.append(&inner);
        assert_eq!((&outer.flat()[..], outer.len(), outer.pieces()), (&b"<abcde"[..], 6, 3));
        assert_eq!(Arc::strong_count(&section), 3);
        let last = |rope: &Rope| rope.segments().last().map(|segment| segment.as_ptr());
        assert_eq!(last(&outer), last(&inner));
    }

    #[test]
    fn a_version_reads_back_from_its_text_and_nothing_else_does() {
        let version = Digest::of(b"x").version();
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        assert_eq!(Version::parse("1"), None);
        assert_eq!(Version::parse("not-a-version-ok"), None);
    }
}
