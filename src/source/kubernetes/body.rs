//! Chunks of a body into events: cut, decoded, and what cannot be read put in quarantine.

use std::sync::Arc;

use serde::Deserialize;
use tidegate_actors::id::Name;
use tidegate_actors::object::Object;

use super::cut::{Items, Lines, Malformed, Piece};
use super::failure::{Failure, Status};
use super::feed::Context;
use super::frame::{Frame, read};
use super::identity::Identity;
use super::machine::Event;
use super::quarantine::Named;
use crate::limit::Limit;

/// Within so much of an object stands who it is.
const MAX_HEAD: usize = 64 << 10;

/// The body of a page of a list.
pub(super) struct PageBody {
    items: Items,
    limit: usize,
    malformed: Option<Malformed>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: Option<PageMetadata>,
    #[serde(flatten)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: Option<Name>,
    r#continue: Option<String>,
}

impl PageBody {
    pub fn new(limit: usize) -> Self {
        Self { items: Items::new(limit), limit, malformed: None }
    }

    /// Takes in a chunk.
    pub fn feed(&mut self, chunk: &[u8], context: &Context<'_>, named: &mut Named) -> Vec<Event> {
        let (mut events, limit) = (Vec::new(), self.limit);
        let fed = self.items.feed(chunk, |piece| {
            events.push(match piece {
                Piece::Whole(item) => match context.memory.decoder.decode(item) {
                    Ok(object) => context.good(object),
                    Err(error) => {
                        context.unreadable(&Identity::of_object(item), &error.to_string(), true, false, named)
                    }
                },
                Piece::TooLarge { head, size } => {
                    context.unreadable(&Identity::of_object(head), &too_large(size, limit), true, false, named)
                }
            });
        });
        if let Err(malformed) = fed {
            events.push(broken_list(malformed));
            self.malformed = Some(malformed);
        }
        events
    }

    /// The body is over.
    pub fn finish(self) -> Event {
        match self.malformed.map_or_else(|| self.items.finish(), Err) {
            Err(malformed) => broken_list(malformed),
            Ok(envelope) => page_end(&envelope).unwrap_or_else(|| broken_list(Malformed("it is no list"))),
        }
    }
}

fn page_end(envelope: &[u8]) -> Option<Event> {
    let page: Page = serde_json::from_slice(envelope).ok()?;
    if page.kind.as_deref() == Some("Status") {
        return Some(Event::Failed(Failure::from(page.status)));
    }
    let PageMetadata { resource_version, r#continue } = page.metadata?;
    Some(Event::PageEnd { version: resource_version, next: r#continue })
}

/// The version that a list is at, and that of its first object.
pub fn versions(body: &[u8]) -> Option<(Name, Option<Name>)> {
    let (mut items, mut first) = (Items::new(MAX_HEAD), None);
    let fed = items.feed(body, |piece| {
        let (Piece::Whole(item) | Piece::TooLarge { head: item, .. }) = piece;
        first.get_or_insert_with(|| Identity::of_object(item).version);
    });
    fed.ok()?;
    match page_end(&items.finish().ok()?)? {
        Event::PageEnd { version, .. } => Some((version?, first.flatten())),
        _ => None,
    }
}

fn broken_list(Malformed(reason): Malformed) -> Event {
    Event::Broken(format!("a malformed list: {reason}"))
}

/// The body of a watch.
pub(super) struct WatchBody {
    lines: Lines,
    limit: usize,
}

impl WatchBody {
    pub fn new(limit: usize) -> Self {
        Self { lines: Lines::new(limit), limit }
    }

    /// Takes in a chunk. `listing`: it is still the list at the beginning.
    pub fn feed(&mut self, chunk: &[u8], context: &Context<'_>, named: &mut Named, listing: bool) -> Vec<Event> {
        let (mut events, limit) = (Vec::new(), self.limit);
        let mut list = listing;
        self.lines.feed(chunk, |piece| {
            let event = context.line(piece, limit, list, named);
            list &= !matches!(event, Event::Bookmark { initial_end: true, .. });
            events.push(event);
        });
        events
    }

    /// The body is over; what is left may be a `Status` without a line feed, or is cut off.
    pub fn finish(&mut self, context: &Context<'_>, named: &mut Named, listing: bool) -> Vec<Event> {
        let (mut events, limit) = (Vec::new(), self.limit);
        self.lines.finish(|piece| events.push(context.line(piece, limit, listing, named)));
        events.push(Event::BodyEnd);
        events
    }
}

impl Context<'_> {
    fn line(&self, piece: Piece<'_>, limit: usize, list: bool, named: &mut Named) -> Event {
        let line = match piece {
            Piece::Whole(line) => line,
            Piece::TooLarge { head, size } => {
                return self.unreadable(&Identity::of_frame(head), &too_large(size, limit), list, false, named);
            }
        };
        match read(line, &self.memory.decoder) {
            Frame::Applied(object) => self.good(object),
            Frame::Deleted(object) => {
                let (key, version) = (object.key().clone(), object.resource_version().map(Name::from));
                self.memory.quarantine.clear(&self.target.namespace, &key);
                Event::Deleted { key, version }
            }
            Frame::Unreadable { identity, deleted: true, .. } => {
                let key = identity.key(&self.shared.options.name, &self.target.resource_type);
                match key {
                    Some(key) => {
                        self.memory.quarantine.clear(&self.target.namespace, &key);
                        Event::Deleted { key, version: identity.version }
                    }
                    // Which object is gone is not known: only a list can tell.
                    None => Event::Failed(Failure {
                        code: 410,
                        message: "a deletion cannot be read, so a new list has to tell what is gone".to_owned(),
                        ..Failure::default()
                    }),
                }
            }
            Frame::Unreadable { identity, added, reason, .. } => {
                self.unreadable(&identity, &reason, list, added, named)
            }
            Frame::Bookmark { version, initial_end } => Event::Bookmark { version, initial_end },
            Frame::Failure(failure) => Event::Failed(failure),
            Frame::Garbage(reason) => Event::Broken(reason.to_owned()),
        }
    }

    fn good(&self, object: Object) -> Event {
        self.memory.quarantine.clear(&self.target.namespace, object.key());
        let version = object.resource_version().map(Name::from);
        Event::Object { object: Arc::new(object), version }
    }

    /// Reports an object. `list`: it stands in a list; `added`: it was not there before.
    fn unreadable(&self, identity: &Identity, reason: &str, list: bool, added: bool, named: &mut Named) -> Event {
        let quarantine = &self.memory.quarantine;
        let held = if list { self.memory.was_listed() } else { !added };
        quarantine.add(&self.target.namespace, identity, reason, held, named);
        let (key, version) =
            (identity.key(&self.shared.options.name, &self.target.resource_type), identity.version.clone());
        match (key, quarantine.fails_closed) {
            (Some(key), true) if !list => Event::Deleted { key, version },
            (_, true) => Event::Unreadable { key: None, version },
            (key, false) => Event::Unreadable { key, version },
        }
    }
}

fn too_large(size: usize, limit: usize) -> String {
    Limit::ObjectSize.exceeded(1);
    format!(
        "it has {size} bytes as JSON, and no object may have more than {limit}; make it smaller, or raise `max_object_size` of the source"
    )
}
