//! Writes statuses back to the sources that take them: a queue of objects, workers that compare what an object says
//! with what it should say, and write the difference over the version that they read.
//!
//! Laws: what says so already is not written; only a leading replica writes, and one that begins to lead looks at
//! everything; nothing is taken back before a first full batch said what is wanted; a write that fails is tried again with
//! backoff, for ever, and holds back no other object's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tidegate_actors::env::Env;
use tidegate_actors::handler::EventHandler;
use tidegate_actors::id::{Name, ObjectKey, ObjectRef, ResourceType};
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::object::Object;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tidegate_actors::supervisor::{Backoff, ChildSpec, TaskContext};
use tidegate_actors::workqueue::{TokenBucket, Work, WorkQueue, WorkQueueOptions};
use tokio::task::JoinSet;

use super::merge::{merged, speaks};
use super::shard::{Speaker, Territory, loses_a_parent};
use super::stamp::timestamp;
use crate::correlate::Answers;
use crate::correlate::status::ObjectStatus;
use crate::resource::types;
use crate::source::sink::{Held, SinkError, StatusSink, WriteRate};

/// So many writes are under way at once, over all sources.
const WORKERS: usize = 8;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct StatusWriter {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    problems: Problems,
    factory: InformerFactory,
    /// Who we are in entries that name a controller; a reload may change it.
    speaker: Arc<dyn Fn() -> Speaker + Send + Sync>,
    territory: Mutex<Territory>,
    sinks: RwLock<BTreeMap<Name, Outlet>>,
    /// `None` until the first full batch: until then nobody knows what is not wanted.
    wanted: Mutex<Option<BTreeMap<ObjectRef, Arc<ObjectStatus>>>>,
    queue: WorkQueue<ObjectRef>,
}

#[derive(Clone)]
struct Outlet {
    sink: Arc<dyn StatusSink>,
    rate: Arc<Mutex<TokenBucket>>,
}

