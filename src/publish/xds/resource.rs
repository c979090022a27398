//! One resource as proxies are sent it: encoded once, shared by all clients, and traced to its objects.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tidegate_actors::id::{Name, ObjectRef};

use super::encode::{self, HostEncoding};
use super::kind::Kind;
use super::rope::{Digest, Rope, Version};
use super::wire;
use crate::model::{Cluster, Endpoints, GatewayId, Listener, Protocol, Secret};

/// See the module. Its `Debug` shows no content: it may be a private key.
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its name among those of its type.
    pub name: Name,
    /// Hash of its content.
    pub version: Version,
    /// Whose proxies are sent it.
    pub gateways: Arc<[GatewayId]>,
    /// What it was encoded from.
    pub source: Source,
    body: Rope,
    delta_head: Bytes,
    verdict: Arc<Verdict>,
}

/// What clients have said about a version. Shared by all forms that it is sent in; a client says it without a lock.
#[derive(Default)]
struct Verdict {
    accepted: AtomicBool,
    rejected: AtomicBool,
}

/// What a resource was encoded from.
#[derive(Clone)]
pub enum Source {
    /// The kind of table that all proxies get alike; or a sentinel.
    Fixed,
    /// A listener, or those of its filter chains that a scope sees.
    Listener(Arc<Listener>),
    /// A virtual host: its encoded routes, which hold the routes.
    Host(Arc<HostEncoding>),
    /// A routing table with its virtual hosts inline.
    Table(Vec<Arc<Resource>>),
    /// A cluster.
    Cluster(Arc<Cluster>),
    /// Endpoints.
    Endpoints(Arc<Endpoints>),
    /// A certificate.
    Secret(Arc<Secret>),
}

/// Field of `resources` in `DeltaDiscoveryResponse`, and in `DiscoveryResponse` too.
const RESOURCES: u32 = 2;

impl Resource {
    /// A resource with a content hash that is known already.
    pub fn new(
        kind: Kind,
        name: Name,
        body: Rope,
        digest: Digest,
        gateways: Arc<[GatewayId]>,
        source: Source,
    ) -> Arc<Self> {
        let version = digest.version();
        let delta_head = wire::resource_head(RESOURCES, kind, &name, &version.to_string(), body.len());
        Arc::new(Self { kind, name, version, gateways, source, body, delta_head, verdict: Arc::default() })
    }

    /// A small resource, hashed here.
    pub fn small(kind: Kind, name: Name, body: Vec<u8>, gateways: Arc<[GatewayId]>, source: Source) -> Arc<Self> {
        let digest = Digest::of(&body);
        Self::new(kind, name, Rope::from(body), digest, gateways, source)
    }

    /// The same again for a client that rejected it, in such a form that the client tries it again. Its version
    /// stays, since its content does.
    pub fn again(self: &Arc<Self>, salt: u64) -> Arc<Self> {
        let Source::Secret(secret) = &self.source else { return self.clone() };
        let body = Rope::from(encode::encode_secret(secret, Some(salt)));
        let (kind, name, version) = (self.kind, self.name.clone(), self.version);
        let delta_head = wire::resource_head(RESOURCES, kind, &name, &version.to_string(), body.len());
        let (gateways, source) = (self.gateways.clone(), self.source.clone());
        let verdict = self.verdict.clone();
        Arc::new(Self { kind, name, version, gateways, source, body, delta_head, verdict })
    }

    /// What clients have said of an earlier one counts for this one too, if it says the same. To be called before
    /// anybody else has it.
    pub fn inherit(new: &mut Arc<Self>, old: &Self) {
        if new.version == old.version
            && let Some(new) = Arc::get_mut(new)
        {
            new.verdict = old.verdict.clone();
        }
    }

    /// A client accepted it, alone or beside others.
    pub fn set_accepted(&self) {
        self.verdict.accepted.store(true, Ordering::Relaxed);
    }

