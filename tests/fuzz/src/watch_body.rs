//! Bodies of lists and watches, cut into pieces as they arrive.
//!
//! Oracle: the pieces are the same however the body is chunked; those of a list are the members of its `items` as
//! serde_json reads them, and with them put back what is around them is the list; those of a watch are its lines; one that
//! is too large is named by its head and its size. A line says the same in the usual spelling, which is read in one
//! pass, and in any other, which is not; what it says is what serde_json finds in it.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidegate::source::kubernetes::fuzzing::{Frame, Identity, Items, Lines, Piece, read, versions};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::Decoder;

use crate::input::Input;

/// A piece as it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cut {
    Whole(Vec<u8>),
    TooLarge(Vec<u8>, usize),
}

impl From<Piece<'_>> for Cut {
    fn from(piece: Piece<'_>) -> Self {
        match piece {
            Piece::Whole(bytes) => Self::Whole(bytes.to_vec()),
            Piece::TooLarge { head, size } => Self::TooLarge(head.to_vec(), size),
        }
    }
}

/// Two bytes choose the limit and the chunks; the rest is a body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = input.one_of(&[usize::MAX, 4096, 64, 16, 1]);
    let chunk = usize::from(input.byte()) + 1;
    let body = input.rest();
    list(body, limit, chunk);
    watch(body, limit, chunk);
    for line in body.split(|byte| *byte == b'\n').take(16) {
        frame(line);
    }
}

/// The items, and what is around them; `None` if the body is no list.
fn items(body: &[u8], limit: usize, chunk: usize) -> (Vec<Cut>, Option<Vec<u8>>) {
    let (mut cut, mut found) = (Items::new(limit), Vec::new());
    for part in body.chunks(chunk) {
        if cut.feed(part, |piece| found.push(piece.into())).is_err() {
            return (found, None);
        }
    }
    (found, cut.finish().ok())
}

fn list(body: &[u8], limit: usize, chunk: usize) {
    let whole = items(body, limit, usize::MAX);
    assert_eq!(items(body, limit, chunk), whole, "in chunks of {chunk}");
    check_sizes(&whole.0, limit);
    // A body of which serde_json reads another member as `items` than we do, or several, is no API server's.
    let text = std::str::from_utf8(body).unwrap_or_default();
    if text.matches("items").count() > 1 || text.contains('\\') {
        return;
    }
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        items: Option<Vec<&'a RawValue>>,
    }
    let value: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    let parsed = serde_json::from_str::<List<'_>>(text).ok().filter(|_| value.is_some());
    let Some((List { items: Some(listed) }, value)) = parsed.zip(value) else { return };
    let objects = listed.iter().all(|item| item.get().starts_with('{'));
    let (found, envelope) = items(body, usize::MAX, chunk);
    assert_eq!(envelope.is_some(), objects, "a list of objects, and no other, is read");
    let Some(envelope) = envelope else { return };
    let first = listed.first().map(|item| Identity::of_object(item.get().as_bytes()));
    let listed: Vec<Cut> = listed.iter().map(|item| Cut::Whole(item.get().as_bytes().to_vec())).collect();
    assert_eq!(found, listed);
    let around: Map<String, Value> = serde_json::from_slice(&envelope).expect("what is around the items is JSON");
    let mut expected = value;
    expected.insert("items".to_owned(), Value::Array(Vec::new()));
    assert_eq!(around, expected);
    let version = expected.get("metadata").and_then(|metadata| metadata.get("resourceVersion"));
    if let Some((found, of_first)) = versions(body) {
        assert_eq!(version.and_then(Value::as_str), Some(&*found));
        assert_eq!(of_first, first.and_then(|first| first.version));
    }
}

fn watch(body: &[u8], limit: usize, chunk: usize) {
    let lines = |chunk: usize| {
        let (mut cut, mut found) = (Lines::new(limit), Vec::new());
        for part in body.chunks(chunk) {
            cut.feed(part, |piece| found.push(Cut::from(piece)));
        }
        cut.finish(|piece| found.push(piece.into()));
        found
    };
    let found = lines(chunk);
    check_sizes(&found, limit);
    let filled = |cut: &Cut| !matches!(cut, Cut::Whole(line) if line.trim_ascii().is_empty());
    let filled = |found: Vec<Cut>| found.into_iter().filter(filled).collect::<Vec<_>>();
    let found = filled(found);
    assert_eq!(found, filled(lines(usize::MAX)), "in chunks of {chunk}");
    let mut expected: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    let last = expected.pop().unwrap_or_default();
    let mut expected: Vec<&[u8]> =
        expected.into_iter().filter(|line| line.len() > limit || !line.trim_ascii().is_empty()).collect();
    let head = &last[..last.len().min(if last.len() <= limit { usize::MAX } else { limit.min(64 << 10) })];
    if !head.trim_ascii().is_empty() {
        expected.push(last);
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (cut, line) in found.iter().zip(expected) {
        match cut {
            Cut::Whole(bytes) => assert_eq!(bytes, line),
            Cut::TooLarge(head, size) => assert!(line.starts_with(head) && *size == line.len()),
        }
    }
}

fn check_sizes(found: &[Cut], limit: usize) {
    for cut in found {
        match cut {
            Cut::Whole(bytes) => assert!(bytes.len() <= limit),
            Cut::TooLarge(head, size) => assert!(*size > limit && head.len() <= limit),
        }
    }
}

fn frame(line: &[u8]) {
    let things = ResourceType::new("", "v1", "Thing", "things", Scope::Namespaced);
    let decoder = Decoder::new("c".into(), things);
    let said = read(line, &decoder);
    // With a space in front it is not the usual spelling.
    let spaced: Vec<u8> = [b" ", line].concat();
    assert_eq!(spell(&said), spell(&read(&spaced, &decoder)));
    let value = serde_json::from_slice::<Value>(line).ok();
    let kind = value.as_ref().and_then(|value| value["type"].as_str());
    let object = value.as_ref().map(|value| &value["object"]);
    match &said {
        Frame::Applied(decoded) | Frame::Deleted(decoded) => {
            let Some(object) = object else { return };
            let expected: &[&str] =
                if matches!(said, Frame::Deleted(_)) { &["DELETED"] } else { &["ADDED", "MODIFIED"] };
            assert!(kind.is_some_and(|kind| expected.contains(&kind)), "{kind:?}");
            assert_eq!(serde_json::from_slice::<Value>(decoded.raw()).ok().as_ref(), Some(object));
        }
        Frame::Bookmark { version, .. } => {
            let Some(object) = object else { return };
            assert_eq!(kind, Some("BOOKMARK"));
            assert_eq!(version.as_deref(), object["metadata"]["resourceVersion"].as_str());
        }
        Frame::Garbage(reason) => assert!(!reason.is_empty()),
        Frame::Unreadable { .. } | Frame::Failure(_) => {}
    }
}

fn spell(frame: &Frame) -> String {
    match frame {
        Frame::Applied(object) => format!("applied {object:?} {:?}", object.raw()),
        Frame::Deleted(object) => format!("deleted {object:?} {:?}", object.raw()),
        // Offsets in the reason are those within the object, so that they too are the same.
        other => format!("{other:?}"),
    }
}
