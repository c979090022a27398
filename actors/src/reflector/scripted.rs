//! A source for the tests of this crate: what it holds is changed by hand, and every way to fail can be asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use parking_lot::Mutex;

use crate::id::{Name, ObjectKey, ResourceType, Scope};
use crate::object::{Decoder, Object};
use crate::source::{Cursor, Source, SourceError, SourceEvent, SourceStream};
use crate::watch;

/// A source whose history is a log, and whose cursors are places in it.
pub(crate) struct ScriptedSource {
    name: Name,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    log: Vec<(ObjectKey, Option<Arc<Object>>)>,
    /// Cursors before this are no longer known.
    compacted: usize,
    /// From where it was opened, each time.
    opened: Vec<Option<String>>,
    /// What the next streams yield instead of anything else.
    trouble: VecDeque<Trouble>,
    /// Streams of an earlier epoch end with the error.
    epoch: u64,
    end: Option<SourceError>,
    /// How often it was heard that the type has come.
    arrivals: watch::Sender<u64>,
}

/// What is wrong with a stream.
#[derive(Clone)]
pub(crate) enum Trouble {
    Fail(SourceError),
    /// The list breaks off before its end.
    HalfList(SourceError),
    Silence,
    /// The list never ends.
    EndlessList,
    Panic,
}

pub(crate) fn mk_type() -> ResourceType {
    ResourceType::new("example.test", "v1", "Thing", "things", Scope::Namespaced)
}

pub(crate) fn mk_object(source: &str, name: &str, version: u32) -> Arc<Object> {
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","uid":"u-{name}","resourceVersion":"{version}","labels":{{"app":"{name}"}}}}}}"#
    );
    Arc::new(Decoder::new(source.into(), mk_type()).decode(text).unwrap())
}

pub(crate) fn mk_key(name: &str) -> ObjectKey {
    ObjectKey::namespaced("demo", "n", name)
}

pub(crate) fn retry(reason: &str) -> SourceError {
    SourceError::Retry { reason: reason.to_owned(), after: None }
}

impl ScriptedSource {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { name: "demo".into(), state: Arc::default(), changed: watch::Sender::new(0) })
    }

    pub fn apply(&self, name: &str, version: u32) {
        let object = mk_object(&self.name, name, version);
        self.log(object.key().clone(), Some(object));
    }

    /// Another object under the name of one that there is; its delete is not told.
    pub fn recreate(&self, name: &str, version: u32) {
        let text = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"n","uid":"again-{name}","resourceVersion":"{version}"}}}}"#
        );
        let object = Decoder::new(self.name.clone(), mk_type()).decode(text).unwrap();
        self.log(object.key().clone(), Some(Arc::new(object)));
    }

    pub fn delete(&self, name: &str) {
        self.log(mk_key(name), None);
    }

    fn log(&self, key: ObjectKey, object: Option<Arc<Object>>) {
        let mut state = self.state.lock();
        match &object {
            Some(object) => state.objects.insert(key.clone(), object.clone()),
            None => state.objects.remove(&key),
        };
        state.log.push((key, object));
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Ends all streams with an error.
    pub fn cut(&self, error: SourceError) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.end = Some(error);
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Says that the type has come.
    pub fn arrive(&self) {
        self.state.lock().arrivals.send_modify(|n| *n += 1);
    }

    /// Forgets its history: cursors up to now are answered with `Relist`.
    pub fn compact(&self) {
        let mut state = self.state.lock();
        state.compacted = state.log.len() + 1;
        let key = mk_key("filler");
        state.log.push((key, None));
    }

    /// What the next stream does instead of its work.
    pub fn trouble(&self, trouble: Trouble) {
        self.state.lock().trouble.push_back(trouble);
    }

    /// From where it was opened, each time; `-` is a list.
    pub fn opened(&self) -> Vec<String> {
        let opened = &self.state.lock().opened;
        opened.iter().map(|from| from.clone().unwrap_or_else(|| "-".to_owned())).collect()
    }
}

impl Source for ScriptedSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn arrival(&self, _resource_type: &ResourceType) -> BoxFuture<'static, ()> {
        let mut arrivals = self.state.lock().arrivals.subscribe();
        async move { arrivals.changed().await.unwrap() }.boxed()
    }

    fn open(&self, _resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let mut state = self.state.lock();
        state.opened.push(from.as_ref().map(|cursor| cursor.0.to_string()));
        let list = state.objects.values().cloned().map(SourceEvent::InitApply).collect::<Vec<_>>();
        let begin = || stream::iter([SourceEvent::Init]).chain(stream::iter(list.clone())).map(Ok);
        match state.trouble.pop_front() {
            None => {}
            Some(Trouble::Fail(error)) => return stream::iter([Err(error)]).boxed(),
            Some(Trouble::HalfList(error)) => return begin().chain(stream::iter([Err(error)])).boxed(),
            Some(Trouble::Silence) => return stream::pending().boxed(),
            Some(Trouble::EndlessList) => return endless(list).boxed(),
            Some(Trouble::Panic) => return stream::poll_fn(|_| panic!("injected")).boxed(),
        }
        let mut events = VecDeque::new();
        let mut at = state.log.len();
        match from {
            Some(from) => {
                at = from.0.parse().unwrap();
                if at < state.compacted {
                    let error = SourceError::Relist { reason: "compacted".to_owned() };
                    return stream::iter([Err(error)]).boxed();
                }
            }
            None => {
                events.push_back(SourceEvent::Init);
                events.extend(list);
                events.push_back(SourceEvent::InitDone(cursor(at)));
            }
        }
        let tail =
            Tail { state: self.state.clone(), changed: self.changed.subscribe(), events, at, epoch: state.epoch };
        stream::unfold(Some(tail), Tail::next).boxed()
    }
}

/// A list that names its objects again and again, never silent, never done.
fn endless(list: Vec<SourceEvent>) -> impl futures::Stream<Item = Result<SourceEvent, SourceError>> {
    stream::iter([SourceEvent::Init]).chain(stream::iter(list).cycle()).map(Ok).then(|event| async move {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        event
    })
}

fn cursor(at: usize) -> Cursor {
    Cursor(at.to_string().into())
}

/// A stream that follows the log.
struct Tail {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
    events: VecDeque<SourceEvent>,
    at: usize,
    epoch: u64,
}

impl Tail {
    async fn next(tail: Option<Self>) -> Option<(Result<SourceEvent, SourceError>, Option<Self>)> {
        let mut tail = tail?;
        loop {
            if let Some(event) = tail.events.pop_front() {
                return Some((Ok(event), Some(tail)));
            }
            tail.changed.mark_unchanged();
            {
                let state = tail.state.lock();
                if state.epoch != tail.epoch {
                    return state.end.clone().map(|error| (Err(error), None));
                }
                if let Some((key, object)) = state.log.get(tail.at) {
                    tail.at += 1;
                    let event = object.clone().map_or_else(|| SourceEvent::Delete(key.clone()), SourceEvent::Apply);
                    tail.events.extend([event, SourceEvent::Bookmark(cursor(tail.at))]);
                    continue;
                }
            }
            if tail.changed.changed().await.is_err() {
                futures::future::pending::<()>().await;
            }
        }
    }
}
