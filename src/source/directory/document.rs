//! One document's text to the objects in it, or to what is wrong with it, by line. Pure, and run in parallel.
//!
//! Invariant: lines are relative to the document, so that one that moved in its file is still the same one.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType, Scope};
use tidegate_actors::object::{DecodeError, Object};

use super::keys;
use super::kit::{Kit, Known};
use super::position::Positions;
use super::split::{self, Inherited, Piece, Text};
use super::yaml;
use crate::limit::Limit;
use crate::source::schema::FieldError;

/// What one piece of a file turned out to be.
pub(super) struct Document {
    /// Hash of its text.
    pub hash: u128,
    /// One, or many if it is a list.
    pub parts: Vec<Part>,
}

/// One object, or what should have been one.
#[derive(Clone)]
pub(super) struct Part {
    /// Its first line, counted from the document's, from 0.
    pub line: usize,
    /// What it is.
    pub body: Body,
}

/// See [`Part`].
#[derive(Clone)]
pub(super) enum Body {
    /// Fit to be served.
    Good(Arc<Object>),
    /// Not fit. Without an object, nobody can say which one it was meant to be.
    Broken { object: Option<ObjectRef>, faults: Vec<Fault> },
    /// Of a kind that nobody has asked for yet. `hint` says which known one it may have been meant to be.
    Foreign { group: String, kind: String, raw: Bytes, hint: Option<String> },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from the document's first line, from 0.
    pub line: usize,
    /// The field, or empty.
    pub field: String,
    /// What is wrong and what to do about it.
    pub reason: String,
}

impl Body {
    /// Whether an object may be hidden in here, and if so nobody knows which.
    pub fn is_unidentified(&self) -> bool {
        matches!(self, Body::Broken { object: None, .. } | Body::Foreign { hint: Some(_), .. })
    }
}

/// The hash that tells one text from another.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// The hash of all that decides what a piece is parsed to.
pub(super) fn hash_of(piece: &Piece<'_>) -> u128 {
    let inherited = piece.inherited.map_or(0, |from| hash(from.kind.as_bytes()) ^ hash(from.api_version.as_bytes()));
    hash(piece.text.bytes()) ^ inherited
}

/// Parses one piece of a file. A panic in here, say in a kind's own check, is that piece's fault alone.
pub(super) fn parse(piece: &Piece<'_>, kit: &Kit) -> Arc<Document> {
    let parsed = catch_unwind(AssertUnwindSafe(|| parts(piece, kit)));
    let parts = parsed.unwrap_or_else(|_| {
        let reason = "checking it ran into a bug; please report it together with this document".to_owned();
        vec![broken(None, 0, "", reason)]
    });
    Arc::new(Document { hash: hash_of(piece), parts })
}

/// What stands for a file that is not parsed at all.
pub(super) fn refused(reason: String) -> Arc<Document> {
    Arc::new(Document { hash: hash(reason.as_bytes()), parts: vec![broken(None, 0, "", reason)] })
}

/// A document of a kind that was foreign when it was parsed, and is known now.
pub(super) fn adopt(part: &Part, kit: &Kit) -> Option<Part> {
    let Body::Foreign { group, kind, raw, .. } = &part.body else { return None };
    let known = kit.known(group, kind)?;
    let raw = str::from_utf8(raw).ok()?;
    // The text is gone; the object's first line is as near as it gets.
    Some(Part { line: part.line, body: object(raw, &known, kit, &|_| part.line).body })
}

fn broken(object: Option<ObjectRef>, line: usize, field: &str, reason: String) -> Part {
    Part { line, body: Body::Broken { object, faults: vec![Fault { line, field: field.to_owned(), reason }] } }
}

fn parts(piece: &Piece<'_>, kit: &Kit) -> Vec<Part> {
    match piece.text {
        Text::BadJson { line, column, .. } => {
            vec![broken(None, line.saturating_sub(1), "", format!("not valid JSON (column {column})"))]
        }
        Text::Json(text) => match keys::repeated(text) {
            Some((line, reason)) => vec![broken(None, line, "", reason)],
            None => vec![part(&compact(text), piece.inherited, kit, &lines_of(text, 0))],
        },
        Text::Yaml(bytes) => {
            let text = match str::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                    return vec![broken(None, line, "", "not UTF-8 text; save the file as UTF-8".to_owned())];
                }
            };
            // Without aliases JSON is never much longer than the YAML, so this leaves room for honest lists.
            match yaml::to_json(text, kit.max_object.saturating_add(text.len().saturating_mul(8))) {
                Err(error) => vec![broken(None, error.line.saturating_sub(1), "", error.reason)],
                Ok(None) => Vec::new(),
                Ok(Some(json)) => from_yaml(&String::from_utf8_lossy(&json), text, kit),
            }
        }
    }
}

fn from_yaml(json: &str, text: &str, kit: &Kit) -> Vec<Part> {
    let Some((items, inherited)) = split::list_items(json) else {
        return vec![part(json, None, kit, &lines_of(text, split::content_line(text)))];
    };
    let items = items.into_iter().enumerate();
    let positions = Positions::of(text);
    let one = |(at, item): (usize, &RawValue)| {
        let lines = |path: &str| {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            positions.line(&format!("items[{at}]{dot}{path}")) - 1
        };
        part(item.get(), inherited, kit, &lines)
    };
    items.map(one).collect()
}

