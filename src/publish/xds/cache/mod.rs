//! All current resources by type and name: one writer applies whole model updates, many clients read.
//!
//! Laws: an update is visible as a whole or not at all; what is encoded is encoded once for all clients that
//! see the same; a change costs what it touches, however much else is held.

mod apply;
mod check;
mod good;
mod log;
mod scoped;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_actors::Map;
use tidegate_actors::id::Name;

pub use apply::no_endpoints;
pub use check::Checks;
use good::{Departed, Goods};
pub use log::{Entry, Log};
use scoped::{GoodByScope, Scoped};

use super::encode;
use super::kind::Kind;
use super::resource::{Resource, Source};
use super::rope::Digest;
use super::scope::Scope;
use crate::model::{GatewayId, Listener};

/// How many changes a client may be behind before it compares everything.
const LOG: usize = 65_536;

/// What one client sees.
#[derive(Clone, Debug)]
pub struct View {
    /// The Gateways that it serves.
    pub scope: Scope,
    /// Whether routing tables carry their virtual hosts (state of the world), or these go apart (delta).
    pub inline: bool,
}

/// See the module.
pub struct Cache {
    version: u64,
    clusters: Map<Name, Arc<Resource>>,
    /// One for each cluster, and for some that were told early.
    endpoints: Map<Name, Arc<Resource>>,
    secrets: Map<Name, Arc<Resource>>,
    listeners: Map<Name, ListenerEntry>,
    tables: Map<Name, Table>,
    /// Virtual hosts, sentinels included.
    hosts: Map<Name, Arc<Resource>>,
    hosts_of: Map<Name, BTreeSet<Name>>,
    /// By cluster, then virtual host: how many of its routes lead there.
    leads: Map<Name, Map<Name, u32>>,
    log: Log,
    /// Earlier versions that clients accepted.
    goods: Goods,
    /// Clusters that went lately.
    departed: Departed,
}

struct ListenerEntry {
    model: Arc<Listener>,
    scoped: Scoped,
    good: GoodByScope,
}

struct Table {
    apart: Arc<Resource>,
    inline: Scoped,
    good: GoodByScope,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with_log(LOG)
    }
}

impl Cache {
    /// Empty; remembers so many changes.
    pub fn with_log(capacity: usize) -> Self {
        Self {
            version: 0,
            clusters: Map::default(),
            endpoints: Map::default(),
            secrets: Map::default(),
            listeners: Map::default(),
            tables: Map::default(),
            hosts: Map::default(),
            hosts_of: Map::default(),
            leads: Map::default(),
            log: Log::new(capacity),
            goods: Goods::default(),
            departed: Departed::default(),
        }
    }

    /// The model's version that it stands at; 0 before the first update, when nobody may be told anything.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What a client sees under a name.
    pub fn get(&self, kind: Kind, name: &str, view: &View) -> Option<Arc<Resource>> {
        let seen = |resource: &&Arc<Resource>| view.scope.sees(&resource.gateways);
        match kind {
            Kind::Cluster => self.clusters.get(name).filter(seen).cloned(),
            Kind::Endpoints => {
                self.clusters.get(name).filter(seen)?;
                self.endpoints.get(name).cloned()
            }
            Kind::Secret => self.secrets.get(name).filter(seen).cloned(),
            Kind::Listener => {
                let entry = self.listeners.get(name)?;
                entry.scoped.get(&view.scope, || encode_listener(name, &entry.model, &view.scope))
            }
            Kind::RouteConfig => {
                let table = self.tables.get(name).filter(|table| view.scope.sees(&table.apart.gateways))?;
                if !view.inline {
                    return Some(table.apart.clone());
                }
                table.inline.get(&view.scope, || Some(self.encode_inline(name, table, &view.scope)))
            }
            Kind::VirtualHost => self.hosts.get(name).filter(seen).cloned(),
        }
    }

    /// A name as the cache holds it, if it does: a thousand clients that name the same ten thousand share them.
    pub fn shared_name(&self, kind: Kind, name: &str) -> Name {
        let known = match kind {
            Kind::Cluster | Kind::Endpoints => self.clusters.get_key_value(name).map(|(name, _)| name),
            Kind::Secret => self.secrets.get_key_value(name).map(|(name, _)| name),
            Kind::Listener => self.listeners.get_key_value(name).map(|(name, _)| name),
            Kind::RouteConfig => self.tables.get_key_value(name).map(|(name, _)| name),
            Kind::VirtualHost => self.hosts.get_key_value(name).map(|(name, _)| name),
        };
        known.cloned().unwrap_or_else(|| Name::from(name))
    }

    /// Everything of a type that a client sees, by name.
    pub fn names(&self, kind: Kind, view: &View) -> Vec<Name> {
        let all: Vec<&Name> = match kind {
            Kind::Cluster | Kind::Endpoints => self.clusters.keys().collect(),
            Kind::Secret => self.secrets.keys().collect(),
            Kind::Listener => self.listeners.keys().collect(),
            Kind::RouteConfig => self.tables.keys().collect(),
            Kind::VirtualHost => self.hosts.keys().collect(),
        };
        all.into_iter().filter(|name| self.get(kind, name, view).is_some()).cloned().collect()
    }

    /// The virtual hosts of a table, its sentinel included.
    pub fn hosts_of(&self, table: &str) -> impl Iterator<Item = &Name> {
        self.hosts_of.get(table).into_iter().flatten()
    }

    /// The virtual hosts with routes that lead to a cluster.
    pub fn hosts_leading_to(&self, cluster: &str) -> impl Iterator<Item = &Name> {
        self.leads.get(cluster).into_iter().flat_map(|hosts| hosts.keys())
    }

    /// What changed after a version; `None` if that is too long ago to tell.
    pub fn changes_since(&self, version: u64) -> Option<impl Iterator<Item = &Entry>> {
        self.log.since(version)
    }

    fn encode_inline(&self, name: &str, table: &Table, scope: &Scope) -> Arc<Resource> {
        let hosts: Vec<_> = self
            .hosts_of(name)
            .filter_map(|host| self.hosts.get(host))
            .filter(|host| scope.sees(&host.gateways))
            .cloned()
            .collect();
        let body = encode::encode_inline_route_config(name, hosts.iter().map(|host| host.body()));
        let head = Digest::of(body.segments().next().map_or(&[], |head| head));
        let digest = hosts.iter().fold(head, |digest, host| digest.then(Digest::of(&host.version.0.to_le_bytes())));
        let gateways: Arc<[GatewayId]> = table.apart.gateways.clone();
        Resource::new(Kind::RouteConfig, name.into(), body, digest, gateways, Source::Table(hosts))
    }
}

fn encode_listener(name: &str, model: &Arc<Listener>, scope: &Scope) -> Option<Arc<Resource>> {
    let body = encode::encode_listener(model, scope)?;
    Some(Resource::small(Kind::Listener, name.into(), body, [].into(), Source::Listener(model.clone())))
}

/// The table that a virtual host's name says it belongs to.
pub fn table_of(host: &str) -> &str {
    host.rsplit_once('/').map_or(host, |(table, _)| table)
}
