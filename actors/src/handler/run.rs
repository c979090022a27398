//! The loop that calls a handler, and what of it outlives a restart.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{EventHandler, HandlerOptions};
use crate::changes::Change;
use crate::env::Env;
use crate::id::{ObjectKey, ObjectRef};
use crate::object::{Keyed, Object};
use crate::port::Port;
use crate::problem::{Problem, Problems, Serving};
use crate::store::{Lister, ObjectChanges, Subscription};
use crate::supervisor::{BoxError, ChildSpec, TaskContext};
use crate::watch;

/// One handler at work.
pub(crate) struct Handling {
    name: String,
    handler: Arc<dyn EventHandler>,
    options: HandlerOptions,
    lister: Lister,
    env: Env,
    problems: Problems,
    port: Port<ObjectChanges>,
    nudged: Arc<Notify>,
    subscription: Mutex<Option<Subscription>>,
    /// How many calls of the batch that was begun have been made.
    shown: AtomicUsize,
    /// What the handler has seen, for resyncs only.
    seen: Mutex<BTreeSet<Keyed>>,
    pub(super) synced: watch::Sender<bool>,
    panics: AtomicU64,
    panics_total: metrics::Counter,
}

impl Handling {
    pub fn new(
        name: &str,
        handler: Arc<dyn EventHandler>,
        options: HandlerOptions,
        lister: &Lister,
        env: &Env,
        problems: &Problems,
    ) -> Arc<Self> {
        let port = Port::new(format!("handler/{name}"), env, ObjectChanges::default());
        let nudged = Arc::new(Notify::new());
        let nudge = nudged.clone();
        port.connect(Arc::new(move || nudge.notify_one()));
        Arc::new(Self {
            name: name.to_owned(),
            handler,
            options,
            lister: lister.clone(),
            env: env.clone(),
            problems: problems.clone(),
            nudged,
            subscription: Mutex::new(None),
            port,
            shown: AtomicUsize::new(0),
            seen: Mutex::default(),
            synced: watch::Sender::new(false),
            panics: AtomicU64::new(0),
            panics_total: metrics::counter!("tidegate_handler_panics_total", "handler" => name.to_owned()),
        })
    }

    /// The handler as a supervised child.
    pub fn spec(self: &Arc<Self>, name: &str) -> ChildSpec {
        let handling = self.clone();
        ChildSpec::task(name, move |context| handling.clone().run(context))
    }

    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Takes the handler off the store, and back all that it complained of.
    pub fn end(&self) {
        *self.subscription.lock() = None;
        self.problems.replace(&self.scope(), []);
    }

    fn scope(&self) -> String {
        format!("handler/{}", self.name)
    }

