//! A model update becomes a step of the cache in two halves: everything is encoded while clients still read the
//! old state, then it is put in place in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_actors::id::Name;
use tidegate_actors::parallel;
use tokio::time::Instant;

use super::scoped::{GoodByScope, Scoped};
use super::{Cache, Entry, ListenerEntry, Table, table_of};
use crate::model::{GatewayId, Listener, ModelUpdate};
use crate::publish::xds::encode;
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::{Resource, Source};

/// An update, encoded.
pub struct Step {
    version: u64,
    since: Option<Instant>,
    resources: Vec<(Kind, Name, Option<Arc<Resource>>)>,
    listeners: Vec<(Name, Option<Arc<Listener>>)>,
    hosts: Vec<HostStep>,
}

struct HostStep {
    name: Name,
    resource: Option<Arc<Resource>>,
    gained: Vec<Name>,
    lost: Vec<Name>,
}

/// What a step touched that the checks look at.
#[derive(Default)]
pub struct Touched {
    /// Clusters that came, went, or that routes began or ceased to lead to.
    pub clusters: BTreeSet<Name>,
    /// Whether listeners changed, or certificates came or went.
    pub certificates: bool,
}

impl Cache {
    /// Encodes an update against the current state. Nothing else may be committed before this is.
    pub fn prepare(&self, update: &ModelUpdate) -> Step {
        let mut resources = parallel::map(&update.clusters, |(id, model)| {
            let name = Name::from(id.to_string());
            let resource = model.as_ref().map(|model| {
                let body = encode::encode_cluster(model);
                let (gateways, source) = (model.gateways.clone(), Source::Cluster(model.clone()));
                Resource::small(Kind::Cluster, name.clone(), body, gateways, source)
            });
            (Kind::Cluster, name, resource)
        });
        resources.extend(parallel::map(&update.endpoints, |(id, model)| {
            let name = Name::from(id.to_string());
            let resource = model.as_ref().map(|model| {
                let body = encode::encode_endpoints(model);
                Resource::small(Kind::Endpoints, name.clone(), body, [].into(), Source::Endpoints(model.clone()))
            });
            (Kind::Endpoints, name, resource)
        }));
        resources.extend(update.secrets.iter().map(|(id, model)| {
            let name = Name::from(id.to_string());
            let resource = model.as_ref().map(|model| {
                let body = encode::encode_secret(model, None);
                let (gateways, source) = (model.gateways.clone(), Source::Secret(model.clone()));
                Resource::small(Kind::Secret, name.clone(), body, gateways, source)
            });
            (Kind::Secret, name, resource)
        }));
        let listeners = update.listeners.iter().map(|(id, model)| (Name::from(id.to_string()), model.clone()));
        let hosts = parallel::map(&update.virtual_hosts, |(id, model)| {
            let name = Name::from(id.to_string());
            let previous = self.hosts.get(&name).and_then(|host| match &host.source {
                Source::Host(encoding) => Some(encoding),
                _ => None,
            });
            let Some(model) = model else {
                let lost = previous.map_or_else(Vec::new, |encoding| encoding.clusters().cloned().collect());
                return HostStep { name, resource: None, gained: Vec::new(), lost };
            };
            let encoded = encode::encode_virtual_host(model, previous.map(|encoding| &**encoding));
            let (gateways, source) = ([model.gateway.clone()].into(), Source::Host(encoded.encoding));
            let (kind, body, digest) = (Kind::VirtualHost, encoded.body, encoded.digest);
            let resource = Resource::new(kind, name.clone(), body, digest, gateways, source);
            HostStep { name, resource: Some(resource), gained: encoded.gained, lost: encoded.lost }
        });
        Step {
            // Versions grow by contract; one that does not must not hide the changes that it came with.
            version: update.version.max(self.version + 1),
            since: update.since,
            listeners: listeners.collect(),
            hosts,
            resources,
        }
    }

