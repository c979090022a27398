//! Readers of a store: any number of them, on any thread, without asking the actor. The state behind them is
//! written in one place, [`Lister::apply`], by the store's actor.
//!
//! Law: objects are readable before anybody is told of them, and told of before the sync state says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use super::held::Held;
use super::index::{self, Index, IndexFn, Panicked};
use super::selector::Selector;
use super::state::SyncState;
use crate::changes::{Change, Changes};
use crate::env::Env;
use crate::id::{Name, ObjectKey, ObjectRef, ResourceType};
use crate::object::Object;
use crate::port::Port;
use crate::problem::{Problem, Problems, Serving};
use crate::queue::{Delta, Phase};
use crate::source::Cursor;
use crate::watch;

/// Changes of objects that wait for a subscriber.
pub type ObjectChanges = Changes<ObjectKey, Arc<Object>>;

/// Nobody registered an index of this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("look up `{index}` of {resource_type}: there is no such index; register it with `add_index`")]
pub struct UnknownIndex {
    /// The name that was asked for.
    pub index: String,
    /// The type whose store was asked.
    pub resource_type: ResourceType,
}

/// Reads the last known state of one resource type of one source. Cheap to clone; lists are in the order of keys.
#[derive(Clone)]
pub struct Lister {
    shared: Arc<Shared>,
}

struct Shared {
    source: Name,
    resource_type: ResourceType,
    env: Env,
    problems: Problems,
    scope: String,
    held: RwLock<Held>,
    /// Whoever writes holds this, from the first look at a batch until every subscriber has it.
    subscribers: Mutex<Subscribers>,
    sync: watch::Sender<SyncState>,
    cursor: Mutex<Option<Cursor>>,
    /// Milliseconds since the Unix epoch; 0 is never.
    last_event: AtomicU64,
    count: metrics::Gauge,
    age: metrics::Gauge,
}

#[derive(Default)]
struct Subscribers {
    next: u64,
    ports: Vec<(u64, Port<ObjectChanges>)>,
}