    async fn run(self: Arc<Self>, context: TaskContext) -> Result<(), BoxError> {
        // Only now, so that a handler whose name was taken has not been fed for nothing.
        if self.subscription.lock().is_none() {
            let subscription = self.lister.subscribe(self.port.clone());
            *self.subscription.lock() = Some(subscription);
        }
        let mut sync = self.lister.watch_sync();
        let mut next_resync = self.options.resync.map(|period| self.env.clock.now() + period);
        loop {
            // Asked first: what is complete now is wholly in the port, so after this batch it has been shown.
            let settled = sync.borrow_and_update().is_settled();
            if !self.work(&context).await {
                return Ok(());
            }
            if settled {
                self.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
            }
            if self.port.depth() > 0 {
                continue;
            }
            let resync = async {
                match next_resync {
                    Some(at) => self.env.clock.sleep(at.saturating_duration_since(self.env.clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = context.stop.stopped() => return Ok(()),
                () = self.nudged.notified() => {}
                // The store cannot be gone: this holds a lister of it.
                _ = sync.changed(), if !settled => {}
                () = resync => {
                    if !self.resync(&context).await {
                        return Ok(());
                    }
                    next_resync = self.options.resync.map(|period| later(&self.env, period));
                }
            }
        }
    }

    /// Shows one batch; false when it is time to stop.
    async fn work(&self, context: &TaskContext) -> bool {
        let Some(batch) = self.port.receive(|changes| changes.begin()) else { return true };
        // Not an iterator over both: its closures would stand in the way of the future being `Send`.
        let calls: Vec<_> = batch
            .iter()
            .flat_map(|(key, change)| Call::of(change).into_iter().flatten().map(move |c| (key, c)))
            .collect();
        for (key, call) in calls.into_iter().skip(self.shown.load(Ordering::Relaxed)) {
            if context.stop.is_stopped() {
                return false;
            }
            self.show(key, call).await;
            self.shown.fetch_add(1, Ordering::Relaxed);
        }
        self.port.send(|changes| {
            changes.commit();
            self.shown.store(0, Ordering::Relaxed);
        });
        true
    }

    async fn show(&self, key: &ObjectKey, call: Call<'_>) {
        let guarded = async {
            match call {
                Call::Add { object, initial } => self.handler.on_add(object.clone(), initial).await,
                Call::Update { old, new } => self.handler.on_update(old.clone(), new.clone()).await,
                Call::Delete { object, tombstone } => self.handler.on_delete(object.clone(), tombstone).await,
            }
        };
        self.guard(key, guarded).await;
        if self.options.resync.is_some() {
            let mut seen = self.seen.lock();
            match call {
                Call::Add { object: new, .. } | Call::Update { new, .. } => {
                    drop(seen.replace(Keyed(new.clone())));
                }
                Call::Delete { .. } => drop(seen.take(key)),
            }
        }
    }

    /// Shows everything again; false when it is time to stop.
    async fn resync(&self, context: &TaskContext) -> bool {
        let seen: Vec<_> = self.seen.lock().iter().map(|keyed| keyed.0.clone()).collect();
        for object in seen {
            if context.stop.is_stopped() {
                return false;
            }
            self.show(object.key(), Call::Update { old: &object, new: &object }).await;
        }
        true
    }

    /// Runs a call; a panic in it stays here.
    async fn guard(&self, key: &ObjectKey, call: impl Future<Output = ()> + Send) {
        let good = AssertUnwindSafe(call).catch_unwind().await.is_ok();
        // Spelling out what there would be to take back costs more than most calls.
        if good && self.panics() == 0 {
            return;
        }
        let scope = self.scope();
        let id = key.to_string();
        if good {
            self.problems.clear(&scope, &id);
            return;
        }
        self.panics.fetch_add(1, Ordering::Relaxed);
        self.panics_total.increment(1);
        let object = ObjectRef { resource_type: self.lister.resource_type().clone(), key: key.clone() };
        tracing::warn!(%object, handler = self.name, "a handler panicked; the event is not repeated");
        // What it said when it panicked is not kept: it may quote the object.
        let reason = format!(
            "the handler `{}` panicked on this object's last change, which it will not see again; mend the handler",
            self.name
        );
        let problem = Problem {
            place: String::new(),
            object: Some(object),
            field: String::new(),
            reason,
            serving: Serving::Current,
        };
        self.problems.set(&scope, &id, problem);
    }
}

/// One call of a handler.
#[derive(Clone, Copy)]
enum Call<'a> {
    Add { object: &'a Arc<Object>, initial: bool },
    Update { old: &'a Arc<Object>, new: &'a Arc<Object> },
    Delete { object: &'a Arc<Object>, tombstone: bool },
}

impl<'a> Call<'a> {
    /// What shows a change: one call, or two for an object that was created again under its name.
    fn of(change: &'a Change<Arc<Object>>) -> [Option<Self>; 2] {
        let Change { old, new, initial, tombstone } = change;
        match (old, new) {
            (Some(old), Some(new)) if old.uid() == new.uid() => [Some(Self::Update { old, new }), None],
            (old, new) => {
                let tombstone = *tombstone && new.is_none();
                let delete = old.as_ref().map(|object| Self::Delete { object, tombstone });
                [delete, new.as_ref().map(|object| Self::Add { object, initial: *initial })]
            }
        }
    }
}

fn later(env: &Env, period: std::time::Duration) -> Instant {
    env.clock.now() + period
}
