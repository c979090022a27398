//! A gateway model in plain numbers, and what a client of some scope must see of it. Knows nothing of the cache, the
//! encoders or the session; what it builds for them is compared with what comes out at the other end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{PathMatch, RouteAction};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::testing::*;

/// A resource's type and name.
pub type Key = (Kind, String);

/// What a resource says, read back from its bytes or made up from the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    Cluster(u8),
    /// `None`: no endpoints.
    Endpoints(Option<u8>),
    Secret(u8),
    /// Filter chains: the table, and certificates.
    Listener(Vec<(String, Vec<String>)>),
    Table,
    Inline(BTreeMap<String, Host>),
    Host(Host),
}

/// A virtual host: its revision, `None` for a sentinel, and the clusters that it leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    pub revision: Option<u8>,
    pub leads_to: BTreeSet<String>,
}

/// The revision that every client rejects.
pub const POISON: u8 = 7;
/// The revision that only some clients reject.
pub const ACQUIRED_TASTE: u8 = 6;

impl Content {
    /// Whether a client rejects it; `picky` ones reject more.
    pub fn is_bad(&self, picky: bool) -> bool {
        let bad = |revision: u8| revision == POISON || (picky && revision == ACQUIRED_TASTE);
        match self {
            Self::Cluster(revision) | Self::Secret(revision) => bad(*revision),
            Self::Endpoints(revision) => revision.is_some_and(bad),
            Self::Host(host) => host.revision.is_some_and(bad),
            Self::Inline(hosts) => hosts.values().any(|host| host.revision.is_some_and(bad)),
            Self::Listener(chains) => chains.iter().any(|(table, _)| table.ends_with("/bad")),
            Self::Table => false,
        }
    }