impl Lister {
    pub(crate) fn new(source: &Name, resource_type: &ResourceType, env: &Env, problems: &Problems) -> Self {
        let state = SyncState { phase: Phase::Pending, complete: false, since: env.clock.wall(), last_event: None };
        let labels = [("source", source.to_string()), ("type", resource_type.to_string())];
        let shared = Shared {
            source: source.clone(),
            resource_type: resource_type.clone(),
            env: env.clone(),
            problems: problems.clone(),
            scope: format!("store/{source}/{resource_type}"),
            held: RwLock::default(),
            subscribers: Mutex::default(),
            sync: watch::Sender::new(state),
            cursor: Mutex::new(None),
            last_event: AtomicU64::new(0),
            count: metrics::gauge!("tidegate_store_objects", &labels),
            age: metrics::gauge!("tidegate_sync_age_seconds", &labels),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The source that the objects come from.
    pub fn source(&self) -> &Name {
        &self.shared.source
    }

    /// The type of the objects.
    pub fn resource_type(&self) -> &ResourceType {
        &self.shared.resource_type
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.shared.held.read().get(key).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.held.read().len()
    }

    /// Whether there are none; ask [`sync_state`](Self::sync_state) whether that means anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects.
    pub fn list(&self) -> Vec<Arc<Object>> {
        self.shared.held.read().iter().cloned().collect()
    }

    /// All objects of a namespace.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<Object>> {
        self.shared.held.read().of_namespace(&self.shared.source, namespace).cloned().collect()
    }

    /// All objects with matching labels.
    pub fn select(&self, selector: &Selector) -> Vec<Arc<Object>> {
        let matches = |object: &&Arc<Object>| selector.matches(|key| object.label(key));
        self.shared.held.read().iter().filter(matches).cloned().collect()
    }

    /// All objects of a namespace with matching labels.
    pub fn select_in(&self, namespace: &str, selector: &Selector) -> Vec<Arc<Object>> {
        let matches = |object: &&Arc<Object>| selector.matches(|key| object.label(key));
        self.shared.held.read().of_namespace(&self.shared.source, namespace).filter(matches).cloned().collect()
    }

    /// All objects that an index has under a value.
    ///
    /// # Errors
    /// When there is no such index.
    pub fn by_index(&self, index: &str, value: &str) -> Result<Vec<Arc<Object>>, UnknownIndex> {
        let held = self.shared.held.read();
        held.index(index).map(|index| index.get(value).cloned().collect()).ok_or_else(|| self.unknown(index))
    }

    /// All values that an index has.
    ///
    /// # Errors
    /// When there is no such index.
    pub fn index_values(&self, index: &str) -> Result<Vec<Name>, UnknownIndex> {
        self.shared.held.read().index(index).map(Index::all_values).ok_or_else(|| self.unknown(index))
    }

    fn unknown(&self, index: &str) -> UnknownIndex {
        UnknownIndex { index: index.to_owned(), resource_type: self.shared.resource_type.clone() }
    }

    /// Whether there is an index of this name.
    pub fn has_index(&self, name: &str) -> bool {
        self.shared.held.read().index(name).is_some()
    }

    /// Adds an index, or replaces the one of that name, and fills it from what is held.
    pub fn add_index(&self, name: &str, function: IndexFn) {
        let _writing = self.shared.subscribers.lock();
        let name = Name::from(name);
        let mut index = Index::new(function);
        for object in self.list() {
            match index::find(&index.function, &object) {
                Ok(values) => index.set(&object, values),
                Err(panicked) => self.report(&name, &object, Some(panicked)),
            }
        }
        self.shared.held.write().insert_index(name, index);
    }

    /// How current all this is.
    pub fn sync_state(&self) -> SyncState {
        SyncState { last_event: self.last_event(), ..self.shared.sync.borrow().clone() }
    }

    /// Follows the sync state; `last_event` in it is as old as the state.
    pub fn watch_sync(&self) -> watch::Receiver<SyncState> {
        self.shared.sync.subscribe()
    }

    /// Waits until what is held is complete, or the type is known not to exist.
    pub async fn settled(&self) {
        // An error would say that the store is gone, but it is borrowed here.
        let _ = self.watch_sync().wait_for(SyncState::is_settled).await;
    }

    /// How long ago the source last told anything; `None` if it never has.
    pub fn age(&self) -> Option<Duration> {
        Some(self.shared.env.clock.wall().saturating_sub(self.last_event()?))
    }

    /// Sets the gauges that change by themselves as time goes by.
    pub fn record_metrics(&self) {
        let age = self.age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        self.shared.age.set(age);
    }

    /// Connects a port: what is held is replayed into it as initial, then all changes follow, gapless. Ends when
    /// the subscription is dropped.
    pub fn subscribe(&self, port: Port<ObjectChanges>) -> Subscription {
        let mut subscribers = self.shared.subscribers.lock();
        let held = self.list();
        port.send(|buffer| {
            buffer.make_room(held.len());
            for object in held {
                let change = Change { initial: true, ..Change::live(None, Some(object.clone())) };
                buffer.record(object.key().clone(), change);
            }
        });
        let id = subscribers.next;
        subscribers.next += 1;
        subscribers.ports.push((id, port));
        Subscription { id, shared: Arc::downgrade(&self.shared) }
    }

    /// From where a watch would go on after what is held, or a little before it.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.shared.cursor.lock().clone()
    }

