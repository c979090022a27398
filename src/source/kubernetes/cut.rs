//! Bodies cut into pieces as they arrive: a watch's into lines, a list's into its items. No tree is built, and no more
//! than one piece is held, of which no more than a limit.

use std::ops::Range;

/// How much is kept of a piece that is too large, to tell whose it is.
const HEAD: usize = 64 << 10;

/// The largest part of a list that is not its items.
const MAX_ENVELOPE: usize = 256 << 10;

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It is larger than the limit, and this is how it begins.
    TooLarge { head: &'a [u8], size: usize },
}

/// A piece that came in several chunks.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    size: usize,
}

impl Held {
    fn push(&mut self, part: &[u8], limit: usize) {
        self.size += part.len();
        if self.size <= limit {
            self.bytes.extend_from_slice(part);
            return;
        }
        let room = HEAD.min(limit).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        self.bytes.truncate(HEAD.min(limit));
        // The buffer may have grown up to the limit, which is much for each of many streams.
        self.bytes.shrink_to(HEAD);
    }

    fn take(&mut self, limit: usize, out: &mut impl FnMut(Piece<'_>)) {
        let whole = self.size <= limit;
        out(if whole { Piece::Whole(&self.bytes) } else { Piece::TooLarge { head: &self.bytes, size: self.size } });
        self.size = 0;
        self.bytes.clear();
        self.bytes.shrink_to(HEAD);
    }
}

/// Cuts at line feeds.
pub struct Lines {
    held: Held,
    limit: usize,
}

impl Lines {
    pub fn new(limit: usize) -> Self {
        Self { held: Held::default(), limit }
    }

    /// Takes in a chunk; each line that ends in it is handed out, empty ones are not.
    pub fn feed(&mut self, chunk: &[u8], mut out: impl FnMut(Piece<'_>)) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let line = &chunk[start..end];
            start = end + 1;
            if self.held.size == 0 && line.len() <= self.limit {
                if !line.trim_ascii().is_empty() {
                    out(Piece::Whole(line));
                }
                continue;
            }
            self.held.push(line, self.limit);
            self.held.take(self.limit, &mut out);
        }
        self.held.push(&chunk[start..], self.limit);
    }

    /// The body is over; what is left is handed out as it is.
    pub fn finish(&mut self, mut out: impl FnMut(Piece<'_>)) {
        if !self.held.bytes.trim_ascii().is_empty() {
            self.held.take(self.limit, &mut out);
        }
    }
}

/// The body is not JSON of the form that a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Cuts the members of the array `items` out of the object around them.
pub struct Items {
    held: Held,
    limit: usize,
    /// All that is not an item.
    envelope: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Where the string began that may be a key, in the envelope.
    key: Option<usize>,
    /// The next string at this level is a key.
    expects_key: bool,
    /// The last key of the outermost object was `items`.
    at_items: bool,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Envelope,
    /// In the array, between two items.
    Between,
    Item,
}

impl Items {
    pub fn new(limit: usize) -> Self {
        Self {
            held: Held::default(),
            limit,
            envelope: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            key: None,
            expects_key: false,
            at_items: false,
            place: Place::Envelope,
        }
    }

    /// Takes in a chunk; each item that ends in it is handed out.
    pub fn feed(&mut self, chunk: &[u8], mut out: impl FnMut(Piece<'_>)) -> Result<(), Malformed> {
        let mut at = 0;
        while at < chunk.len() {
            match self.place {
                Place::Envelope => at = self.envelope(chunk, at)?,
                Place::Between => at = self.between(chunk, at)?,
                Place::Item => at = self.item(chunk, at, &mut out),
            }
        }
        Ok(())
    }

    /// The body is over: what was around the items.
    pub fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.depth > 0 || self.place != Place::Envelope {
            return Err(Malformed("the list is cut off"));
        }
        Ok(self.envelope)
    }

    fn envelope(&mut self, chunk: &[u8], mut at: usize) -> Result<usize, Malformed> {
        let start = at;
        let mut done = start;
        while at < chunk.len() && self.place == Place::Envelope {
            let byte = chunk[at];
            at += 1;
            if self.in_string {
                self.string_byte(byte);
                if !self.in_string && self.key.is_some() {
                    self.envelope.extend_from_slice(&chunk[done..at]);
                    done = at;
                    self.end_key();
                }
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    if self.depth == 1 && self.expects_key {
                        self.expects_key = false;
                        self.key = Some(self.envelope.len() + (at - done));
                    }
                }
                b'{' => {
                    self.depth += 1;
                    self.expects_key = self.depth == 1;
                }
                b'[' if self.depth == 1 && self.at_items => {
                    self.depth += 1;
                    self.place = Place::Between;
                }
                b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1).ok_or(Malformed("a bracket closes nothing"))?;
                }
                b',' if self.depth == 1 => {
                    self.expects_key = true;
                    self.at_items = false;
                }
                _ => {}
            }
        }
        self.envelope.extend_from_slice(&chunk[done..at]);
        if self.envelope.len() > MAX_ENVELOPE {
            return Err(Malformed("it is no list"));
        }
        Ok(at)
    }

    fn end_key(&mut self) {
        if let Some(start) = self.key.take() {
            let end = self.envelope.len().saturating_sub(1);
            self.at_items = self.envelope.get(start..end) == Some(b"items");
        }
    }

    fn between(&mut self, chunk: &[u8], mut at: usize) -> Result<usize, Malformed> {
        while let Some(byte) = chunk.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => at += 1,
                b'{' => {
                    self.place = Place::Item;
                    break;
                }
                b']' => {
                    // The envelope goes on, and closes the bracket.
                    self.place = Place::Envelope;
                    self.at_items = false;
                    break;
                }
                _ => return Err(Malformed("an item is no object")),
            }
        }
        Ok(at)
    }

    /// Goes on with an item from `at`, which at its start is its opening brace.
    fn item(&mut self, chunk: &[u8], at: usize, out: &mut impl FnMut(Piece<'_>)) -> usize {
        let (end, complete) = self.end_of_item(chunk, at);
        let part: Range<usize> = at..end;
        if !complete {
            self.held.push(&chunk[part], self.limit);
            return end;
        }
        self.place = Place::Between;
        if self.held.size == 0 && part.len() <= self.limit {
            out(Piece::Whole(&chunk[part]));
        } else {
            self.held.push(&chunk[part], self.limit);
            self.held.take(self.limit, out);
        }
        end
    }

    fn end_of_item(&mut self, chunk: &[u8], mut at: usize) -> (usize, bool) {
        const ARRAY: u32 = 2;
        while at < chunk.len() {
            if self.in_string {
                if !self.escaped {
                    let Some(skip) = memchr::memchr2(b'"', b'\\', &chunk[at..]) else { return (chunk.len(), false) };
                    at += skip;
                }
                self.string_byte(chunk[at]);
                at += 1;
                continue;
            }
            let byte = chunk[at];
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    // It begins one level above the array, so this cannot go below that.
                    self.depth -= 1;
                    if self.depth == ARRAY {
                        return (at, true);
                    }
                }
                _ => {}
            }
        }
        (at, false)
    }

    fn string_byte(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
