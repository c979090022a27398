//! A source in memory with the behaviour of a real registry: versions, a bounded history, lists that expire,
//! watches that break, types that come and go. What it holds is the truth that tests compare stores with.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::id::{Name, ObjectKey, ResourceType};
use crate::object::{Decoder, Object};
use crate::source::{Cursor, Source, SourceError, SourceEvent, SourceStream};

/// See the module. Clones share the content.
#[derive(Clone)]
pub struct MemorySource {
    name: Name,
    content: Arc<Mutex<Content>>,
    /// Tells of changes and cuts, so that open streams look again. It wakes them in the order in which they began
    /// to wait; a watch channel would do so in any order, and no run would replay.
    stirred: Arc<Notify>,
}

struct Content {
    types: BTreeMap<ResourceType, OfType>,
    revision: u64,
    /// Streams that were opened before the last cut end.
    cuts: u64,
    /// How many changes a watch can be behind before its cursor has expired.
    window: usize,
    /// What readers are served instead of the present, since somebody said so.
    past: Option<Past>,
    /// What [`MemorySource::serve_past`] would serve.
    marked: Past,
}

/// The state at some revision.
#[derive(Clone, Default)]
struct Past {
    revision: u64,
    objects: BTreeMap<ResourceType, BTreeMap<ObjectKey, Arc<Object>>>,
}

#[derive(Default)]
struct OfType {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    log: VecDeque<(u64, SourceEvent)>,
    /// The newest revision that is no longer in the log.
    expired: u64,
    forbidden: bool,
}

impl MemorySource {
    /// A source without any types; types that were never added are absent.
    pub fn new(name: &str) -> Self {
        let content = Content {
            types: BTreeMap::new(),
            revision: 0,
            cuts: 0,
            window: 1_000,
            past: None,
            marked: Past::default(),
        };
        Self { name: name.into(), content: Arc::new(Mutex::new(content)), stirred: Arc::default() }
    }

    /// A type exists from now on.
    pub fn add_type(&self, resource_type: &ResourceType) {
        self.change(|content| {
            content.added(resource_type);
        });
    }

    /// A type and its objects are gone.
    pub fn remove_type(&self, resource_type: &ResourceType) {
        self.change(|content| drop(content.types.remove(resource_type)));
    }

    /// Whether the reader may list and watch a type.
    pub fn set_forbidden(&self, resource_type: &ResourceType, forbidden: bool) {
        self.change(|content| content.added(resource_type).forbidden = forbidden);
    }

    /// How many changes a broken watch may miss before it needs a list.
    pub fn set_window(&self, window: usize) {
        self.change(|content| content.window = window);
    }

    /// Adds or changes an object; `body` holds the JSON members after `metadata`, such as `"spec":{}`.
    ///
    /// # Panics
    /// When the JSON that comes of it is none.
    pub fn apply(&self, resource_type: &ResourceType, namespace: Option<&str>, name: &str, body: &str) {
        self.apply_labelled(resource_type, namespace, name, &[], body);
    }

    /// As [`apply`](Self::apply), for an object with labels.
    ///
    /// # Panics
    /// When the JSON that comes of it is none.
    #[allow(clippy::expect_used)]
    pub fn apply_labelled(
        &self,
        resource_type: &ResourceType,
        namespace: Option<&str>,
        name: &str,
        labels: &[(&str, &str)],
        body: &str,
    ) {
        let decoder = Decoder::new(self.name.clone(), resource_type.clone());
        self.change(|content| {
            content.added(resource_type);
            let revision = content.revision + 1;
            let of_type = content.added(resource_type);
            let key = ObjectKey { source: self.name.clone(), namespace: namespace.map(Into::into), name: name.into() };
            let uid = of_type.objects.get(&key).and_then(|held| held.uid().map(str::to_owned));
            let uid = uid.unwrap_or_else(|| format!("u{revision}"));
            let namespace = namespace.map_or(String::new(), |namespace| format!(r#""namespace":"{namespace}","#));
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
            let labels = labels.join(",");
            let comma = if body.is_empty() { "" } else { "," };
            let raw = format!(
                r#"{{"apiVersion":"{}","kind":"{}","metadata":{{{namespace}"name":"{name}","uid":"{uid}","resourceVersion":"{revision}","labels":{{{labels}}}}}{comma}{body}}}"#,
                resource_type.api_version(),
                resource_type.kind(),
            );
            let object = Arc::new(decoder.decode(Bytes::from(raw)).expect("the body was JSON members"));
            of_type.objects.insert(key, object.clone());
            content.log(resource_type, SourceEvent::Apply(object));
        });
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, resource_type: &ResourceType, namespace: Option<&str>, name: &str) {
        self.change(|content| {
            let key = ObjectKey { source: self.name.clone(), namespace: namespace.map(Into::into), name: name.into() };
            let of_type = content.types.get_mut(resource_type);
            if of_type.is_some_and(|of_type| of_type.objects.remove(&key).is_some()) {
                content.log(resource_type, SourceEvent::Delete(key));
            }
        });
    }

    /// Ends every open watch, as a restarted server does.
    pub fn disconnect(&self) {
        self.change(|content| content.cuts += 1);
    }

    /// Forgets its history, so that every cursor has expired.
    pub fn compact(&self) {
        self.change(|content| {
            for of_type in content.types.values_mut() {
                of_type.log.clear();
                of_type.expired = content.revision;
            }
        });
    }

    /// Remembers the state that there is now: the past that [`serve_past`](Self::serve_past) goes back to.
    pub fn mark(&self) {
        let content = &mut *self.content.lock();
        let objects = content.types.iter().map(|(of, held)| (of.clone(), held.objects.clone()));
        content.marked = Past { revision: content.revision, objects: objects.collect() };
    }

    /// Readers are served what was marked last, as by a replica that is behind or a backup that was restored: a list
    /// has the objects of then, a watch ends there, and a cursor from later is unknown. What it holds goes on.
    pub fn serve_past(&self) {
        self.change(|content| content.past = Some(content.marked.clone()));
    }

    /// Readers are served the present again.
    pub fn serve_present(&self) {
        self.change(|content| content.past = None);
    }

    /// What it holds of a type, by key.
    pub fn objects(&self, resource_type: &ResourceType) -> BTreeMap<ObjectKey, Arc<Object>> {
        let content = self.content.lock();
        content.types.get(resource_type).map(|of_type| of_type.objects.clone()).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.lock());
        self.stirred.notify_waiters();
    }
}

impl Content {
    fn added(&mut self, resource_type: &ResourceType) -> &mut OfType {
        let revision = &mut self.revision;
        self.types.entry(resource_type.clone()).or_insert_with(|| {
            // Cursors from a former life of the type, the newest too, have expired.
            *revision += 1;
            OfType { expired: *revision, ..OfType::default() }
        })
    }

