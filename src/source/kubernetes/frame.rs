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
pub enum Frame {
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
pub fn read(line: &[u8], decoder: &Decoder) -> Frame {
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
    let (change, rest) =
        [(Change::Applied, &b"ADDED"[..]), (Change::Applied, b"MODIFIED"), (Change::Deleted, b"DELETED")]
            .into_iter()
            .find_map(|(change, word)| Some((change, rest.strip_prefix(word)?)))?;
    // White space around it belongs to the frame, and is not kept with the object.
    Some((change, rest.strip_prefix(br#"","object":"#)?.trim_ascii()))
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
        None if envelope.kind.as_deref() == Some("Status") => serde_json::from_slice::<Status>(line)
            .map_or(Frame::Garbage("a malformed Status"), |status| Frame::Failure(status.into())),
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

#[cfg(test)]
mod tests {
    use tidegate_actors::id::{ResourceType, Scope};

    use super::*;

    fn spell(line: &[u8]) -> String {
        let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
        match read(line, &Decoder::new("c".into(), things)) {
            Frame::Applied(object) => format!("+{}", object.key().name),
            Frame::Deleted(object) => format!("-{}", object.key().name),
            Frame::Unreadable { identity, deleted, added, .. } => {
                format!("? {} {deleted} {added}", identity.name.as_deref().unwrap_or("-"))
            }
            Frame::Bookmark { version, initial_end } => format!("@{} {initial_end}", version.as_deref().unwrap_or("-")),
            Frame::Failure(failure) => format!("! {failure}"),
            Frame::Garbage(_) => "garbage".to_owned(),
        }
    }

    #[test]
    fn the_usual_shape_and_any_other_spelling_of_it_say_the_same() {
        let object = r#"{"metadata":{"name":"a"}}"#;
        for (kind, said) in [("ADDED", "+a"), ("MODIFIED", "+a"), ("DELETED", "-a")] {
            assert_eq!(spell(format!(r#"{{"type":"{kind}","object":{object}}}"#).as_bytes()), said);
            assert_eq!(spell(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\r").as_bytes()), said);
            assert_eq!(spell(format!(r#" {{ "object" : {object} , "type" : "{kind}" }}"#).as_bytes()), said);
            assert_eq!(spell(format!(r#"{{"type":"{kind}","object":{object},"more":1}}"#).as_bytes()), said);
        }
    }

    #[test]
    fn white_space_around_an_object_is_not_kept_with_it() {
        let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
        let object = r#"{"metadata":{"name":"a"}}"#;
        for line in [
            format!("{{\"type\":\"ADDED\",\"object\": {object}  }}"),
            format!(" {{\"type\":\"ADDED\",\"object\": {object} }}"),
        ] {
            match read(line.as_bytes(), &Decoder::new("c".into(), things.clone())) {
                Frame::Applied(read) => assert_eq!(read.raw(), object.as_bytes(), "{line}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_broken_object_is_told_from_a_broken_line() {
        let broken = r#"{"metadata":{"name":"a","labels":[]}}"#;
        assert_eq!(spell(format!(r#"{{"type":"ADDED","object":{broken}}}"#).as_bytes()), "? a false true");
        assert_eq!(spell(format!(r#"{{"type":"MODIFIED","object":{broken}}}"#).as_bytes()), "? a false false");
        assert_eq!(spell(format!(r#"{{"type":"DELETED","object":{broken}}}"#).as_bytes()), "? a true false");
        assert_eq!(spell(br#"{"type":"ADDED"}"#), "? - false true");
        let line = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        for end in 1..line.len() {
            assert_eq!(spell(&line.as_bytes()[..end]), "garbage", "{}", &line[..end]);
        }
        for line in ["[]", "null", "{}", r#"{"type":"NEWS","object":{}}"#, "<html>", "}", "\u{1}"] {
            assert_eq!(spell(line.as_bytes()), "garbage", "{line}");
        }
    }

    #[test]
    fn bookmarks_and_failures_are_read() {
        let bookmark = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}"#;
        assert_eq!(spell(bookmark.as_bytes()), "@5 false");
        let annotations = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
        let end = format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"5",{annotations}}}}}}}"#);
        assert_eq!(spell(end.as_bytes()), "@5 true");
        let status = r#"{"kind":"Status","message":"gone","reason":"Expired","code":410}"#;
        assert_eq!(spell(status.as_bytes()), "! gone (410 Expired)");
        assert_eq!(spell(format!(r#"{{"type":"ERROR","object":{status}}}"#).as_bytes()), "! gone (410 Expired)");
    }
}
