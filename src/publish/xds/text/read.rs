//! A reader of protobuf's wire format that renders what it finds as protobuf's JSON, by the table.
//!
//! Law: it is total. Any bytes are either read or are an error; nothing is dropped in silence.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde_json::{Map, Value, json};

use super::REDACTED;
use super::table::{self, Form, Message, Shape};

/// Why encoded bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A field's number or its length is not one.
    #[error("{message}: what should be a field is none ({source})")]
    Malformed {
        /// The message that was being read.
        message: String,
        /// What the decoder said.
        source: DecodeError,
    },
    /// The bytes end within a field.
    #[error("{message}: field {number} is cut off")]
    Truncated {
        /// The message that was being read.
        message: String,
        /// The field.
        number: u32,
    },
    /// A group, which proto3 does not have.
    #[error("{message}: field {number} is a group")]
    Group {
        /// The message that was being read.
        message: String,
        /// The field.
        number: u32,
    },
}

/// What was read.
pub struct Read {
    /// As JSON.
    pub value: Value,
    /// What the table does not know.
    pub unknown: Vec<String>,
}

/// Reads the content of an `Any`.
pub fn any(url: &str, content: &[u8]) -> Result<Read, TextError> {
    let mut reader = Reader::default();
    let value = reader.typed(url, content)?;
    Ok(Read { value, unknown: reader.unknown })
}

/// A field's content as it is on the wire.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

struct Fields<'a> {
    message: &'a str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, number: u32, len: usize) -> Result<&'a [u8], TextError> {
        let truncated = || TextError::Truncated { message: self.message.to_owned(), number };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, TextError> {
        let malformed = |source| TextError::Malformed { message: self.message.to_owned(), source };
        decode_varint(&mut self.rest).map_err(malformed)
    }

    fn field(&mut self) -> Result<(u32, Raw<'a>), TextError> {
        let malformed = |source| TextError::Malformed { message: self.message.to_owned(), source };
        let (number, wire) = decode_key(&mut self.rest).map_err(malformed)?;
        let raw = match wire {
            WireType::Varint => Raw::Varint(self.varint()?),
            WireType::LengthDelimited => {
                // What does not fit a usize is longer than all that there is.
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Raw::Bytes(self.take(number, len)?)
            }
            WireType::SixtyFourBit => Raw::Fixed64(little_endian(self.take(number, 8)?)),
            WireType::ThirtyTwoBit => {
                Raw::Fixed32(u32::try_from(little_endian(self.take(number, 4)?)).unwrap_or(u32::MAX))
            }
            WireType::StartGroup | WireType::EndGroup => {
                return Err(TextError::Group { message: self.message.to_owned(), number });
            }
        };
        Ok((number, raw))
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Raw<'a>), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.field())
    }
}

#[derive(Default)]
struct Reader {
    unknown: Vec<String>,
}

impl Reader {
    fn message(&mut self, schema: &Message, bytes: &[u8]) -> Result<Map<String, Value>, TextError> {
        let mut object = Map::new();
        for field in (Fields { message: schema.name, rest: bytes }) {
            let (number, raw) = field?;
            let Some(field) = schema.field(number) else {
                self.unnamed(schema.name, number, raw, &mut object);
                continue;
            };
            let placed = match field.shape {
                Shape::One => {
                    self.value(field.form, raw)?.map(|value| drop(object.insert(field.name.to_owned(), value)))
                }
                Shape::Many => self.value(field.form, raw)?.map(|value| match object.get_mut(field.name) {
                    Some(Value::Array(list)) => list.push(value),
                    _ => drop(object.insert(field.name.to_owned(), json!([value]))),
                }),
                Shape::Map => self.entry(schema.name, field.form, raw)?.map(|(key, value)| {
                    let map = object.entry(field.name).or_insert_with(|| json!({}));
                    map[key] = value;
                }),
            };
            if placed.is_none() {
                self.unnamed(schema.name, number, raw, &mut object);
            }
        }
        Ok(object)
    }

