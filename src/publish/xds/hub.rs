//! What clients share: the cache, and the word that it changed. The publisher's handle to all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;
use tidegate_actors::watch;

use super::admission::ClientRule;
use super::cache::{Cache, Checks, View};
use super::kind::Kind;
use super::options::Options;
use super::scope::Scope;
use super::status::{ClientStatus, PublishedResource};
use super::text::{self, TextError, TextResource};
use crate::model::ModelUpdate;
use crate::publish::rejections::Rejections;

/// Publishes the model to Envoys over xDS. Cheap to clone; all clones are one publisher.
#[derive(Clone)]
pub struct XdsPublisher {
    pub(super) hub: Arc<Hub>,
}

pub(super) struct Hub {
    pub options: Options,
    /// What those may see who prove who they are.
    pub rules: watch::Sender<Vec<ClientRule>>,
    pub env: Env,
    pub problems: Problems,
    pub rejections: Rejections,
    pub cache: RwLock<Cache>,
    /// Held while an update is applied; clients read the cache meanwhile.
    writer: Mutex<Checks>,
    /// The newest version.
    changed: watch::Sender<u64>,
    pub clients: Mutex<BTreeMap<u64, Arc<Mutex<ClientStatus>>>>,
    next_client: AtomicU64,
}

impl XdsPublisher {
    /// A publisher that has nothing yet, and says nothing to anybody until it does.
    pub fn new(options: Options, problems: Problems, env: Env) -> Self {
        let hub = Hub {
            rules: watch::Sender::new(options.clients.clone()),
            options,
            env,
            cache: RwLock::new(Cache::default()),
            writer: Mutex::new(Checks::new(problems.clone())),
            problems,
            rejections: Rejections::default(),
            changed: watch::Sender::new(0),
            clients: Mutex::new(BTreeMap::new()),
            next_client: AtomicU64::new(1),
        };
        Self { hub: Arc::new(hub) }
    }

    /// What clients may see from now on. Streams of those who may not see any more what they see end, and all others go
    /// on.
    pub fn set_clients(&self, rules: Vec<ClientRule>) {
        self.hub.rules.send_replace(rules);
    }

    /// Applies a step of the model and tells all clients, without waiting for any of them.
    pub fn apply(&self, update: &ModelUpdate) {
        let mut checks = self.hub.writer.lock();
        // Nobody else writes while we hold the checks, so what is prepared against is what it is committed to.
        let step = self.hub.cache.read().prepare(update);
        let (touched, version) = {
            let mut cache = self.hub.cache.write();
            (cache.commit(step), cache.version())
        };
        checks.run(&self.hub.cache.read(), &touched);
        self.hub.changed.send_replace(version);
    }

    /// The model's version that clients are being sent; 0 before the first.
    pub fn version(&self) -> u64 {
        *self.hub.changed.borrow()
    }

    /// Whether there is something to publish. Before that, clients are connected and told nothing.
    pub fn is_ready(&self) -> bool {
        self.version() > 0
    }

    /// Waits until there is something to publish.
    pub async fn ready(&self) {
        // It fails only for want of a hub.
        let _ = self.hub.changed.subscribe().wait_for(|version| *version > 0).await;
    }

    /// Whether every client has confirmed all of what is published now that it wants.
    pub fn is_live(&self) -> bool {
        let (version, clients) = (self.version(), self.hub.clients.lock());
        clients.values().all(|client| client.lock().live_version >= version)
    }

    /// Everything that is published, as a delta client of all Gateways would be sent it: by type, then name.
    /// Certificates are left out, since they hold keys.
    pub fn resources(&self) -> Vec<PublishedResource> {
        self.published(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret), Scope::All)
    }

    /// The same for a client of these Gateways alone, each `namespace/name` or `namespace/*`.
    ///
    /// # Errors
    /// When one of the names is neither.
    pub fn resources_of(&self, gateways: &[&str]) -> Result<Vec<PublishedResource>, String> {
        let scope = Scope::named(gateways.iter().copied())?;
        Ok(self.published(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret), scope))
    }

    /// The same as people read it, and certificates too: without their keys.
    ///
    /// # Errors
    /// When what we encoded cannot be read, which would be a defect.
    pub fn text(&self) -> Result<Vec<TextResource>, TextError> {
        self.published(Kind::ALL, Scope::All).iter().map(text::text).collect()
    }

    fn published(&self, kinds: impl IntoIterator<Item = Kind>, scope: Scope) -> Vec<PublishedResource> {
        let cache = self.hub.cache.read();
        let view = View { scope, inline: false };
        let mut all = Vec::new();
        for kind in kinds {
            let mut names = cache.names(kind, &view);
            names.sort();
            all.extend(names.iter().filter_map(|name| cache.get(kind, name, &view)).map(|resource| {
                let (name, version) = (resource.name.to_string(), resource.version.to_string());
                PublishedResource { kind, name, version, body: resource.body().flat() }
            }));
        }
        all
    }

    /// What clients reject, by object.
    pub fn rejections(&self) -> &Rejections {
        &self.hub.rejections
    }

    /// All connected clients, in the order in which they came.
    pub fn clients(&self) -> Vec<ClientStatus> {
        let clients: Vec<_> = self.hub.clients.lock().values().cloned().collect();
        clients.iter().map(|client| client.lock().clone()).collect()
    }
}

impl Hub {
    /// A number for the next client.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells of every version from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