    /// The clusters that requests may be sent to by it.
    pub fn leads_to(&self) -> BTreeSet<String> {
        match self {
            Self::Host(host) => host.leads_to.clone(),
            Self::Inline(hosts) => hosts.values().flat_map(|host| host.leads_to.iter().cloned()).collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// What a client is entitled to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Gateways as bits; `None` for all.
    pub scope: Option<u8>,
    pub inline: bool,
}

impl Sight {
    fn sees(self, gateways: u8) -> bool {
        self.scope.is_none_or(|scope| scope & gateways != 0)
    }
}

pub const GATEWAYS: [&str; 2] = ["public", "other"];
pub const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
const SECRETS: [&str; 2] = ["s", "t"];
const PORTS: [u16; 2] = [8080, 8081];
const DOMAINS: [&str; 2] = ["x.test", "y.test"];

pub fn cluster_name(service: u8) -> String {
    format!("test/apps/{}/80", SERVICES[usize::from(service)])
}

fn secret_name(secret: u8) -> String {
    format!("test/apps/{}", SECRETS[usize::from(secret)])
}

fn table_name(table: u8) -> String {
    match table {
        0 | 1 => format!("http/127.0.0.1:{}", PORTS[usize::from(table)]),
        _ => "https/test/infra/public/web".to_owned(),
    }
}

/// Names of a type that clients ask for, some of which there never are.
pub fn names(kind: Kind) -> Vec<String> {
    let with = |mut names: Vec<String>, unknown: &str| {
        names.push(unknown.to_owned());
        names
    };
    let hosts = || (0..3).flat_map(|table| DOMAINS.map(|domain| format!("{}/{domain}", table_name(table))));
    match kind {
        Kind::Cluster | Kind::Endpoints => with((0..4).map(cluster_name).collect(), "test/apps/zz/80"),
        Kind::Secret => with((0..2).map(secret_name).collect(), "test/apps/zz"),
        Kind::Listener => with(PORTS.iter().map(|port| format!("127.0.0.1:{port}")).collect(), "127.0.0.1:1"),
        Kind::RouteConfig => with((0..3).map(table_name).collect(), "http/127.0.0.1:1"),
        Kind::VirtualHost => with(hosts().collect(), "http/127.0.0.1:1/x.test"),
    }
}

/// The bits of a listener's filter chains.
pub const CHAINS: u8 = 5;

/// A chain by its bit: table, gateways, certificates.
fn chain(port: u8, bit: u8) -> (String, u8, Vec<String>) {
    match bit {
        0 => (table_name(port), 1, vec![]),
        1 => (table_name(port), 2, vec![]),
        2 => (table_name(2), 1, vec![secret_name(0)]),
        3 => (table_name(2), 1, vec![secret_name(0), secret_name(1)]),
        _ => ("https/test/infra/other/bad".to_owned(), 2, vec![]),
    }
}

/// A change to the world. What it means does not depend on the ones before it, so that these can be left out.
#[derive(Clone, Debug)]
pub enum Change {
    Cluster {
        service: u8,
        revision: u8,
        gateways: u8,
    },
    /// Together with what leads there, as a model from real objects has it; or alone, and routes dangle.
    NoCluster {
        service: u8,
        alone: bool,
    },
    Endpoints {
        service: u8,
        revision: Option<u8>,
    },
    Secret {
        secret: u8,
        revision: Option<u8>,
        gateways: u8,
    },
    /// Its chains as bits; without any it is removed.
    Listener {
        port: u8,
        chains: u8,
    },
    Host {
        table: u8,
        domain: u8,
        revision: u8,
        services: u8,
        gateway: u8,
    },
    NoHost {
        table: u8,
        domain: u8,
    },
}

/// See the module. All by number: revisions, and Gateways as bits.
#[derive(Clone, Default)]
pub struct World {
    clusters: BTreeMap<u8, (u8, u8)>,
    endpoints: BTreeMap<u8, u8>,
    secrets: BTreeMap<u8, (u8, u8)>,
    listeners: BTreeMap<u8, u8>,
    /// Revision, services as bits, and the Gateway.
    hosts: BTreeMap<(u8, u8), (u8, u8, u8)>,
}

impl World {
    pub fn change(&mut self, change: &Change) {
        match *change {
            Change::Cluster { service, revision, gateways } => {
                self.clusters.insert(service, (revision, gateways));
            }
            Change::NoCluster { service, alone } => {
                self.clusters.remove(&service);
                self.endpoints.remove(&service);
                if !alone {
                    for (_, services, _) in self.hosts.values_mut() {
                        *services &= !(1 << service);
                    }
                }
            }
            Change::Endpoints { service, revision } => {
                match revision.filter(|_| self.clusters.contains_key(&service)) {
                    Some(revision) => drop(self.endpoints.insert(service, revision)),
                    None => drop(self.endpoints.remove(&service)),
                }
            }
            Change::Secret { secret, revision, gateways } => match revision {
                Some(revision) => drop(self.secrets.insert(secret, (revision, gateways))),
                None => drop(self.secrets.remove(&secret)),
            },
            Change::Listener { port, chains: 0 } => drop(self.listeners.remove(&port)),
            Change::Listener { port, chains } => drop(self.listeners.insert(port, chains)),
            Change::Host { table, domain, revision, services, gateway } => {
                self.hosts.insert((table, domain), (revision, services, gateway));
            }
            Change::NoHost { table, domain } => drop(self.hosts.remove(&(table, domain))),
        }
    }

    /// The step of the real model that leads from this world to a later one.
    pub fn step_to(&self, next: &Self, version: u64) -> Update {
        let mut update = Update::to(version);
        for (service, value) in changed(&self.clusters, &next.clusters) {
            let Some((revision, gateways)) = value else {
                update.0.clusters.push((mk_cluster_id(SERVICES[usize::from(service)]), None));
                continue;
            };
            let mut cluster = mk_cluster(SERVICES[usize::from(service)]);
            cluster.connect_timeout = Duration::from_secs(revision.into());
            cluster.gateways = mk_gateways(gateways);
            update = update.cluster(cluster);
        }
        for (service, value) in changed(&self.endpoints, &next.endpoints) {
            let name = SERVICES[usize::from(service)];
            match value {
                None => update.0.endpoints.push((mk_cluster_id(name), None)),
                Some(revision) => {
                    let address = ([10, 0, 0, 1], 1 + u16::from(revision)).into();
                    update = update.endpoints(mk_endpoints(name, &[address]));
                }
            }
        }
        for (secret, value) in changed(&self.secrets, &next.secrets) {
            let name = SECRETS[usize::from(secret)];
            let Some((revision, gateways)) = value else {
                update.0.secrets.push((mk_secret_id(name), None));
                continue;
            };
            let mut secret = mk_secret(name, "chain", &revision.to_string());
            secret.gateways = mk_gateways(gateways);
            update = update.secret(secret);
        }
        for (port, chains) in changed(&self.listeners, &next.listeners) {
            let id = PORTS[usize::from(port)];
            let Some(chains) = chains else {
                update = update.no_listener(id);
                continue;
            };
            let mut listener = mk_http_listener(id, &GATEWAYS);
            let http = listener.chains.remove(0);
            for bit in (0..CHAINS).filter(|bit| chains & (1 << bit) != 0) {
                let (table, gateways, secrets) = chain(port, bit);
                let secrets: Vec<&str> = secrets.iter().map(|name| &name["test/apps/".len()..]).collect();
                let mut chain = match bit {
                    0 | 1 => http.clone(),
                    _ => mk_https_chain(GATEWAYS[0], "web", &[], &secrets),
                };
                chain.route_config = table.into();
                chain.gateways = mk_gateways(gateways).to_vec();
                listener.chains.push(chain);
            }
            update = update.listener(listener);
        }
        for ((table, domain), value) in changed(&self.hosts, &next.hosts) {
            let (table, domain) = (table_name(table).into(), DOMAINS[usize::from(domain)]);
            let Some((revision, services, gateway)) = value else {
                update = update.no_host(&table, domain);
                continue;
            };
            let marker = RouteAction::Respond { status: 200 + u16::from(revision), reason: String::new() };
            let marker = mk_route("marker", PathMatch::Exact("/marker".into()), marker);
            let routes = bits(services).map(|service| mk_route_to(SERVICES[usize::from(service)]));
            let mut host = mk_host(&table, domain, std::iter::once(marker).chain(routes));
            host.gateway = mk_gateway(GATEWAYS[usize::from(gateway)]);
            update = update.host(host);
        }
        update
    }

    /// Everything that a client with this sight must be shown, whatever it asks for.
    pub fn seen(&self, sight: Sight) -> BTreeMap<Key, Content> {
        let mut seen = BTreeMap::new();
        for (service, (revision, gateways)) in &self.clusters {
            if sight.sees(*gateways) {
                seen.insert((Kind::Cluster, cluster_name(*service)), Content::Cluster(*revision));
                let endpoints = self.endpoints.get(service).copied();
                seen.insert((Kind::Endpoints, cluster_name(*service)), Content::Endpoints(endpoints));
            }
        }
        for (secret, (revision, gateways)) in &self.secrets {
            if sight.sees(*gateways) {
                seen.insert((Kind::Secret, secret_name(*secret)), Content::Secret(*revision));
            }
        }
        let mut tables: BTreeMap<String, u8> = BTreeMap::new();
        for (port, chains) in &self.listeners {
            let chains = bits(*chains).map(|bit| chain(*port, bit));
            let mut visible = Vec::new();
            for (table, gateways, secrets) in chains {
                *tables.entry(table.clone()).or_default() |= gateways;
                if sight.sees(gateways) {
                    visible.push((table, secrets));
                }
            }
            if !visible.is_empty() {
                let name = format!("127.0.0.1:{}", PORTS[usize::from(*port)]);
                seen.insert((Kind::Listener, name), Content::Listener(visible));
            }
        }
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for ((table, domain), (revision, services, gateway)) in &self.hosts {
            if sight.sees(1 << gateway) {
                let leads_to = bits(*services).map(cluster_name).collect();
                let name = format!("{}/{}", table_name(*table), DOMAINS[usize::from(*domain)]);
                hosts.insert(name, Host { revision: Some(*revision), leads_to });
            }
        }
        for (table, gateways) in &tables {
            if sight.sees(*gateways) {
                hosts.insert(format!("{table}/~ none"), Host::default());
            }
        }
        for (table, _) in tables.into_iter().filter(|(_, gateways)| sight.sees(*gateways)) {
            let content = if sight.inline {
                let own = hosts.iter().filter(|(name, _)| name.rsplit_once('/').is_some_and(|(of, _)| of == table));
                Content::Inline(own.map(|(name, host)| (name.clone(), host.clone())).collect())
            } else {
                Content::Table
            };
            seen.insert((Kind::RouteConfig, table), content);
        }
        if !sight.inline {
            seen.extend(hosts.into_iter().map(|(name, host)| ((Kind::VirtualHost, name), Content::Host(host))));
        }
        seen
    }
}

fn mk_gateways(bits_of: u8) -> std::sync::Arc<[crate::model::GatewayId]> {
    bits(bits_of).map(|bit| mk_gateway(GATEWAYS[usize::from(bit)])).collect()
}

pub fn bits(of: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |bit| of & (1 << bit) != 0)
}

fn changed<K: Ord + Copy, V: PartialEq + Copy>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Vec<(K, Option<V>)> {
    let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (*key, None));
    let come = new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, value)| (*key, Some(*value)));
    gone.chain(come).collect()
}
