//! From the bytes of a file to what a slot held, or to the reason why not. Pure: no disk, and nothing is changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Unusable;
use super::frame::{self, FRAME, Frame, PRELUDE, Prelude, Role, VERSION};
use super::record::{Header, Position, Record, records, size};
use super::seal::Sealer;
use crate::id::Name;
use crate::object::{Decoder, Object};

/// The oldest version that is read.
const OLDEST: u32 = 1;

/// What a file says, up to its last whole batch.
pub(super) struct Content {
    pub header: Header,
    /// In the order of their keys.
    pub objects: Vec<Arc<Object>>,
    pub position: Position,
    pub tail: Tail,
}

/// From where a file can be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub salt: u64,
    /// The number of the next batch.
    pub batch: u64,
    /// How long it is.
    pub length: u64,
    /// How much of that its objects would take in a fresh file, about.
    pub live: u64,
    /// Nothing may be added: its end is torn, or it is of an old version.
    pub closed: bool,
}

/// What a frame's encryption is bound to.
pub(super) fn context(salt: u64, frame: &Frame<'_>) -> [u8; 25] {
    let mut context = [0; 25];
    context[..8].copy_from_slice(&salt.to_le_bytes());
    context[8..16].copy_from_slice(&(frame.at as u64).to_le_bytes());
    context[16..24].copy_from_slice(&frame.batch.to_le_bytes());
    context[24] = u8::from(frame.role == Role::Commit);
    context
}

/// Reads a file.
pub(super) fn read(file: &[u8], sealer: Option<&dyn Sealer>) -> Result<Content, Unusable> {
    let prelude =
        Prelude::read(file).ok_or(Unusable::Corrupt { at: 0, what: "it does not begin as a snapshot does" })?;
    if !(OLDEST..=VERSION).contains(&prelude.version) {
        return Err(Unusable::Version { found: prelude.version, oldest: OLDEST, newest: VERSION });
    }
    let salt = prelude.salt;
    let first = frame::frame_at(file, salt, PRELUDE).filter(|frame| frame.role == Role::Header);
    let header = first.and_then(|frame| Header::read(frame.payload));
    let (Some(first), Some(header)) = (first, header) else {
        return Err(Unusable::Corrupt { at: PRELUDE, what: "it does not say whose it is" });
    };
    let sealer = match &header.key {
        None => None,
        Some(key) => Some(sealer.filter(|sealer| sealer.key_id() == key).ok_or(Unusable::Key)?),
    };
    let frames = whole_batches(file, salt, first.end())?;
    let mut opened = Vec::with_capacity(frames.len());
    for frame in &frames {
        opened.push(match sealer {
            None => Cow::Borrowed(frame.payload),
            Some(sealer) => {
                let open = sealer.open(&context(salt, frame), frame.payload);
                let what = "it cannot be decrypted, though the key is the right one";
                Cow::Owned(open.ok_or(Unusable::Corrupt { at: frame.at, what })?)
            }
        });
    }
    let (mut held, mut position, mut live) = (BTreeMap::new(), Position::default(), 0);
    for (frame, payload) in frames.iter().zip(&opened) {
        for record in records(payload) {
            match record.ok_or(Unusable::Corrupt { at: frame.at, what: "it says what nobody understands" })? {
                Record::Put { namespace, name, raw } => drop(held.insert((namespace, name), raw)),
                Record::Delete { namespace, name } => drop(held.remove(&(namespace, name))),
                Record::Position(said) => position = said,
            }
        }
    }
    let decoder = Decoder::new(header.source.clone(), header.resource_type.clone());
    let mut objects = Vec::with_capacity(held.len());
    for ((namespace, name), raw) in held {
        let object = decoder.decode_in(raw, namespace.map(Name::from).as_ref());
        let is_it = |object: &Object| &*object.key().name == name && object.key().namespace.as_deref() == namespace;
        let object = object.ok().filter(is_it);
        let object = object.ok_or(Unusable::Corrupt { at: first.end(), what: "an object in it cannot be read" })?;
        live += size(object.key(), raw);
        objects.push(Arc::new(object));
    }
    let end = frames.last().map_or(first.end(), Frame::end);
    let tail = Tail {
        salt,
        batch: frames.last().map_or(0, |frame| frame.batch + 1),
        length: end as u64,
        live,
        closed: end < file.len() || prelude.version != VERSION,
    };
    Ok(Content { header, objects, position, tail })
}

/// The frames of all whole batches.
fn whole_batches(file: &[u8], salt: u64, mut at: usize) -> Result<Vec<Frame<'_>>, Unusable> {
    let (mut frames, mut whole, mut batch) = (Vec::new(), 0, 0);
    while let Some(frame) = frame::frame_at(file, salt, at) {
        if frame.batch != batch || frame.role == Role::Header {
            return Err(Unusable::Corrupt { at, what: "a batch is missing" });
        }
        frames.push(frame);
        at = frame.end();
        if frame.role == Role::Commit {
            (whole, batch) = (frames.len(), batch + 1);
        }
    }
    // Each batch is synced before the next is begun: what comes after a later one was whole when that one came.
    let harmed = std::iter::successors(frame::frame_after(file, salt, at), |frame| {
        frame::frame_after(file, salt, frame.at + FRAME - 1)
    });
    if harmed.map(|frame| frame.batch).any(|later| later > batch) {
        return Err(Unusable::Corrupt { at, what: "a part of it is not as it was written" });
    }
    if whole == 0 {
        // The first one was synced before the file had its name.
        return Err(Unusable::Corrupt { at, what: "its first batch is not as it was written" });
    }
    frames.truncate(whole);
    Ok(frames)
}
