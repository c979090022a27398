//! One subscriber's view of one type: a list, then what changes, pulled from the type's feed.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::source::{Cursor, SourceError, SourceEvent, SourceStream};
use tidegate_actors::watch;

use super::shared::Shared;

struct Subscriber {
    shared: Arc<Shared>,
    resource_type: ResourceType,
    /// For a type that is known in another version: its objects are told as what was asked for.
    translate: Option<Decoder>,
    from: Option<Cursor>,
    at: Option<(u64, watch::Receiver<u64>)>,
    buffer: VecDeque<SourceEvent>,
    ended: bool,
}

pub(super) fn open(shared: Arc<Shared>, resource_type: ResourceType, from: Option<Cursor>) -> SourceStream {
    let subscriber =
        Subscriber { shared, resource_type, translate: None, from, at: None, buffer: VecDeque::new(), ended: false };
    Box::pin(stream::unfold(subscriber, |mut subscriber| async move {
        let next = subscriber.next().await?;
        Some((next, subscriber))
    }))
}

impl Subscriber {
    async fn next(&mut self) -> Option<Result<SourceEvent, SourceError>> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                match self.translated(event) {
                    Some(event) => return Some(Ok(event)),
                    None => continue,
                }
            }
            if self.ended {
                return None;
            }
            match &mut self.at {
                None => self.start().await,
                Some((_, changed)) => {
                    // The feed lives as long as the source, which this holds.
                    if changed.changed().await.is_err() {
                        return None;
                    }
                    if let Err(error) = self.pull() {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Resumes where the cursor says, or lists.
    async fn start(&mut self) {
        // A directory that was not read yet is not an empty one.
        let _ = self.shared.ready().wait_for(|ready| *ready).await;
        let from = self.from.take().and_then(|cursor| self.position(&cursor));
        let (position, changed, events) = self.shared.feed(&self.resource_type, |feed, kept| {
            let resumed = from.and_then(|from| feed.since(from));
            let events = resumed.map(Ok).unwrap_or_else(|| Err((feed.list(), kept)));
            (feed.position(), feed.subscribe(), events)
        });
        let known = self.shared.kit.known(self.resource_type.group(), self.resource_type.kind());
        if known.is_some_and(|known| known.entry.resource_type != self.resource_type) {
            let decoder = Decoder::new(self.shared.options.name.clone(), self.resource_type.clone());
            self.translate = Some(decoder.with_default_namespace("default".into()));
        }
        let cursor = self.cursor(position);
        match events {
            Ok(events) => {
                self.buffer.extend(events);
                self.buffer.push_back(SourceEvent::Bookmark(cursor));
            }
            Err((objects, kept)) => {
                self.buffer.push_back(SourceEvent::Init);
                self.buffer.extend(objects.into_iter().map(SourceEvent::InitApply));
                self.buffer.extend(kept.into_iter().map(SourceEvent::InitKeep));
                self.buffer.push_back(SourceEvent::InitDone(cursor));
            }
        }
        self.at = Some((position, changed));
    }

    fn pull(&mut self) -> Result<(), SourceError> {
        let Some((position, _)) = &mut self.at else { return Ok(()) };
        let (now, events) = self.shared.feed(&self.resource_type, |feed, _| (feed.position(), feed.since(*position)));
        let Some(events) = events else {
            return Err(SourceError::Relist { reason: "too many deletions since the last look".to_owned() });
        };
        *position = now;
        if !events.is_empty() {
            self.buffer.extend(events);
            self.buffer.push_back(SourceEvent::Bookmark(self.cursor(now)));
        }
        Ok(())
    }

    fn translated(&self, event: SourceEvent) -> Option<SourceEvent> {
        let Some(decoder) = &self.translate else { return Some(event) };
        // What decoded once decodes again: only the version in the type differs.
        let decode = |object: Arc<Object>| decoder.decode(object.raw()).ok().map(Arc::new);
        Some(match event {
            SourceEvent::InitApply(object) => SourceEvent::InitApply(decode(object)?),
            SourceEvent::Apply(object) => SourceEvent::Apply(decode(object)?),
            other => other,
        })
    }

    fn cursor(&self, position: u64) -> Cursor {
        Cursor(Name::from(format!("{}@{position}", self.shared.epoch)))
    }

    /// The position that a cursor of this run means.
    fn position(&self, cursor: &Cursor) -> Option<u64> {
        let (epoch, position) = cursor.0.rsplit_once('@')?;
        position.parse().ok().filter(|_| epoch == self.shared.epoch)
    }
}