    /// A value of a form; `None` if it is not encoded as that form is.
    fn value(&mut self, form: Form, raw: Raw<'_>) -> Result<Option<Value>, TextError> {
        Ok(Some(match (form, raw) {
            (Form::Text, Raw::Bytes(bytes)) => String::from_utf8_lossy(bytes).into(),
            (Form::Bytes, Raw::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            (Form::Hidden, _) => REDACTED.into(),
            (Form::Flag, Raw::Varint(flag)) => (flag != 0).into(),
            (Form::Number, Raw::Varint(number)) => number.into(),
            // Protobuf's JSON has 64-bit numbers as text, since JavaScript could not hold them.
            (Form::Long, Raw::Varint(number)) => number.cast_signed().to_string().into(),
            (Form::Name(name), Raw::Varint(number)) => {
                // An enumeration is an int32, of which a negative one is encoded as ten bytes.
                let number = number.cast_signed();
                let known = i32::try_from(number).ok().and_then(name);
                known.map_or_else(|| number.into(), Value::from)
            }
            (Form::Message(schema), Raw::Bytes(bytes)) => self.message(schema, bytes)?.into(),
            (Form::Any, Raw::Bytes(bytes)) => self.any(bytes)?,
            (Form::Duration, Raw::Bytes(bytes)) => self.duration(bytes)?,
            (Form::NumberValue, Raw::Bytes(bytes)) => self.wrapped("google.protobuf.UInt32Value", bytes)?.into(),
            (Form::FlagValue, Raw::Bytes(bytes)) => (self.wrapped("google.protobuf.BoolValue", bytes)? != 0).into(),
            _ => return Ok(None),
        }))
    }

    /// An entry of a map with text as its key: a message of key and value.
    fn entry(&mut self, message: &str, form: Form, raw: Raw<'_>) -> Result<Option<(String, Value)>, TextError> {
        let Raw::Bytes(bytes) = raw else { return Ok(None) };
        let (mut key, mut value) = (String::new(), None);
        for field in (Fields { message, rest: bytes }) {
            match field? {
                (1, Raw::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (2, raw) => value = self.value(form, raw)?,
                _ => return Ok(None),
            }
        }
        Ok(value.map(|value| (key, value)))
    }

    fn any(&mut self, bytes: &[u8]) -> Result<Value, TextError> {
        const NAME: &str = "google.protobuf.Any";
        let (mut url, mut content) = (String::new(), &[][..]);
        for field in (Fields { message: NAME, rest: bytes }) {
            match field? {
                (1, Raw::Bytes(text)) => url = String::from_utf8_lossy(text).into_owned(),
                (2, Raw::Bytes(bytes)) => content = bytes,
                (number, _) => self.unknown.push(format!("{NAME} field {number}")),
            }
        }
        self.typed(&url, content)
    }

    /// What is in one of protobuf's wrappers of a number or flag, which are there to tell 0 from nothing.
    fn wrapped(&mut self, name: &str, bytes: &[u8]) -> Result<u64, TextError> {
        let mut value = 0;
        for field in (Fields { message: name, rest: bytes }) {
            match field? {
                (1, Raw::Varint(found)) => value = found,
                (number, _) => self.unknown.push(format!("{name} field {number}")),
            }
        }
        Ok(value)
    }

    /// The content of an `Any`.
    fn typed(&mut self, url: &str, content: &[u8]) -> Result<Value, TextError> {
        let mut object = Map::new();
        object.insert("@type".to_owned(), url.into());
        match table::by_url(url) {
            Some(schema) => object.extend(self.message(schema, content)?),
            None => {
                self.unknown.push(format!("Any of {url}"));
                object.insert("value".to_owned(), size(content).into());
            }
        }
        Ok(object.into())
    }

    fn duration(&mut self, bytes: &[u8]) -> Result<Value, TextError> {
        let (mut seconds, mut nanos) = (0, 0);
        for field in (Fields { message: "google.protobuf.Duration", rest: bytes }) {
            match field? {
                (1, Raw::Varint(value)) => seconds = value.cast_signed(),
                (2, Raw::Varint(value)) => nanos = value.cast_signed(),
                (number, _) => self.unknown.push(format!("google.protobuf.Duration field {number}")),
            }
        }
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        let (whole, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
        // As few groups of three digits as it takes.
        Ok(match nanos {
            0 => format!("{sign}{whole}s"),
            _ if nanos % 1_000_000 == 0 => format!("{sign}{whole}.{:03}s", nanos / 1_000_000),
            _ if nanos % 1_000 == 0 => format!("{sign}{whole}.{:06}s", nanos / 1_000),
            _ => format!("{sign}{whole}.{nanos:09}s"),
        }
        .into())
    }

    /// A field that the table does not know, or knows otherwise. Its content may be a secret.
    fn unnamed(&mut self, message: &str, number: u32, raw: Raw<'_>, object: &mut Map<String, Value>) {
        self.unknown.push(format!("{message} field {number}"));
        let shown = match raw {
            Raw::Varint(value) | Raw::Fixed64(value) => value.into(),
            Raw::Fixed32(value) => value.into(),
            Raw::Bytes(bytes) => size(bytes).into(),
        };
        object.insert(format!("field {number}"), shown);
    }
}

fn size(content: &[u8]) -> String {
    format!("<{} bytes>", content.len())
}
