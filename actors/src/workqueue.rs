//! Keys waiting to be worked on: what a handler adds and a worker takes, with retries. It carries keys, never data,
//! so a worker always looks at the newest state.
//!
//! Laws: a key waits at most once and is never worked on twice at once; one that is added while it is worked on
//! comes again; one whose worker vanishes is retried; what failed too often goes to the outlet of given-up keys.

mod limit;

mod state;

mod work;

#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use limit::{RateLimit, TokenBucket};
pub use work::Work;

use crate::env::Env;
use crate::supervisor::Backoff;
use state::{State, Verdict};

/// How a work queue treats its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkQueueOptions {
    /// How long a key that failed waits; a success begins anew.
    pub backoff: Backoff,
    /// How fast retries of all keys together may come; `None` is without a limit.
    pub rate: Option<RateLimit>,
    /// A key that failed so often in a row is given up until it is added again; `None` is never.
    pub max_tries: Option<u32>,
}

impl Default for WorkQueueOptions {
    fn default() -> Self {
        let backoff = Backoff { min: Duration::from_millis(10), max: Duration::from_secs(300), ..Backoff::default() };
        Self { backoff, rate: Some(RateLimit::default()), max_tries: None }
    }
}

/// A key that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp<K> {
    /// The key.
    pub key: K,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub reason: String,
}

/// See the module. Cheap to clone.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<K> {
    env: Env,
    state: Mutex<State<K>>,
    /// Something to take, or the end.
    work: Notify,
    /// Something was given up, or the end.
    outlet: Notify,
    /// Nothing is left, after a drain began.
    idle: Notify,
    metrics: QueueMetrics,
}

struct QueueMetrics {
    depth: metrics::Gauge,
    adds: metrics::Counter,
    retries: metrics::Counter,
    given_up: metrics::Counter,
}

impl<K: Clone + Eq + Hash + Send + 'static> WorkQueue<K> {
    /// An empty queue; the name stands in metrics.
    pub fn new(name: &str, options: WorkQueueOptions, env: &Env) -> Self {
        let label = || [("queue", name.to_owned())];
        let metrics = QueueMetrics {
            depth: metrics::gauge!("tidegate_workqueue_depth", &label()),
            adds: metrics::counter!("tidegate_workqueue_adds_total", &label()),
            retries: metrics::counter!("tidegate_workqueue_retries_total", &label()),
            given_up: metrics::counter!("tidegate_workqueue_given_up_total", &label()),
        };
        let shared = Shared {
            env: env.clone(),
            state: Mutex::new(State::new(options, env.clock.now())),
            work: Notify::new(),
            outlet: Notify::new(),
            idle: Notify::new(),
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a key with priority 0.
    pub fn add(&self, key: K) {
        self.add_with_priority(key, 0);
    }

    /// Adds a key; higher priorities are taken first, equal ones in the order in which they came. A key that
    /// waits already keeps the higher of both priorities. What was given up before has all its tries again.
    pub fn add_with_priority(&self, key: K, priority: i32) {
        self.shared.metrics.adds.increment(1);
        self.change(|state| {
            state.take_back(&key);
            state.add(key, priority);
        });
    }

    /// Adds a key later; of several such times the earliest counts. It does not replace a key that waits now.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.shared.metrics.adds.increment(1);
        let at = self.shared.env.clock.now() + delay;
        self.change(|state| state.add_at(key, 0, at));
    }

    /// The next key, as soon as there is one; `None` when the queue has shut down. Any number of workers may wait.
    pub async fn get(&self) -> Option<Work<K>> {
        loop {
            let changed = self.shared.work.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = self.shared.env.clock.now();
            let due = {
                let mut state = self.shared.state.lock();
                if let Some((key, tries)) = state.take(now) {
                    self.shared.metrics.depth.set(state.waiting() as f64);
                    if state.waiting() > 0 {
                        self.shared.work.notify_one();
                    }
                    return Some(Work::new(self.clone(), key, tries));
                }
                if state.is_over() {
                    return None;
                }
                state.next_due()
            };
            let alarm = async {
                match due {
                    Some(due) => self.shared.env.clock.sleep(due.saturating_duration_since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = alarm => {}
            }
        }
    }

    /// The next key that was given up; `None` when the queue has shut down and there is no more.
    pub async fn given_up(&self) -> Option<GivenUp<K>> {
        loop {
            let changed = self.shared.outlet.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.state.lock();
                if let Some(given_up) = state.take_given_up() {
                    return Some(given_up);
                }
                if state.is_over() {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Keys that wait for a worker now.
    pub fn len(&self) -> usize {
        self.shared.state.lock().waiting()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the queue: what waits is dropped, workers get `None`, what is worked on may be finished.
    pub fn shutdown(&self) {
        self.change(State::shutdown);
    }

    /// Ends the queue after what waits now has been worked on, each key once more: retries and later times are
    /// dropped. Resolves when the last key is done.
    pub async fn drain(&self) {
        self.change(State::drain);
        loop {
            let changed = self.shared.idle.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.state.lock().is_idle() {
                return;
            }
            changed.await;
        }
    }

    /// The outcome of one key; see [`Work`].
    pub(super) fn finish(&self, key: &K, outcome: Result<(), String>) {
        let now = self.shared.env.clock.now();
        let verdict = self.change(|state| state.finish(key, outcome, now, &*self.shared.env.rng));
        match verdict {
            Verdict::Done => {}
            Verdict::Retry => self.shared.metrics.retries.increment(1),
            Verdict::GivenUp => {
                self.shared.metrics.given_up.increment(1);
                self.shared.outlet.notify_one();
            }
        }
    }

    /// Changes the state and wakes whom that concerns.
    fn change<R>(&self, change: impl FnOnce(&mut State<K>) -> R) -> R {
        let (result, waiting, over, idle) = {
            let mut state = self.shared.state.lock();
            let result = change(&mut state);
            (result, state.waiting(), state.is_over(), state.is_idle())
        };
        self.shared.metrics.depth.set(waiting as f64);
        if over {
            self.shared.work.notify_waiters();
            self.shared.outlet.notify_waiters();
        } else {
            // One worker looks again: at what waits, or at when something will.
            self.shared.work.notify_one();
        }
        if idle {
            self.shared.idle.notify_waiters();
        }
        result
    }
}