impl StatusWriter {
    /// A writer without sinks: it takes statuses, and has nowhere to write them.
    pub fn new(
        env: &Env,
        problems: &Problems,
        factory: &InformerFactory,
        speaker: impl Fn() -> Speaker + Send + Sync + 'static,
    ) -> Self {
        let backoff = Backoff { min: std::time::Duration::from_millis(50), ..Backoff::default() };
        // Retries have their backoff; the rate of writes is each source's own.
        let options = WorkQueueOptions { backoff, rate: None, max_tries: None };
        let shared = Shared {
            env: env.clone(),
            problems: problems.clone(),
            factory: factory.clone(),
            speaker: Arc::new(speaker),
            territory: Mutex::default(),
            sinks: RwLock::default(),
            wanted: Mutex::default(),
            queue: WorkQueue::new("status", options, env),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The types whose objects are told something.
    pub fn told() -> [ResourceType; 3] {
        [types::gateway_class(), types::gateway(), types::http_route()]
    }

    /// The source's statuses are written to this sink from now on. The task ends with the source.
    pub fn spec(&self, source: &Name, sink: Arc<dyn StatusSink>, rate: WriteRate) -> ChildSpec {
        let (writer, source) = (self.clone(), source.clone());
        ChildSpec::task(format!("status-{source}"), move |context: TaskContext| {
            let (writer, source, sink) = (writer.clone(), source.clone(), sink.clone());
            async move {
                let rate = Arc::new(Mutex::new(TokenBucket::new(rate, writer.shared.env.clock.now())));
                writer.shared.sinks.write().insert(source.clone(), Outlet { sink: sink.clone(), rate });
                let mut leading = sink.leading();
                let lead = async {
                    loop {
                        if *leading.borrow_and_update() {
                            writer.look_at_all_of(&source);
                        }
                        // A sink that is gone leads no more and begins no more.
                        if leading.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = context.stop.stopped() => {}
                    () = lead => {}
                }
                writer.shared.sinks.write().remove(&source);
                writer.shared.problems.replace(&scope(&source), []);
                Ok(())
            }
        })
    }

    /// The workers, for all sources.
    pub fn workers(&self) -> ChildSpec {
        let shared = self.shared.clone();
        ChildSpec::task("status-writer", move |context: TaskContext| {
            let shared = shared.clone();
            async move {
                let mut workers = JoinSet::new();
                for _ in 0..WORKERS {
                    workers.spawn(shared.clone().work());
                }
                tokio::select! {
                    biased;
                    () = context.stop.stopped() => Ok(()),
                    // They end only by a panic; the key comes again.
                    Some(Err(error)) = workers.join_next() => Err(error.into()),
                }
            }
        })
    }

    /// Who answers for which Gateway from now on. To be told before what follows from it.
    pub fn answers<'a>(&self, full: bool, changes: impl Iterator<Item = (&'a ObjectKey, Option<Answers>)>) {
        self.shared.territory.lock().apply(full, changes);
    }

    /// What is to be written from now on; `None` takes back what is ours. `full`: what is not named is wanted no more.
    pub fn apply<'a>(&self, full: bool, changes: impl Iterator<Item = (&'a ObjectRef, Option<Arc<ObjectStatus>>)>) {
        let mut touched = BTreeSet::new();
        let first = {
            let mut wanted = self.shared.wanted.lock();
            let first = wanted.is_none();
            let wanted = wanted.get_or_insert_default();
            let before = if full { std::mem::take(wanted) } else { BTreeMap::new() };
            let mut territory = self.shared.territory.lock();
            for (object, status) in changes {
                touched.insert(object.clone());
                let replaced = match &status {
                    Some(status) => wanted.insert(object.clone(), status.clone()),
                    None => wanted.remove(object),
                };
                if loses_a_parent(replaced.as_deref(), status.as_deref()) {
                    territory.sweep(object);
                }
            }
            for (object, status) in before {
                if loses_a_parent(Some(&status), wanted.get(&object).map(|status| &**status)) {
                    territory.sweep(&object);
                }
                touched.insert(object);
            }
            first
        };
        if first {
            let sources: Vec<Name> = self.shared.sinks.read().keys().cloned().collect();
            sources.iter().for_each(|source| self.look_at_all_of(source));
        }
        touched.iter().for_each(|object| self.look_at(object));
    }

    fn look_at(&self, object: &ObjectRef) {
        if self.shared.sinks.read().contains_key(&object.key.source) {
            self.shared.queue.add(object.clone());
        }
    }

    /// Everything that is wanted of a source, and what says something of ours though it is wanted no more.
    fn look_at_all_of(&self, source: &Name) {
        let Some(wanted) = self.shared.wanted.lock().as_ref().map(|wanted| wanted.keys().cloned().collect::<Vec<_>>())
        else {
            return;
        };
        for object in wanted.into_iter().filter(|object| object.key.source == *source) {
            self.shared.queue.add(object);
        }
        let Speaker { controller, .. } = (self.shared.speaker)();
        let name = memchr::memmem::Finder::new(controller.as_bytes());
        let of_source = self.shared.factory.informers().into_iter().filter(|informer| informer.source() == source);
        for object in of_source.flat_map(|informer| informer.lister().list()) {
            // Most objects are told apart by a look at their bytes.
            let named = name.find(object.raw()).is_some();
            if named && Held::of(&object).is_ok_and(|held| speaks(&held.status, &controller)) {
                self.shared.territory.lock().sweep(&object.object_ref());
                self.shared.queue.add(object.object_ref());
            }
        }
    }
}

/// Whoever else changes a status of ours is corrected.
#[async_trait]
impl EventHandler for StatusWriter {
    async fn on_add(&self, object: Arc<Object>, _initial: bool) {
        self.seen(&object);
    }

    async fn on_update(&self, _old: Arc<Object>, new: Arc<Object>) {
        self.seen(&new);
    }
}

impl StatusWriter {
    fn seen(&self, object: &Object) {
        let object = object.object_ref();
        if self.shared.wanted.lock().as_ref().is_some_and(|wanted| wanted.contains_key(&object)) {
            self.look_at(&object);
        }
    }
}

