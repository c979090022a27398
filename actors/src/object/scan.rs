//! One forward pass over JSON text: checks the grammar, skips what nobody asked for, allocates nothing.
//! It knows nothing of objects or metadata.
//!
//! Laws: it accepts what `serde_json` accepts (numbers out of a double's range aside), so that a typed view can
//! be parsed later; it never recurses and never panics.

use std::borrow::Cow;
use std::ops::Range;

use super::error::Cause;

/// Nesting that is accepted; `serde_json` refuses one level more.
const MAX_DEPTH: u32 = 127;

/// Where the pass failed, and why. The path is found later, when somebody wants to know.
#[derive(Debug)]
pub(super) struct Fail {
    pub at: usize,
    pub cause: Cause,
}

/// Whether a member of an object stays in the copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Keep,
    Cut,
}

/// The pass.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn fail<T>(&self, at: usize, cause: Cause) -> Result<T, Fail> {
        Err(Fail { at, cause })
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, Fail> {
        let cause = if self.at < self.text.len() { Cause::Syntax { expected: what } } else { Cause::Truncated };
        self.fail(self.at, cause)
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline]
    fn take(&mut self, wanted: u8, what: &'static str) -> Result<(), Fail> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        self.expected(what)
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), Fail> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.expected("the end of the input"),
        }
    }

    /// Takes `null`, if that is what comes next.
    pub fn null(&mut self) -> Result<bool, Fail> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal("null")?;
        Ok(true)
    }

    /// A string, unescaped if need be.
    pub fn string(&mut self, expected: &'static str) -> Result<Cow<'a, str>, Fail> {
        if self.peek() != Some(b'"') {
            return self.wrong_type(expected);
        }
        self.quoted()
    }

    /// The next value has another type than it must have; bad syntax is reported as such.
    pub fn wrong_type<T>(&mut self, expected: &'static str) -> Result<T, Fail> {
        let _ = self.peek();
        let start = self.at;
        self.skip()?;
        self.fail(start, Cause::Type { expected })
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Fail> {
        let start = self.at;
        self.at += 1;
        let escaped = self.rest_of_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        match serde_json::from_str::<String>(&self.text[start..self.at]) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => self.fail(start, Cause::Syntax { expected: "a valid string" }),
        }
    }

    /// A whole number.
    pub fn integer(&mut self) -> Result<i64, Fail> {
        const EXPECTED: &str = "an integer";
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return self.wrong_type(EXPECTED);
        }
        let start = self.at;
        self.number()?;
        self.text[start..self.at].parse().or_else(|_| self.fail(start, Cause::Type { expected: EXPECTED }))
    }

    /// Goes through an object. `member` gets each key and must take the value; the byte ranges of those that
    /// it cuts are added to `cuts`, with the comma that goes with them.
    pub fn object(
        &mut self,
        cuts: &mut Vec<Range<usize>>,
        mut member: impl FnMut(&mut Self, Cow<'a, str>, &mut Vec<Range<usize>>) -> Result<Member, Fail>,
    ) -> Result<(), Fail> {
        if self.peek() != Some(b'{') {
            return self.wrong_type("an object");
        }
        self.enter()?;
        if self.peek() == Some(b'}') {
            return self.leave();
        }
        let mut kept_comma = None;
        loop {
            let Some(b'"') = self.peek() else { return self.expected("a key in double quotes") };
            let start = self.at;
            let key = self.quoted()?;
            self.take(b':', "':'")?;
            let verdict = member(self, key, cuts)?;
            let end = self.at;
            match self.peek() {
                Some(b',') => {
                    let comma = self.at;
                    self.at += 1;
                    // Cut up to the next key, so that neither comma nor white space is left over.
                    self.peek();
                    match verdict {
                        Member::Keep => kept_comma = Some(comma),
                        Member::Cut => cut(cuts, start..self.at),
                    }
                }
                Some(b'}') => {
                    if verdict == Member::Cut {
                        cut(cuts, kept_comma.unwrap_or(start)..end);
                    }
                    return self.leave();
                }
                _ => return self.expected("',' or '}'"),
            }
        }
    }

    /// Goes through an object of which everything stays.
    pub fn entries(&mut self, mut entry: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), Fail>) -> Result<(), Fail> {
        self.object(&mut Vec::new(), |scan, key, _| entry(key, scan).map(|()| Member::Keep))
    }

    /// Goes through an array; `item` must take each value.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fail>) -> Result<(), Fail> {
        if self.peek() != Some(b'[') {
            return self.wrong_type("an array");
        }
        self.enter()?;
        if self.peek() == Some(b']') {
            return self.leave();
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.leave(),
                _ => return self.expected("',' or ']'"),
            }
        }
    }

    fn enter(&mut self) -> Result<(), Fail> {
        if self.depth == MAX_DEPTH {
            return self.fail(self.at, Cause::TooDeep { limit: MAX_DEPTH });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fail> {
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    /// Takes any value. A bit a level says whether it is an object, so no stack is needed.
    pub fn skip(&mut self) -> Result<(), Fail> {
        let floor = self.depth;
        let mut objects: u128 = 0;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.rest_of_string()?;
                }
                Some(b'{') => {
                    self.enter()?;
                    objects |= 1 << self.depth;
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        continue;
                    }
                    self.leave()?;
                }
                Some(b'[') => {
                    self.enter()?;
                    objects &= !(1 << self.depth);
                    if self.peek() != Some(b']') {
                        continue;
                    }
                    self.leave()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return self.expected("a value"),
            }
            loop {
                if self.depth == floor {
                    return Ok(());
                }
                let in_object = objects & (1 << self.depth) != 0;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => self.leave()?,
                    Some(b']') if !in_object => self.leave()?,
                    _ => return self.expected(if in_object { "',' or '}'" } else { "',' or ']'" }),
                }
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Result<(), Fail> {
        self.take(b'"', "a key in double quotes")?;
        self.rest_of_string()?;
        self.take(b':', "':'")
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Fail> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.expected("a value")
    }

    fn digits(&mut self) -> Result<(), Fail> {
        let bytes = self.text.as_bytes();
        if !bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            return self.expected("a digit");
        }
        while bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fail> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// From behind the opening quote to behind the closing one; tells whether there were escapes.
    #[inline]
    fn rest_of_string(&mut self) -> Result<bool, Fail> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            let start = self.at;
            while let Some(chunk) = bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
                let stop = first_special(u64::from_le_bytes(*chunk));
                self.at += stop;
                if stop < 8 {
                    break;
                }
                // Most strings are short. What is not may well be very long: a certificate, say.
                if self.at - start == SHORT {
                    let (blocks, _) = bytes[self.at..].as_chunks();
                    self.at += BLOCK * blocks.iter().take_while(|block| is_plain(block)).count();
                }
            }
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => return self.expected("no control character in a string"),
                Some(_) => self.at += 1,
                None => return self.expected("the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fail> {
        const EXPECTED: &str = "a valid escape sequence";
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.unit(self.at) {
                Some(0xd800..0xdc00) if matches!(self.unit(self.at + 6), Some(0xdc00..0xe000)) => self.at += 12,
                None | Some(0xd800..0xe000) => return self.expected(EXPECTED),
                Some(_) => self.at += 6,
            },
            _ => return self.expected(EXPECTED),
        }
        Ok(())
    }

    /// The UTF-16 unit that a `\uXXXX` at this place stands for.
    fn unit(&self, at: usize) -> Option<u16> {
        let text = self.text.get(at..at + 6)?;
        let hex = text.strip_prefix("\\u")?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u16::from_str_radix(hex, 16).ok()
    }
}

/// So much of a string is looked at by words, before it is by blocks.
const SHORT: usize = 32;
const BLOCK: usize = 32;

/// Whether none of these bytes is a quote, a backslash or a control character. Without a branch a byte, so that the
/// compiler can look at many at once.
#[inline]
fn is_plain(block: &[u8; BLOCK]) -> bool {
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    !block.iter().fold(false, |any, byte| any | special(*byte))
}

/// Index of the first byte of a little-endian word that is a quote, a backslash or a control character; 8 if
/// none is. Borrows of the subtractions can only disturb bytes above the first hit.
#[inline]
fn first_special(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let hits = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    ((hits & HIGHS).trailing_zeros() / 8) as usize
}

/// Adds a range that starts behind the others or swallows the last of them.
fn cut(cuts: &mut Vec<Range<usize>>, range: Range<usize>) {
    while cuts.last().is_some_and(|last| last.start >= range.start) {
        cuts.pop();
    }
    cuts.push(range);
}