    fn log(&mut self, resource_type: &ResourceType, event: SourceEvent) {
        self.revision += 1;
        let Some(of_type) = self.types.get_mut(resource_type) else { return };
        of_type.log.push_back((self.revision, event));
        while of_type.log.len() > self.window {
            if let Some((revision, _)) = of_type.log.pop_front() {
                of_type.expired = revision;
            }
        }
    }

    fn of_type(&self, resource_type: &ResourceType) -> Result<&OfType, SourceError> {
        match self.types.get(resource_type) {
            None => Err(SourceError::Absent { reason: format!("{resource_type} is not there") }),
            Some(of_type) if of_type.forbidden => {
                Err(SourceError::NotPermitted { reason: format!("may not watch {resource_type}") })
            }
            Some(of_type) => Ok(of_type),
        }
    }
}

/// One open stream.
struct Watching {
    source: MemorySource,
    resource_type: ResourceType,
    /// Up to which revision everything was told.
    told: Option<u64>,
    cuts: u64,
    ready: VecDeque<Result<SourceEvent, SourceError>>,
    /// It was resumed, and has not said that it works.
    greets: bool,
    ended: bool,
}

impl Watching {
    fn fill(&mut self) {
        let content = self.source.content.lock();
        if content.cuts != self.cuts {
            self.ready.push_back(Err(SourceError::Retry { reason: "disconnected".to_owned(), after: None }));
            return;
        }
        let of_type = match content.of_type(&self.resource_type) {
            Ok(of_type) => of_type,
            Err(error) => return self.ready.push_back(Err(error)),
        };
        let now = content.past.as_ref().map_or(content.revision, |past| past.revision);
        match self.told {
            None => {
                let none = BTreeMap::new();
                let objects = match &content.past {
                    Some(past) => past.objects.get(&self.resource_type).unwrap_or(&none),
                    None => &of_type.objects,
                };
                let objects = objects.values().map(|object| Ok(SourceEvent::InitApply(object.clone())));
                self.ready.push_back(Ok(SourceEvent::Init));
                self.ready.extend(objects);
                self.ready.push_back(Ok(SourceEvent::InitDone(Cursor(now.to_string().into()))));
            }
            Some(told) if told > now => {
                let reason = format!("revision {told} is not known here, the newest is {now}");
                return self.ready.push_back(Err(SourceError::Relist { reason }));
            }
            Some(told) if told < of_type.expired => {
                let reason = format!("revision {told} has expired");
                return self.ready.push_back(Err(SourceError::Relist { reason }));
            }
            Some(told) => {
                if std::mem::take(&mut self.greets) {
                    self.ready.push_back(Ok(SourceEvent::Bookmark(Cursor(told.to_string().into()))));
                }
                let news = of_type.log.iter().filter(|(revision, _)| *revision > told && *revision <= now);
                // A bookmark after each, so that a watch that breaks in between repeats one event at the most.
                for (revision, event) in news {
                    let cursor = Cursor(revision.to_string().into());
                    self.ready.extend([Ok(event.clone()), Ok(SourceEvent::Bookmark(cursor))]);
                }
            }
        }
        self.told = Some(now);
    }

    async fn next(mut self) -> Option<(Result<SourceEvent, SourceError>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                self.ended = event.is_err();
                return Some((event, self));
            }
            let stirred = self.source.stirred.clone();
            // Made before the look, so that nothing is missed between it and the wait.
            let stirred = stirred.notified();
            self.fill();
            if self.ready.is_empty() {
                stirred.await;
            }
        }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let told: Option<u64> = from.and_then(|cursor| cursor.0.parse().ok());
        let watching = Watching {
            source: self.clone(),
            resource_type: resource_type.clone(),
            greets: told.is_some(),
            told,
            cuts: self.content.lock().cuts,
            ready: VecDeque::new(),
            ended: false,
        };
        Box::pin(stream::unfold(watching, Watching::next))
    }
}
