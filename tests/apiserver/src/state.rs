//! What all requests of one server share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tidegate_actors::env::Env;
use tokio::sync::{mpsc, watch};

use crate::access::Access;
use crate::fault::Then;
use crate::faults::Faults;
use crate::kind::Kind;
use crate::options::Options;
use crate::store::World;
use crate::watch_cache::Limits;

/// One request, for assertions.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// `list`, `watch`, `get`, ...; `path` for what is no resource.
    pub verb: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, as it was sent.
    pub query: String,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// Whether it came over HTTP/2.
    pub http2: bool,
    /// Whether it came to the second address.
    pub replica: bool,
    /// The HTTP status; 0 while there is none, or when there never was.
    pub status: u16,
}

/// An open watch, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWatch {
    /// [`Kind::id`].
    pub resource: String,
    /// The namespace, or empty.
    pub namespace: String,
}

/// What only the server as a whole can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Away, and back on the same ports after so many milliseconds.
    Restart {
        /// How long it is away.
        millis: u64,
        /// Whether watches can still start in the past.
        keep_window: bool,
    },
}

/// Shared by all requests.
pub struct State {
    /// What it was started with.
    pub options: Options,
    /// The objects.
    pub world: Mutex<World>,
    /// What goes wrong.
    pub faults: Faults,
    /// Who may what.
    pub access: Access,
    /// The revision at which the replica stands still, if it does.
    pub frozen: watch::Sender<Option<Frozen>>,
    /// Groups whose discovery is stale: `GROUP/VERSION`.
    pub stale: Mutex<Vec<String>>,
    requests: Mutex<Vec<Request>>,
    watches: Mutex<BTreeMap<u64, (OpenWatch, mpsc::UnboundedSender<Then>)>>,
    next_watch: AtomicU64,
    orders: mpsc::UnboundedSender<Order>,
}

/// A replica that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Where.
    pub revision: u64,
    /// Whether it still answers consistent reads from the storage. If not, they time out.
    pub consistent_reads: bool,
}

impl State {
    /// A new server's.
    pub fn new(options: Options, orders: mpsc::UnboundedSender<Order>) -> Self {
        let limits = Limits { window: options.window, history: options.history };
        Self {
            world: Mutex::new(World::new(limits, options.revision)),
            faults: Faults::default(),
            access: Access::new(options.tokens.clone()),
            frozen: watch::channel(None).0,
            stale: Mutex::default(),
            requests: Mutex::default(),
            watches: Mutex::default(),
            next_watch: AtomicU64::new(1),
            orders,
            options,
        }
    }

    /// Orders something of the server as a whole.
    pub fn order(&self, order: Order) {
        // Nobody obeys when it has ended.
        let _ended = self.orders.send(order);
    }

    /// The outside world.
    pub fn env(&self) -> &Env {
        &self.options.env
    }

    /// Logs a request, and says which it is.
    pub fn log(&self, request: Request) -> usize {
        let mut requests = self.requests.lock();
        requests.push(request);
        requests.len() - 1
    }

    /// Logs what a request was answered.
    pub fn log_status(&self, at: usize, status: u16) {
        if let Some(request) = self.requests.lock().get_mut(at) {
            request.status = status;
        }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }

    /// Forgets the requests so far. One that is being answered keeps no status.
    pub fn forget_requests(&self) {
        self.requests.lock().clear();
    }

    /// A type, if it is served in a version.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let world = self.world.lock();
        let resource = world.resources.get(&crate::kind::id_of(group, plural))?;
        resource.kind.served(version).map(|_| resource.kind.clone())
    }

    /// Enters an open watch; the number takes it out again.
    pub fn enter(&self, open: OpenWatch) -> (u64, mpsc::UnboundedReceiver<Then>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let id = self.next_watch.fetch_add(1, Ordering::Relaxed);
        self.watches.lock().insert(id, (open, sender));
        (id, receiver)
    }

    /// Takes a watch out.
    pub fn leave(&self, id: u64) {
        self.watches.lock().remove(&id);
    }

    /// The open watches.
    pub fn watches(&self) -> Vec<OpenWatch> {
        self.watches.lock().values().map(|(open, _)| open.clone()).collect()
    }

    /// Does something to the open watches of a type (plural, or with its group; empty for all), and says to how many.
    pub fn strike(&self, resource: &str, then: &Then) -> usize {
        let watches = self.watches.lock();
        let meant = watches.values().filter(|(open, _)| {
            let plural = open.resource.split_once('.').map_or(open.resource.as_str(), |(plural, _)| plural);
            resource.is_empty() || resource == open.resource || resource == plural
        });
        meant.filter(|(_, commands)| commands.send(then.clone()).is_ok()).count()
    }
}
