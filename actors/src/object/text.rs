//! Strings of an object that stand in its raw JSON anyway, as places in it instead of copies. What JSON spells
//! with an escape stands nowhere as it is read, so it is kept beside the raw bytes; in practice that is nothing.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

/// A piece of text of one object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// In the raw JSON, or with [`BESIDE`] in what is kept beside it.
    start: u32,
    len: u32,
}

const BESIDE: u32 = 1 << 31;

/// The raw JSON of an object, and what is kept beside it. Never changed after it was made.
pub(super) struct Texts {
    raw: Bytes,
    beside: Option<Box<str>>,
}

impl Texts {
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The text of a span that was made for these.
    pub fn get(&self, span: Span) -> &str {
        let range = |start: u32| start as usize..start as usize + span.len as usize;
        if span.start & BESIDE != 0 {
            let beside = self.beside.as_deref().and_then(|beside| beside.get(range(span.start & !BESIDE)));
            return beside.unwrap_or_default();
        }
        let bytes = self.raw.get(range(span.start)).unwrap_or_default();
        // It was UTF-8 when the span was made, and nobody changes the bytes.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Finds the places of texts that were borrowed from a JSON text, in the copy of it without the cut ranges.
pub(super) struct Places<'a> {
    text: &'a str,
    /// In order, none within another, none around a text that is looked for.
    cuts: &'a [Range<usize>],
    beside: String,
}

impl<'a> Places<'a> {
    pub fn new(text: &'a str, cuts: &'a [Range<usize>]) -> Self {
        Self { text, cuts, beside: String::new() }
    }

    /// Where a piece of text will be.
    pub fn of(&mut self, piece: Cow<'a, str>) -> Span {
        if piece.is_empty() {
            return Span::default();
        }
        let borrowed = match piece {
            Cow::Borrowed(piece) => self.in_raw(piece),
            Cow::Owned(_) => None,
        };
        borrowed.unwrap_or_else(|| self.keep(&piece))
    }

    fn in_raw(&self, piece: &str) -> Option<Span> {
        let start = (piece.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let cut: usize = self.cuts.iter().take_while(|cut| cut.end <= start).map(ExactSizeIterator::len).sum();
        // Beyond two GiB a place cannot be told.
        let start = u32::try_from(start - cut).ok().filter(|start| *start < BESIDE)?;
        Some(Span { start, len: u32::try_from(piece.len()).ok()? })
    }

    fn keep(&mut self, piece: &str) -> Span {
        let (start, len) = (u32::try_from(self.beside.len()), u32::try_from(piece.len()));
        match (start, len) {
            (Ok(start), Ok(len)) if start < BESIDE => {
                self.beside.push_str(piece);
                Span { start: start | BESIDE, len }
            }
            // Two GiB of escaped metadata: no reader could hold such an object.
            _ => Span::default(),
        }
    }

    /// The texts, with the copy that all places are in.
    pub fn finish(self, raw: Bytes) -> Texts {
        Texts { raw, beside: (!self.beside.is_empty()).then(|| self.beside.into()) }
    }
}