/// The lines of a document's fields. Its first one is told without parsing it once more.
fn lines_of(text: &str, first: usize) -> impl Fn(&str) -> usize {
    let positions = OnceCell::new();
    move |path| match path {
        "" => first,
        _ => positions.get_or_init(|| Positions::of(text)).line(path) - 1,
    }
}

/// Whitespace between JSON's tokens is not worth keeping for as long as the object lives.
fn compact(text: &str) -> Cow<'_, str> {
    let (mut in_string, mut escaped, mut kept) = (false, false, Vec::with_capacity(text.len()));
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        kept.push(byte);
    }
    String::from_utf8(kept).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "apiVersion")]
    api_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
}

/// The string in a field of the head, or what to say about it.
fn text_of<'a>(value: Option<&'a RawValue>, inherited: Option<&'a str>) -> Result<Cow<'a, str>, &'static str> {
    let Some(value) = value else { return inherited.map(Cow::Borrowed).ok_or("is missing") };
    let text = serde_json::from_str::<String>(value.get()).map_err(|_| "must be a string")?;
    if text.is_empty() { Err("must not be empty") } else { Ok(Cow::Owned(text)) }
}

fn part(raw: &str, inherited: Option<Inherited<'_>>, kit: &Kit, lines: &dyn Fn(&str) -> usize) -> Part {
    let fault = |field: &str, reason: String| broken(None, lines(field), field, reason);
    if !raw.starts_with('{') {
        return fault("", "not a manifest: a mapping with apiVersion, kind and metadata is expected".to_owned());
    }
    let head: Head<'_> = match serde_json::from_str(raw) {
        Ok(head) => head,
        Err(error) => return fault("", format!("not a manifest: {error}")),
    };
    let api_version = match text_of(head.api_version, inherited.map(|from| from.api_version)) {
        Ok(text) => text,
        Err(reason) => return fault("apiVersion", format!("{reason}; every manifest says its API version")),
    };
    let kind = match text_of(head.kind, inherited.map(|from| from.kind)) {
        Ok(text) => text,
        Err(reason) => return fault("kind", format!("{reason}; every manifest says its kind")),
    };
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    match kit.known(group, &kind) {
        Some(known) => object(raw, &known, kit, lines),
        None => {
            let hint = kit.suggest(group, &kind).map(|(known_version, known_kind)| {
                format!("{api_version} {kind} is not known; did you mean {known_version} {known_kind}?")
            });
            let raw = Bytes::copy_from_slice(raw.as_bytes());
            let body = Body::Foreign { group: group.to_owned(), kind: kind.into_owned(), raw, hint };
            Part { line: lines(""), body }
        }
    }
}

fn object(raw: &str, known: &Known, kit: &Kit, lines: &dyn Fn(&str) -> usize) -> Part {
    let entry = &known.entry;
    if raw.len() > kit.max_object {
        Limit::ObjectSize.exceeded(1);
        let reason = format!(
            "the object has {} bytes, more than the limit of {}; make it smaller, or raise limits.object_size",
            raw.len(),
            kit.max_object
        );
        return broken(identity(raw, &entry.resource_type, kit), lines(""), "", reason);
    }
    let object = match known.decoder.decode(raw.as_bytes()) {
        Ok(object) => object,
        Err(error) => return undecodable(&error, identity(raw, &entry.resource_type, kit), lines),
    };
    let errors = entry.schema.as_ref().map(|schema| schema.check(raw.as_bytes())).unwrap_or_default();
    if errors.is_empty() {
        return Part { line: lines(""), body: Body::Good(Arc::new(object)) };
    }
    let fault = |error: FieldError| Fault { line: lines(&error.path), field: error.path, reason: error.reason };
    let faults = errors.into_iter().map(fault).collect();
    Part { line: lines(""), body: Body::Broken { object: Some(object.object_ref()), faults } }
}

fn undecodable(error: &DecodeError, object: Option<ObjectRef>, lines: &dyn Fn(&str) -> usize) -> Part {
    broken(object, lines(error.path()), error.path(), error.cause().to_string())
}

/// Which object a manifest is about, if it says at least that.
fn identity(raw: &str, resource_type: &ResourceType, kit: &Kit) -> Option<ObjectRef> {
    let head: Head<'_> = serde_json::from_str(raw).ok()?;
    let meta: Meta = serde_json::from_str(head.metadata?.get()).ok()?;
    let name = meta.name.filter(|name| !name.is_empty())?;
    let namespace = meta.namespace.filter(|namespace| !namespace.is_empty());
    let key = ObjectKey {
        source: kit.source.clone(),
        namespace: match resource_type.scope() {
            Scope::Cluster => None,
            Scope::Namespaced => Some(namespace.as_deref().unwrap_or("default").into()),
        },
        name: name.into(),
    };
    Some(ObjectRef { resource_type: resource_type.clone(), key })
}

#[cfg(test)]
mod tests;