impl Shared {
    async fn work(self: Arc<Self>) {
        while let Some(work) = self.queue.get().await {
            let object = work.key().clone();
            let outlet = self.sinks.read().get(&object.key.source).cloned();
            let sweeps = self.territory.lock().sweeps(&object);
            let result = match &outlet {
                Some(outlet) => self.write(outlet, &object, sweeps).await,
                None => Ok(Done::Nothing),
            };
            if sweeps && !matches!(result, Ok(_) | Err(SinkError::NotLeading)) {
                self.territory.lock().sweep(&object);
            }
            self.conclude(work, &object, result);
        }
    }

    async fn write(&self, outlet: &Outlet, object: &ObjectRef, sweeps: bool) -> Result<Done, SinkError> {
        if !*outlet.sink.leading().borrow() {
            return Err(SinkError::NotLeading);
        }
        let lister = self.factory.lister(&object.key.source, &object.resource_type);
        let ours = lister.and_then(|lister| lister.get(&object.key)).and_then(|held| Held::of(&held).ok());
        match self.write_over(outlet, object, ours, sweeps).await {
            // Our copy was old.
            Err(SinkError::Conflict) => {
                let now = outlet.sink.read(object).await?;
                self.write_over(outlet, object, now, sweeps).await
            }
            done => done,
        }
    }

    async fn write_over(
        &self,
        outlet: &Outlet,
        object: &ObjectRef,
        held: Option<Held>,
        sweeps: bool,
    ) -> Result<Done, SinkError> {
        let Some(held) = held else { return Ok(Done::Nothing) };
        let wanted = match &*self.wanted.lock() {
            Some(wanted) => wanted.get(object).cloned(),
            None => return Ok(Done::Nothing),
        };
        let (speaker, now) = ((self.speaker)(), timestamp(self.env.clock.wall()));
        let leaves = |entry: &Value| speaker.is_shard && self.territory.lock().leaves(object, entry, sweeps);
        let new = merged(&held.status, wanted.as_ref().map(|wanted| &wanted.status), &speaker.controller, leaves, &now)
            .map_err(|error| SinkError::Failed { reason: format!("its status does not serialise: {error}") })?;
        let Some(new) = new else { return Ok(Done::Nothing) };
        let now = self.env.clock.now();
        let turn = outlet.rate.lock().take(now);
        self.env.clock.sleep(turn.saturating_duration_since(now)).await;
        outlet.sink.write(object, &held.resource_version, &new).await?;
        Ok(Done::Written)
    }

    fn conclude(&self, work: Work<ObjectRef>, object: &ObjectRef, result: Result<Done, SinkError>) {
        let source = &object.key.source;
        let outcome = match &result {
            Ok(Done::Nothing) | Err(SinkError::NotLeading) => None,
            Ok(Done::Written) => Some("written"),
            Err(SinkError::Conflict) => Some("conflict"),
            Err(SinkError::Busy { .. }) => Some("busy"),
            Err(SinkError::NotPermitted { .. }) => Some("not_permitted"),
            Err(SinkError::Failed { .. }) => Some("failed"),
        };
        if let Some(outcome) = outcome {
            let labels = [("source", source.to_string()), ("outcome", outcome.to_owned())];
            metrics::counter!("tidegate_status_writes_total", &labels).increment(1);
        }
        let id = object.to_string();
        match result {
            // Whoever begins to lead looks at everything again.
            Ok(_) | Err(SinkError::NotLeading) => {
                self.problems.clear(&scope(source), &id);
                work.done();
            }
            Err(SinkError::Conflict) => work.retry(SinkError::Conflict.to_string()),
            Err(SinkError::Busy { after: Some(after), .. }) => {
                self.queue.add_after(object.clone(), after);
                work.done();
            }
            Err(error) => {
                let reason = format!("its status cannot be written: {error}");
                tracing::warn!(%object, reason, tries = work.tries() + 1, "status not written; it is tried again");
                let problem = Problem {
                    place: String::new(),
                    object: Some(object.clone()),
                    field: "status".to_owned(),
                    reason,
                    serving: Serving::Current,
                };
                self.problems.set(&scope(source), &id, problem);
                work.retry(error.to_string());
            }
        }
    }
}

/// What came of looking at an object.
enum Done {
    Nothing,
    Written,
}

fn scope(source: &str) -> String {
    format!("status/{source}")
}

#[cfg(test)]
mod tests;