    /// The source told something, if only that it is there.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.shared.env.clock.wall().as_millis()).unwrap_or(u64::MAX);
        self.shared.last_event.store(now.max(1), Ordering::Relaxed);
    }

    /// When the source had last told anything before this process began.
    pub(crate) fn restored_at(&self, at: Option<Duration>) {
        let at = at.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        self.shared.last_event.store(at, Ordering::Relaxed);
    }

    pub(crate) fn last_event(&self) -> Option<Duration> {
        let at = self.shared.last_event.load(Ordering::Relaxed);
        (at > 0).then(|| Duration::from_millis(at))
    }

    /// Applies a batch; only the store's actor does. Applying one twice is the same as applying it once.
    pub(crate) fn apply(&self, delta: &Delta) {
        let shared = &*self.shared;
        let subscribers = shared.subscribers.lock();
        let found = self.run_index_functions(delta);
        let mut told = Vec::with_capacity(delta.changes.len());
        {
            let mut held = shared.held.write();
            let first = held.len() == 0;
            if first {
                held.fill(delta.changes.iter().filter_map(|(_, change)| change.new.clone()));
            }
            for ((key, change), found) in delta.changes.iter().zip(found) {
                // Whatever the queue takes for `old`, it is what is held.
                let old = match &change.new {
                    Some(object) if first => {
                        held.put_in_indexes(object, found);
                        None
                    }
                    Some(object) => held.set(object, found),
                    None => held.remove(key),
                };
                // A batch that comes again, since the store's actor ended before it could commit it, tells nobody
                // anything.
                let same = match (&old, &change.new) {
                    (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                    (old, new) => old.is_none() && new.is_none(),
                };
                if !same {
                    told.push((key.clone(), Change { old, ..change.clone() }));
                }
            }
            shared.count.set(held.len() as f64);
        }
        for (_, port) in subscribers.ports.iter().filter(|_| !told.is_empty()) {
            port.send(|buffer| {
                buffer.make_room(told.len());
                for (key, change) in &told {
                    buffer.record(key.clone(), change.clone());
                }
            });
        }
        (*shared.cursor.lock()).clone_from(&delta.cursor);
        let now = shared.env.clock.wall();
        shared.sync.send_if_modified(|state| {
            let changed = state.phase != delta.phase || state.complete != delta.complete;
            if changed {
                let last_event = self.last_event();
                *state = SyncState { phase: delta.phase.clone(), complete: delta.complete, since: now, last_event };
            }
            changed
        });
        self.record_metrics();
    }

    /// The type is no longer watched: its objects are taken from every subscriber, and from readers.
    pub(crate) fn retire(&self) {
        let objects = self.list();
        let gone = |object: Arc<Object>| {
            let change = Change { tombstone: true, ..Change::live(Some(object.clone()), None) };
            (object.key().clone(), change)
        };
        let changes = objects.into_iter().map(gone).collect();
        self.apply(&Delta { changes, phase: Phase::Pending, complete: false, cursor: None });
        self.shared.problems.replace(&self.shared.scope, []);
    }

    /// User code runs here, before anybody is kept from reading.
    fn run_index_functions(&self, delta: &Delta) -> Vec<Vec<(Name, index::Found)>> {
        let functions = self.shared.held.read().functions();
        let run = |(key, change): &(ObjectKey, Change<Arc<Object>>)| {
            let each = functions.iter().map(|(name, function)| match &change.new {
                Some(object) => {
                    let found = index::find(function, object);
                    self.report(name, object, found.as_ref().err().copied());
                    (name.clone(), found)
                }
                None => {
                    self.shared.problems.clear(&self.shared.scope, &problem_id(name, key));
                    (name.clone(), Ok(Box::default()))
                }
            });
            each.collect()
        };
        delta.changes.iter().map(run).collect()
    }

    fn report(&self, index: &str, object: &Object, panicked: Option<Panicked>) {
        let id = problem_id(index, object.key());
        if panicked.is_none() {
            self.shared.problems.clear(&self.shared.scope, &id);
            return;
        }
        let reason = format!(
            "the index function `{index}` panicked on this object, which cannot be found through that index until \
             it changes; mend the function"
        );
        let problem = Problem {
            place: String::new(),
            object: Some(ObjectRef { resource_type: self.shared.resource_type.clone(), key: object.key().clone() }),
            field: String::new(),
            reason,
            serving: Serving::Current,
        };
        if self.shared.problems.set(&self.shared.scope, &id, problem) {
            tracing::warn!(object = %object.object_ref(), index, "an index function panicked");
        }
    }
}

fn problem_id(index: &str, key: &ObjectKey) -> String {
    format!("index/{index}/{key}")
}

/// Keeps a port connected to a store until it is dropped.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    id: u64,
    shared: Weak<Shared>,
}

impl Subscription {
    /// Leaves the port connected for as long as the store exists.
    pub fn forever(mut self) {
        self.shared = Weak::new();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.subscribers.lock().ports.retain(|(id, _)| *id != self.id);
        }
    }
}
