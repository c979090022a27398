//! One line of a watch's body, read. The object inside is decoded from the line's own bytes in one pass.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_actors::id::Name;
use tidegate_actors::object::{Decoder, Object};

use super::failure::{Failure, Status};
use super::identity::Identity;

/// The annotation of the bookmark that ends a streaming list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a line says.
#[derive(Debug)]
pub(super) enum Frame {
    /// An object was added or changed.
    Applied(Object),
    /// An object was deleted; this was its last state.
    Deleted(Object),
    /// An object that cannot be decoded, and why.
    Unreadable { identity: Identity, deleted: bool, added: bool, reason: String },
    /// Everything up to a version has been told; `initial_end` says that a streaming list ends here.
    Bookmark { version: Option<Name>, initial_end: bool },
    /// The server says what went wrong: an ERROR event, or a bare `Status`.
    Failure(Failure),
    /// No frame at all: cut off, or something else's output.
    Garbage(&'static str),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Marked {
    metadata: Marks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    resource_version: Option<Name>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads one line.
pub(super) fn read(line: &[u8], decoder: &Decoder) -> Frame {
    // As API servers write it: no second pass is needed to find the object.
    if let Some((kind, object)) = split(line)
        && let Ok(object) = decoder.decode(object)
    {
        return match kind {
            Change::Applied => Frame::Applied(object),
            Change::Deleted => Frame::Deleted(object),
        };
    }
    read_slowly(line, decoder)
}

#[derive(Clone, Copy)]
enum Change {
    Applied,
    Deleted,
}

/// The object in a frame that looks as frames usually do.
fn split(line: &[u8]) -> Option<(Change, &[u8])> {
    let line = line.trim_ascii_end().strip_suffix(b"}")?;
    let rest = line.strip_prefix(br#"{"type":""#)?;
    let (change, rest) = [
        (Change::Applied, &b"ADDED"[..]),
        (Change::Applied, b"MODIFIED"),
        (Change::Deleted, b"DELETED"),
    ]
    .into_iter()
    .find_map(|(change, word)| Some((change, rest.strip_prefix(word)?)))?;
    Some((change, rest.strip_prefix(br#"","object":"#)?))
}

fn read_slowly(line: &[u8], decoder: &Decoder) -> Frame {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(line) else {
        return unreadable_text(line);
    };
    let object = envelope.object.map_or("null", RawValue::get);
    match envelope.r#type.as_deref() {
        Some("ERROR") => {
            let status = serde_json::from_str::<Status>(object).unwrap_or_default();
            Frame::Failure(status.into())
        }
        Some("BOOKMARK") => {
            let Ok(Marked { metadata }) = serde_json::from_str(object) else {
                return Frame::Garbage("a bookmark without metadata");
            };
            let annotations = metadata.annotations.unwrap_or_default();
            let initial_end = annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
            Frame::Bookmark { version: metadata.resource_version, initial_end }
        }
        Some(change @ ("ADDED" | "MODIFIED" | "DELETED")) => match decoder.decode(object) {
            Ok(object) if change == "DELETED" => Frame::Deleted(object),
            Ok(object) => Frame::Applied(object),
            Err(error) => Frame::Unreadable {
                identity: Identity::of_object(object.as_bytes()),
                deleted: change == "DELETED",
                added: change == "ADDED",
                reason: error.to_string(),
            },
        },
        Some(_) => Frame::Garbage("an event of an unknown type"),
        None if envelope.kind.as_deref() == Some("Status") => {
            serde_json::from_slice::<Status>(line).map_or(Frame::Garbage("a malformed Status"), |status| {
                Frame::Failure(status.into())
            })
        }
        None => Frame::Garbage("a line that is no watch event"),
    }
}

/// A line that is no JSON as a whole. With bytes that are no text in it, a single object is broken and not the stream:
/// it is complete when it would be JSON without them.
fn unreadable_text(line: &[u8]) -> Frame {
    if std::str::from_utf8(line).is_err()
        && let Ok(Envelope { r#type: Some(change), object: Some(object), .. }) =
            serde_json::from_str::<Envelope<'_>>(&String::from_utf8_lossy(line))
    {
        return Frame::Unreadable {
            identity: Identity::of_object(object.get().as_bytes()),
            deleted: change == "DELETED",
            added: change == "ADDED",
            reason: "invalid UTF-8".to_owned(),
        };
    }
    Frame::Garbage("a truncated or malformed watch event")
}
