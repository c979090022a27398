//! The loop that calls a handler, and what of it outlives a restart.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
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
    /// How many changes of the batch that was begun have been shown.
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
        for (key, change) in batch.iter().skip(self.shown.load(Ordering::Relaxed)) {
            if context.stop.is_stopped() {
                return false;
            }
            self.show(key, change).await;
            self.shown.fetch_add(1, Ordering::Relaxed);
        }
        self.port.send(|changes| {
            changes.commit();
            self.shown.store(0, Ordering::Relaxed);
        });
        true
    }

    pub(super) async fn show(&self, key: &ObjectKey, change: &Change<Arc<Object>>) {
        match (&change.old, &change.new) {
            (None, Some(new)) => self.call(key, async { self.handler.on_add(new.clone(), change.initial).await }).await,
            (Some(old), None) => {
                self.call(key, async { self.handler.on_delete(old.clone(), change.tombstone).await }).await
            }
            (Some(old), Some(new)) if old.uid() == new.uid() => {
                self.call(key, async { self.handler.on_update(old.clone(), new.clone()).await }).await;
            }
            (Some(old), Some(new)) => {
                self.call(key, async { self.handler.on_delete(old.clone(), false).await }).await;
                self.call(key, async { self.handler.on_add(new.clone(), change.initial).await }).await;
            }
            (None, None) => {}
        }
        if self.options.resync.is_some() {
            let mut seen = self.seen.lock();
            match &change.new {
                Some(new) => drop(seen.replace(Keyed(new.clone()))),
                None => drop(seen.take(key)),
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
            self.call(object.key(), async { self.handler.on_update(object.clone(), object.clone()).await }).await;
        }
        true
    }

    async fn call(&self, key: &ObjectKey, call: impl Future<Output = ()> + Send) {
        let scope = self.scope();
        let id = key.to_string();
        if AssertUnwindSafe(call).catch_unwind().await.is_ok() {
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

fn later(env: &Env, period: std::time::Duration) -> Instant {
    env.clock.now() + period
}