    /// A client rejected it when it stood alone.
    pub fn set_rejected(&self) {
        self.verdict.rejected.store(true, Ordering::Relaxed);
    }

    /// Whether any client has accepted it.
    pub fn is_accepted(&self) -> bool {
        self.verdict.accepted.load(Ordering::Relaxed)
    }

    /// Whether any client has rejected it when it stood alone.
    pub fn is_rejected(&self) -> bool {
        self.verdict.rejected.load(Ordering::Relaxed)
    }

    /// Whether clients have accepted it and none has rejected it.
    pub fn is_undisputed(&self) -> bool {
        self.is_accepted() && !self.is_rejected()
    }

    /// The encoded message.
    pub fn body(&self) -> &Rope {
        &self.body
    }

    /// Appends it to a `DeltaDiscoveryResponse`.
    pub fn write_delta(&self, into: &mut Rope) {
        into.push(self.delta_head.clone());
        into.append(&self.body);
    }

    /// Appends it to a `DiscoveryResponse`.
    pub fn write_sotw(&self, into: &mut Rope) {
        into.push(wire::any_head(RESOURCES, self.kind, self.body.len()));
        into.append(&self.body);
    }

    /// Whether a route in it leads to a cluster. Costs a look at every route's clusters.
    pub fn routes_to(&self, cluster: &str) -> bool {
        match &self.source {
            Source::Host(encoding) => encoding.routes_to(cluster),
            Source::Table(hosts) => hosts.iter().any(|host| host.routes_to(cluster)),
            _ => false,
        }
    }

    /// The clusters that routes in it lead to, some of them perhaps several times.
    pub fn clusters(&self) -> Vec<&Name> {
        match &self.source {
            Source::Host(encoding) => encoding.clusters().collect(),
            Source::Table(hosts) => hosts.iter().flat_map(|host| host.clusters()).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a listener asks for a routing table or a certificate by name.
    pub fn names(&self, kind: Kind, name: &str) -> bool {
        let Source::Listener(listener) = &self.source else { return false };
        listener.chains.iter().any(|chain| match (kind, &chain.protocol) {
            (Kind::RouteConfig, _) => *chain.route_config == *name,
            (Kind::Secret, Protocol::Https(tls)) => tls.certificates.iter().any(|id| id.to_string() == name),
            _ => false,
        })
    }

    /// The objects that could have made it bad since a version that was good; all of its objects without one.
    /// Sorted, each once.
    pub fn suspects(&self, good: Option<&Self>) -> Vec<ObjectRef> {
        let mut objects = match (&self.source, good.map(|good| &good.source)) {
            (Source::Fixed, _) => Vec::new(),
            (Source::Listener(listener), _) => {
                listener.chains.iter().flat_map(|chain| chain.origins.iter().cloned()).collect()
            }
            (Source::Host(encoding), Some(Source::Host(before))) => encoding.changed_origins(Some(before)),
            (Source::Host(encoding), _) => encoding.changed_origins(None),
            (Source::Table(hosts), good) => {
                let before: &[Arc<Self>] = if let Some(Source::Table(before)) = good { before } else { &[] };
                let changed = hosts.iter().filter(|host| !before.iter().any(|old| Arc::ptr_eq(old, host)));
                changed.flat_map(|host| host.suspects(find(before, &host.name))).collect()
            }
            (Source::Cluster(cluster), _) => vec![cluster.origin.clone()],
            (Source::Endpoints(endpoints), _) => endpoints.origins.clone(),
            (Source::Secret(secret), _) => vec![secret.origin.clone()],
        };
        objects.sort();
        objects.dedup();
        objects
    }
}

fn find<'a>(hosts: &'a [Arc<Resource>], name: &str) -> Option<&'a Resource> {
    hosts.iter().find(|host| &*host.name == name).map(|host| &**host)
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.kind, self.name, self.version)
    }
}
