//! The laws that a proxy sees broken or kept, at each response that it takes.

use std::collections::BTreeSet;

use tidegate::publish::xds::Kind;
use tidegate::resource::types;
use tidegate_actors::informer::Informer;
use tidegate_actors::testing::Violation;
use tidegate_actors::testing::oracle::{Monotonic, NeverEmptier};

use super::facts::Facts;
use super::front::Life;
use super::objects::{ANCHOR_CLUSTER, ANCHOR_LISTENER, ANCHOR_ROUTE};
use super::proxy::Config;

const GATE: &str = "nothing is published before every type has synced";
const EMPTIER: &str = "a proxy's configuration is never emptier";
const WHOLE: &str = "a proxy never sees a route to a cluster that it does not have";
const MONOTONIC: &str = "versions never go back on one stream";

/// Without their cluster endpoints are of no use; whether that may go is for the routes to say.
const NO_CLUSTER: &str = "no cluster";

/// See the module.
#[derive(Default)]
pub struct Watcher {
    emptier: NeverEmptier,
    versions: Monotonic,
    /// A fault strikes the functions that make the anchors' configuration too: in a life of the process that begins
    /// while it does, they have no last good version.
    harmed: bool,
    /// Whether it serves the Gateway of the anchors.
    sees_anchors: bool,
    /// What of the anchors was seen; it never goes.
    anchored: BTreeSet<&'static str>,
    /// Tables that came over this stream. A client of the state of the world cannot tell a new stream what it has, and
    /// so the server cannot know which clusters its old tables still lead to.
    fresh: BTreeSet<String>,
    pub broken: Vec<Violation>,
}

impl Watcher {
    pub fn new(sees_anchors: bool) -> Self {
        Self { sees_anchors, ..Self::default() }
    }

    pub fn connected(&mut self) {
        self.versions.forget();
        self.fresh.clear();
    }

    pub fn touch(&mut self, cause: &str) {
        self.emptier.touch(cause);
    }

    pub fn harm(&mut self) {
        self.harmed = true;
    }

    pub fn settle(&mut self) {
        self.harmed = false;
        self.emptier.settle();
    }

    /// A stream was answered for the first time.
    pub fn answered(&mut self, life: &Life) {
        let informers = life.factory.informers();
        let spared =
            |informer: &&Informer| *informer.resource_type() == types::secret() && began_on_disk(life, &informers);
        let mut open = informers.iter().filter(|informer| !informer.status().sync.is_settled());
        let open = open.find(|informer| !spared(informer));
        self.breaks(GATE, open.map(|open| format!("{}:{} has not settled", open.source(), open.resource_type())));
    }

    /// A response with these names was applied. `version`: the model's, which only delta says.
    pub fn took(&mut self, config: &Config, kind: Kind, added: Vec<String>, version: Option<&str>) {
        let delta = version.is_some();
        if kind == Kind::RouteConfig {
            self.fresh.extend(added);
        }
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            let told = self.versions.observe(kind.label(), version);
            self.breaks(MONOTONIC, told);
        }
        let mut entries = BTreeSet::new();
        for name in config[Kind::Listener as usize].keys() {
            entries.insert(format!("listener {name}"));
        }
        let hosts = config[Kind::RouteConfig as usize].iter().chain(&config[Kind::VirtualHost as usize]);
        for (name, has) in hosts {
            let judged = !self.harmed && (delta || self.fresh.contains(name));
            let Facts::Hosts(hosts) = &has.facts else { continue };
            for host in hosts {
                for (route, clusters) in &host.routes {
                    entries.insert(format!("route {route} {}", host.name));
                    let missing = clusters.iter().find(|name| {
                        judged && name.contains('/') && !config[Kind::Cluster as usize].contains_key(*name)
                    });
                    let missing = missing.map(|cluster| format!("{route} leads to {cluster}, after {kind}"));
                    self.breaks(WHOLE, missing);
                }
            }
        }
        for (cluster, has) in &config[Kind::Endpoints as usize] {
            let Facts::Endpoints(addresses) = &has.facts else { continue };
            entries.extend(addresses.iter().map(|address| format!("endpoint {cluster} {address}")));
        }
        let clusters = &config[Kind::Cluster as usize];
        let anchors = [ANCHOR_LISTENER, ANCHOR_ROUTE, ANCHOR_CLUSTER];
        for anchor in if self.sees_anchors { &anchors[..] } else { &[] } {
            let there = clusters.contains_key(*anchor)
                || config[Kind::Listener as usize].contains_key(*anchor)
                || entries.iter().any(|entry| entry.starts_with("route ") && entry.contains(*anchor));
            if there {
                self.anchored.insert(anchor);
            } else if self.anchored.remove(*anchor) && !self.harmed {
                self.breaks(EMPTIER, Some(format!("{anchor} is gone, after {kind}")));
            }
        }
        self.emptier.touch(NO_CLUSTER);
        let gone = self.emptier.observe(entries, |entry| causes(entry, config));
        let gone = if self.harmed { Vec::new() } else { gone };
        for gone in gone {
            self.breaks(EMPTIER, Some(format!("after {kind}: {gone}")));
        }
    }

    fn breaks(&mut self, law: &str, how: Option<String>) {
        self.broken.extend(how.map(|how| Violation::new(law, how)));
    }
}

/// Whether this life began with Gateways from disk. Then Secrets, which are not there, are waited for only if one of those
/// Gateways shows any; whether that was right, the law that nothing is emptier says.
fn began_on_disk(life: &Life, informers: &[Informer]) -> bool {
    let Some(persistence) = &life.persistence else { return false };
    let mut of_gateways = informers.iter().filter(|informer| *informer.resource_type() == types::gateway());
    of_gateways.all(|informer| persistence.is_restored(informer))
}

/// What an entry that vanished may owe it to.
fn causes(entry: &str, config: &Config) -> Vec<String> {
    let words: Vec<&str> = entry.split(' ').collect();
    // All HTTPS listeners are on one port, which their virtual hosts do not name.
    let https = |text: &str| text.starts_with("https/").then_some(8084);
    let port = |text: &str| https(text).or_else(|| text.split(['/', ':']).find_map(|part| part.parse::<u16>().ok()));
    match words[..] {
        ["listener", name] => port(name).map(|port| format!("port/{port}")).into_iter().collect(),
        ["route", route, host, ..] => {
            let object: Vec<&str> = route.splitn(3, '/').collect();
            let of_port = port(host).map(|port| format!("port/{port}"));
            let route = object.get(..2).map(|object| format!("route/{}", object.join("/")));
            of_port.into_iter().chain(route).collect()
        }
        ["endpoint", cluster, ..] if !config[Kind::Cluster as usize].contains_key(cluster) => {
            vec![NO_CLUSTER.to_owned()]
        }
        ["endpoint", cluster, ..] => {
            let service = cluster.rsplit_once('/').map_or(cluster, |(service, _)| service);
            vec![format!("service/{service}")]
        }
        _ => Vec::new(),
    }
}