    /// Puts a step in place.
    pub fn commit(&mut self, step: Step) -> Touched {
        let mut touched = Touched::default();
        self.version = step.version;
        for (kind, name, resource) in step.resources {
            self.commit_small(kind, name, resource, step.since, &mut touched);
        }
        for host in step.hosts {
            self.commit_host(host, step.since, &mut touched);
        }
        if !step.listeners.is_empty() {
            touched.certificates = true;
            for (name, model) in step.listeners {
                match model {
                    Some(model) => {
                        let mut good = GoodByScope::default();
                        if let Some(mut old) = self.listeners.remove(&name) {
                            good = old.good;
                            old.scoped.renew(&mut good);
                        }
                        self.listeners.insert(name.clone(), ListenerEntry { model, scoped: Scoped::default(), good });
                    }
                    None => drop(self.listeners.remove(&name)),
                }
                self.changed(Kind::Listener, name, step.since);
            }
            self.rebuild_tables(step.since);
        }
        self.forget_goods();
        touched
    }

    fn changed(&mut self, kind: Kind, name: Name, since: Option<Instant>) {
        self.log.push(Entry { version: self.version, since, kind, name });
    }

    fn commit_small(
        &mut self,
        kind: Kind,
        name: Name,
        resource: Option<Arc<Resource>>,
        since: Option<Instant>,
        touched: &mut Touched,
    ) {
        let resource = match (kind, resource) {
            // A cluster that lost its endpoints' entry has none, which is not the same as waiting for some.
            (Kind::Endpoints, None) if self.clusters.contains_key(&name) => Some(no_endpoints(&name)),
            (_, resource) => resource,
        };
        let held = match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoints => &mut self.endpoints,
            _ => &mut self.secrets,
        };
        let resource = resource.map(|mut new| {
            held.get(&name).inspect(|old| Resource::inherit(&mut new, old));
            new
        });
        let old = match &resource {
            Some(new) => held.insert(name.clone(), new.clone()),
            None => held.remove(&name),
        };
        let good = self.goods.of(kind, &name).cloned();
        if let Some(old) = old.as_ref().filter(|old| resource.as_ref().is_none_or(|new| new.version != old.version)) {
            self.goods.replaced(old, resource.is_none());
        }
        let came_or_went = old.is_some() != resource.is_some();
        let audience_changed = old.as_ref().map(|old| &old.gateways) != resource.as_ref().map(|new| &new.gateways);
        let content_changed = old.as_ref().map(|old| old.version) != resource.as_ref().map(|new| new.version);
        let last = old.as_ref().filter(|old| old.is_accepted()).or(good.as_ref()).or(old.as_ref()).cloned();
        if let Some(last) = last.filter(|_| kind == Kind::Cluster && audience_changed) {
            let newest = self.endpoints.get(&name);
            let accepted = newest.filter(|endpoints| endpoints.is_accepted());
            let accepted = accepted.or_else(|| self.goods.of(Kind::Endpoints, &name));
            self.departed.note(last, accepted.or(newest).cloned());
        }
        match kind {
            Kind::Cluster if came_or_went => {
                touched.clusters.insert(name.clone());
                if resource.is_none() {
                    if let Some(old) = self.endpoints.remove(&name) {
                        self.goods.replaced(&old, true);
                    }
                } else {
                    self.endpoints.entry(name.clone()).or_insert_with_key(no_endpoints);
                }
            }
            Kind::Secret if came_or_went => touched.certificates = true,
            _ => {}
        }
        if kind == Kind::Cluster && audience_changed {
            self.changed(Kind::Endpoints, name.clone(), since);
        }
        if content_changed || audience_changed {
            self.changed(kind, name, since);
        }
    }

    fn commit_host(&mut self, host: HostStep, since: Option<Instant>, touched: &mut Touched) {
        let HostStep { name, resource, gained, lost } = host;
        for cluster in &gained {
            *self.leads.entry(cluster.clone()).or_default().entry(name.clone()).or_default() += 1;
        }
        for cluster in &lost {
            let Some(hosts) = self.leads.get_mut(cluster) else { continue };
            if let Some(count) = hosts.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    hosts.remove(&name);
                }
            }
            if hosts.is_empty() {
                self.leads.remove(cluster);
            }
        }
        touched.clusters.extend(gained.into_iter().chain(lost));
        let seen = |host: &Arc<Resource>| (host.version, host.gateways.clone());
        let new = resource.as_ref().map(seen);
        // Replaced even when it encodes the same: its source must be the newest, for the next encoding.
        let old = self.put_host(&name, resource);
        let changed = old.as_ref().map(seen) != new;
        if let Some(old) = old.filter(|_| changed) {
            self.goods.replaced(&old, new.is_none());
        }
        if let Some(table) = self.tables.get_mut(table_of(&name)).filter(|_| changed) {
            table.inline.renew(&mut table.good);
        }
        if changed {
            self.changed(Kind::VirtualHost, name, since);
        }
    }

    fn put_host(&mut self, name: &Name, resource: Option<Arc<Resource>>) -> Option<Arc<Resource>> {
        let table = table_of(name);
        match resource {
            Some(mut new) => {
                self.hosts.get(name).inspect(|old| Resource::inherit(&mut new, old));
                let old = self.hosts.insert(name.clone(), new);
                if old.is_none() {
                    self.hosts_of.entry(table.into()).or_default().insert(name.clone());
                }
                old
            }
            None => {
                if let Some(hosts) = self.hosts_of.get_mut(table) {
                    hosts.remove(name);
                    if hosts.is_empty() {
                        self.hosts_of.remove(table);
                    }
                }
                self.hosts.remove(name)
            }
        }
    }

    /// A table exists as long as a filter chain names it.
    fn rebuild_tables(&mut self, since: Option<Instant>) {
        let mut wanted: BTreeMap<Name, BTreeSet<GatewayId>> = BTreeMap::new();
        for chain in self.listeners.values().flat_map(|entry| &entry.model.chains) {
            wanted.entry(chain.route_config.clone()).or_default().extend(chain.gateways.iter().cloned());
        }
        let gone: Vec<Name> = self.tables.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            self.tables.remove(&name);
            let sentinel = sentinel_of(&name);
            self.put_host(&sentinel, None);
            self.changed(Kind::RouteConfig, name, since);
            self.changed(Kind::VirtualHost, sentinel, since);
        }
        for (name, gateways) in wanted {
            let gateways: Arc<[GatewayId]> = gateways.into_iter().collect();
            if self.tables.get(&name).is_some_and(|table| table.apart.gateways == gateways) {
                continue;
            }
            let body = encode::encode_route_config(&name);
            let apart = Resource::small(Kind::RouteConfig, name.clone(), body, gateways.clone(), Source::Fixed);
            let mut good = GoodByScope::default();
            if let Some(mut old) = self.tables.remove(&name) {
                good = old.good;
                old.inline.renew(&mut good);
            }
            self.tables.insert(name.clone(), Table { apart, inline: Scoped::default(), good });
            let sentinel = sentinel_of(&name);
            let body = encode::encode_sentinel(&sentinel);
            let host = Resource::small(Kind::VirtualHost, sentinel.clone(), body, gateways, Source::Fixed);
            self.put_host(&sentinel, Some(host));
            self.changed(Kind::RouteConfig, name, since);
            self.changed(Kind::VirtualHost, sentinel, since);
        }
    }
}

fn sentinel_of(table: &str) -> Name {
    format!("{table}/{}", encode::SENTINEL).into()
}

/// The endpoints of a cluster that has none, or is not there any more.
pub fn no_endpoints(cluster: &Name) -> Arc<Resource> {
    let body = encode::encode_no_endpoints(cluster);
    Resource::small(Kind::Endpoints, cluster.clone(), body, [].into(), Source::Fixed)
}
