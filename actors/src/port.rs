//! The one kind of edge between two stages: a buffer that both ends share, and one outstanding nudge that
//! says "there is something". Nothing else connects two actors, and mailboxes never carry data.
//!
//! Laws: a nudge is outstanding at most once; what was sent while nobody listens waits, and is announced
//! when somebody does; the buffer outlives both ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::env::{Env, Fault};

/// Something that waits in a port.
pub trait Buffer: Send + 'static {
    /// How many things wait; it must be bounded by distinct keys, not by events.
    fn depth(&self) -> usize;
}

impl<K, V> Buffer for Changes<K, V>
where
    K: Clone + Eq + std::hash::Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    K: Sync,
{
    fn depth(&self) -> usize {
        self.len()
    }
}

/// How a receiver wants to be told: usually a `cast` to its actor. It must not block.
pub type Nudge = Arc<dyn Fn() + Send + Sync>;

/// One end of an edge, either one; cheap to clone.
pub struct Port<B> {
    shared: Arc<Shared<B>>,
}

impl<B> Clone for Port<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<B> {
    name: String,
    env: Env,
    buffer: Mutex<B>,
    nudge: Mutex<Option<Nudge>>,
    outstanding: AtomicBool,
    since: Mutex<Option<Instant>>,
    depth: metrics::Gauge,
    sent: metrics::Counter,
}

impl<B: Buffer> Port<B> {
    /// A port around a buffer. The name stands in metrics and fault plans: `store/demo/httproutes`.
    pub fn new(name: impl Into<String>, env: &Env, buffer: B) -> Self {
        let name = name.into();
        let depth = metrics::gauge!("tidegate_queue_depth", "queue" => name.clone());
        let sent = metrics::counter!("tidegate_queue_sends_total", "queue" => name.clone());
        let shared = Shared {
            name,
            env: env.clone(),
            buffer: Mutex::new(buffer),
            nudge: Mutex::new(None),
            outstanding: AtomicBool::new(false),
            since: Mutex::new(None),
            depth,
            sent,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The port's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Puts something in and tells the receiver.
    pub fn send<R>(&self, put: impl FnOnce(&mut B) -> R) -> R {
        let (result, depth) = {
            let mut buffer = self.shared.buffer.lock();
            let result = put(&mut buffer);
            (result, buffer.depth())
        };
        self.shared.depth.set(depth as f64);
        self.shared.sent.increment(1);
        if depth > 0 {
            let now = self.shared.env.clock.now();
            self.shared.since.lock().get_or_insert(now);
            self.announce();
        }
        result
    }

    /// When the oldest thing that waits, or waited since this was last asked, was put in.
    pub fn take_since(&self) -> Option<Instant> {
        self.shared.since.lock().take()
    }

    /// Connects the receiver, replacing one that was there, and nudges it if something waits already.
    pub fn connect(&self, nudge: Nudge) {
        *self.shared.nudge.lock() = Some(nudge);
        self.shared.outstanding.store(false, Ordering::SeqCst);
        if self.depth() > 0 {
            self.announce();
        }
    }

    /// Nobody listens any more; what is sent waits.
    pub fn disconnect(&self) {
        *self.shared.nudge.lock() = None;
    }

    /// Takes or looks at what waits; the receiver's answer to a nudge. The next send nudges again.
    ///
    /// # Panics
    /// When a fault plan says so, which is its way to make the receiving actor panic.
    #[allow(clippy::panic)]
    pub fn receive<R>(&self, take: impl FnOnce(&mut B) -> R) -> R {
        if let Fault::Panic(reason) = self.shared.env.fault(|| format!("port/{}/receive", self.shared.name)) {
            panic!("{reason}");
        }
        self.shared.outstanding.store(false, Ordering::SeqCst);
        let (result, depth) = {
            let mut buffer = self.shared.buffer.lock();
            let result = take(&mut buffer);
            (result, buffer.depth())
        };
        self.shared.depth.set(depth as f64);
        result
    }

    /// Looks at the buffer from outside the edge: neither a send nor a receive, and no place for faults.
    pub fn peek<R>(&self, look: impl FnOnce(&B) -> R) -> R {
        look(&self.shared.buffer.lock())
    }

    /// Nudges the receiver if something still waits: after a batch, since more may have come meanwhile.
    pub fn again(&self) {
        if self.depth() > 0 {
            self.announce();
        }
    }

    /// How much waits.
    pub fn depth(&self) -> usize {
        self.shared.buffer.lock().depth()
    }

    fn announce(&self) {
        if self.shared.outstanding.swap(true, Ordering::SeqCst) {
            return;
        }
        let nudge = self.shared.nudge.lock().clone();
        let Some(nudge) = nudge else {
            self.shared.outstanding.store(false, Ordering::SeqCst);
            return;
        };
        match self.shared.env.fault(|| format!("port/{}/send", self.shared.name)) {
            Fault::Delay(wait) => self.later(wait, nudge),
            // A lost nudge is one that comes late: the edge is in-process, so it is retransmitted.
            Fault::Drop | Fault::Stall | Fault::Error(_) | Fault::Corrupt => {
                self.later(std::time::Duration::from_secs(5), nudge);
            }
            // Whatever else is sent at this moment is heard of first.
            Fault::Reorder => self.later(std::time::Duration::from_millis(1), nudge),
            Fault::Duplicate => {
                nudge();
                nudge();
            }
            Fault::None | Fault::Panic(_) => nudge(),
        }
    }

    fn later(&self, wait: std::time::Duration, nudge: Nudge) {
        let sleep = self.shared.env.clock.sleep(wait);
        tokio::spawn(async move {
            sleep.await;
            nudge();
        });
    }
}
