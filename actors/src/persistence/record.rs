//! What the payloads of frames say: whose file it is, which objects there are, and up to where they were told.
//! Strict on the way in: what does not fit to the last byte is refused, never guessed.

use std::time::Duration;

use crate::id::{Name, ObjectKey, ResourceType, Scope};
use crate::source::Cursor;

/// Whose file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub source: Name,
    pub resource_type: ResourceType,
    /// What else decides which objects there are; opaque.
    pub fingerprint: String,
    /// Which key the payloads are encrypted with; `None`: they are not.
    pub key: Option<String>,
}

/// How far a slot's objects go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Where a watch can go on.
    pub cursor: Option<Cursor>,
    /// A whole list was once applied.
    pub complete: bool,
    /// The source does not have the type, and why that is known.
    pub absent: Option<String>,
    /// When the source last told anything, since the Unix epoch.
    pub at: Option<Duration>,
}

/// One statement of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Put {
        namespace: Option<&'a str>,
        name: &'a str,
        raw: &'a [u8],
    },
    Delete {
        namespace: Option<&'a str>,
        name: &'a str,
    },
    /// The last of each batch.
    Position(Position),
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const POSITION_V1: u8 = 3;
const POSITION: u8 = 4;

impl Header {
    pub fn write(&self, out: &mut Vec<u8>) {
        let of = &self.resource_type;
        for part in [&*self.source, of.group(), of.version(), of.kind(), of.plural(), &self.fingerprint] {
            text(out, part);
        }
        out.push(u8::from(of.scope() == Scope::Namespaced));
        optional(out, self.key.as_deref());
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (source, group, version) = (reader.text()?, reader.text()?, reader.text()?);
        let (kind, plural, fingerprint) = (reader.text()?, reader.text()?, reader.text()?);
        let scope = if reader.flag()? { Scope::Namespaced } else { Scope::Cluster };
        let resource_type = ResourceType::new(group, version, kind, plural, scope);
        let key = reader.optional()?.map(str::to_owned);
        reader.end()?;
        Some(Self { source: source.into(), resource_type, fingerprint: fingerprint.to_owned(), key })
    }
}

pub(super) fn put(out: &mut Vec<u8>, key: &ObjectKey, raw: &[u8]) {
    out.push(PUT);
    name(out, key);
    number(out, raw.len() as u64);
    out.extend_from_slice(raw);
}

pub(super) fn delete(out: &mut Vec<u8>, key: &ObjectKey) {
    out.push(DELETE);
    name(out, key);
}

/// About how many bytes an object takes in a file.
pub(super) fn size(key: &ObjectKey, raw: &[u8]) -> u64 {
    (raw.len() + key.name.len() + key.namespace_or_empty().len() + 8) as u64
}

impl Position {
    /// Whether it says anything of the type.
    pub fn is_known(&self) -> bool {
        self.complete || self.absent.is_some()
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(POSITION);
        optional(out, self.cursor.as_ref().map(|cursor| &*cursor.0));
        out.push(u8::from(self.complete));
        optional(out, self.absent.as_deref());
        let at = self.at.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        number(out, at);
    }

    /// Version 1 did not say when the source was last heard.
    fn read(reader: &mut Reader<'_>, says_when: bool) -> Option<Self> {
        let cursor = reader.optional()?.map(|cursor| Cursor(cursor.into()));
        let complete = reader.flag()?;
        let absent = reader.optional()?.map(str::to_owned);
        let at = if says_when { reader.number()? } else { 0 };
        let at = Some(at).filter(|at| *at > 0).map(Duration::from_millis);
        Some(Self { cursor, complete, absent, at })
    }
}

/// All records of a payload, in order; the last item is `None` if what is left is none.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let (mut reader, mut broken) = (Reader(payload), false);
    std::iter::from_fn(move || {
        if broken || reader.0.is_empty() {
            return None;
        }
        let record = reader.record();
        broken = record.is_none();
        Some(record)
    })
}

fn name(out: &mut Vec<u8>, key: &ObjectKey) {
    optional(out, key.namespace.as_deref());
    text(out, &key.name);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        text(out, value);
    }
}

/// Seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<Record<'a>> {
        match self.byte()? {
            PUT => {
                let (namespace, name) = (self.optional()?, self.text()?);
                Some(Record::Put { namespace, name, raw: self.bytes()? })
            }
            DELETE => Some(Record::Delete { namespace: self.optional()?, name: self.text()? }),
            POSITION_V1 => Position::read(self, false).map(Record::Position),
            POSITION => Position::read(self, true).map(Record::Position),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn optional(&mut self) -> Option<Option<&'a str>> {
        if self.flag()? { self.text().map(Some) } else { Some(None) }
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
