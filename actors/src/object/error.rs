//! Why an object could not be decoded: the path, the line and the reason; never the content, which may be secret.

use std::fmt;

use thiserror::Error;

use super::scan::Fail;

/// What is wrong at the place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Cause {
    /// The bytes are not text.
    #[error("invalid UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("invalid JSON: expected {expected}")]
    Syntax {
        /// What could have stood there.
        expected: &'static str,
    },
    /// The input ends in the middle.
    #[error("invalid JSON: the input ends too early")]
    Truncated,
    /// Nested too deeply to be parsed safely.
    #[error("nested more than {limit} levels deep")]
    TooDeep {
        /// The deepest that is accepted.
        limit: u32,
    },
    /// A value of another type than the field has.
    #[error("must be {expected}")]
    Type {
        /// What the field holds.
        expected: &'static str,
    },
    /// A field without which there is no object.
    #[error("is required")]
    Missing,
    /// A name that cannot be one.
    #[error("must not be empty and must hold neither '/' nor control characters")]
    BadName,
}

/// An object could not be decoded. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    offset: usize,
    line: usize,
    column: usize,
    cause: Cause,
}

impl DecodeError {
    /// The field, such as `metadata.labels.app` or `spec.rules[2]`; empty for the whole document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Offset in bytes from the start of the input.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in bytes, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Not text at all from `offset` on.
    pub(super) fn not_utf8(raw: &[u8], offset: usize) -> Self {
        let valid = raw.get(..offset).and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default();
        Self::new(valid, Fail { at: offset, cause: Cause::NotUtf8 })
    }

    /// A failed pass over a text, with the path worked out now, from the part before it, which was good.
    pub(super) fn new(text: &str, fail: Fail) -> Self {
        let before = &text.as_bytes()[..fail.at.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self {
            path: path_at(text, before.len()),
            offset: fail.at,
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            cause: fail.cause,
        }
    }

    /// A field that is not there, or not as a whole; `at` is the end of what it should stand in.
    pub(super) fn of_field(text: &str, at: usize, path: &str, cause: Cause) -> Self {
        Self { path: path.to_owned(), ..Self::new(text, Fail { at, cause }) }
    }
}

/// `metadata.name: is required (line 1, column 13)`.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} (line {}, column {})", self.cause, self.line, self.column)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

enum Level<'a> {
    Object(&'a str),
    Array(usize),
}

/// The path of the value at `end` of a text that is good JSON up to there.
fn path_at(text: &str, end: usize) -> String {
    /// A longer key is cut short: it is more likely to be content.
    const MAX_KEY: usize = 63;
    let bytes = &text.as_bytes()[..end];
    let mut levels = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => levels.push(Level::Object("")),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => drop(levels.pop()),
            b',' => match levels.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                Some(Level::Object(key)) => *key = "",
                None => {}
            },
            b'"' => {
                let start = at + 1;
                at = start;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                if let (Some(Level::Object(key @ "")), Some(name)) = (levels.last_mut(), text.get(start..at.min(end))) {
                    *key = name;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object("") => {}
            Level::Object(key) => {
                let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b));
                let key: String = key.chars().take(MAX_KEY).collect();
                match (plain, path.is_empty()) {
                    (true, true) => path.push_str(&key),
                    (true, false) => path.extend([".", &key]),
                    (false, _) => path.extend(["[\"", &key, "\"]"]),
                }
            }
            Level::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
