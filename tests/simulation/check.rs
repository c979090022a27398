//! What must be true when faults have ended and all is quiet: everything is what a computation from nothing makes of
//! what the sources hold.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::correlate::{self, Settings};
use tidegate::publish::step;
use tidegate::publish::xds::{self, Kind, PublishedResource, Variant, XdsPublisher};
use tidegate::resource::types;
use tidegate_actors::correlation::Graph;
use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;
use tidegate_actors::source::Source as _;
use tidegate_actors::testing::Violation;
use tidegate_actors::testing::oracle::{difference, store_equals_source};

use super::SOURCES;
use super::facts::{Facts, facts};
use super::proxy::{Proxy, table_of};
use super::world::World;

const STORES: &str = "every store equals its source";
const OUTPUT: &str = "the output equals a computation from scratch";
const PROXIES: &str = "each proxy has what is published";
const SCOPES: &str = "each proxy has the routes of the Gateways that it serves, and no others";
const STATUSES: &str = "what objects are told equals a computation from scratch";
const HEALTH: &str = "every actor runs";

pub fn all(world: &mut World) {
    let mut broken = Vec::new();
    let mut breaks = |law: &str, how: Option<String>| broken.extend(how.map(|how| Violation::new(law, how)));
    for informer in world.app().factory.informers() {
        let source = world.sources.iter().find(|source| *source.name() == *informer.source()).unwrap();
        breaks(STORES, store_equals_source(informer.lister(), source));
    }
    let scratch = Scratch::of(world);
    let published = world.app().xds.resources();
    breaks(OUTPUT, difference(&versions(&published), &versions(&scratch.resources)));
    for proxy in &world.proxies {
        let own = world.app().xds.resources_of(proxy.gateways).unwrap();
        let should = if proxy.gateways.is_empty() { &published } else { &own };
        breaks(PROXIES, compare(proxy, should).map(|how| format!("proxy {}: {how}", proxy.name)));
    }
    let parents = parents(world);
    for proxy in &world.proxies {
        breaks(SCOPES, misplaced(proxy, &published, &parents).map(|how| format!("proxy {}: {how}", proxy.name)));
    }
    let told = world.app().statuses.list().iter().map(|status| timeless(status.get())).collect();
    breaks(STATUSES, difference(&numbered(told), &numbered(scratch.statuses)));
    breaks(HEALTH, world.idle_actors().into_iter().next());
    world.broken.extend(broken);
}

fn versions(resources: &[PublishedResource]) -> BTreeMap<String, String> {
    resources.iter().map(|of| (format!("{} {}", of.kind, of.name), of.version.clone())).collect()
}

fn numbered(texts: Vec<String>) -> BTreeMap<String, ()> {
    texts.into_iter().map(|text| (text, ())).collect()
}

/// A status without its times.
fn timeless(text: &str) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.remove("lastTransitionTime");
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(text).unwrap();
    strip(&mut value);
    value.to_string()
}

/// Everything, computed from what the sources hold, by the functions alone.
struct Scratch {
    resources: Vec<PublishedResource>,
    statuses: Vec<String>,
}

impl Scratch {
    fn of(world: &World) -> Self {
        let env = Env { faults: None, ..world.env.clone() };
        let mut graph = Graph::new(&env, &Problems::default());
        let bind = world.config.proxy.bind;
        let settings = Settings { sources: SOURCES.map(Into::into).to_vec(), bind, ..Settings::default() };
        let outputs = correlate::build(&mut graph, &settings);
        for informer in world.app().factory.informers() {
            let source = world.sources.iter().find(|source| *source.name() == *informer.source()).unwrap();
            for (key, object) in source.objects(informer.resource_type()) {
                graph.feed(informer.resource_type(), &key, Some(&object));
            }
        }
        graph.commit(1, None);
        let publisher = XdsPublisher::new(xds::Options::default(), Problems::default(), env);
        publisher.apply(&step::whole(&graph, &outputs, 1));
        let statuses = graph.list(outputs.statuses);
        let statuses = statuses.iter().map(|(_, status)| timeless(&serde_json::to_string(&**status).unwrap()));
        Self { resources: publisher.resources(), statuses: statuses.collect() }
    }
}

/// The Gateway of each route, each as `namespace/name`, as the source says that wins where both have it.
fn parents(world: &World) -> BTreeMap<String, String> {
    let routes = world.sources.iter().rev().flat_map(|source| source.objects(&types::http_route()));
    let parent = routes.filter_map(|(key, object)| {
        let object: Value = serde_json::from_slice(object.raw()).ok()?;
        let gateway = object["spec"]["parentRefs"][0]["name"].as_str()?;
        Some((format!("{}/{}", key.namespace_or_empty(), key.name), format!("{}/{gateway}", key.namespace_or_empty())))
    });
    parent.collect()
}

/// Which route a proxy has though it does not serve its Gateway, or the other way round.
fn misplaced(proxy: &Proxy, published: &[PublishedResource], parents: &BTreeMap<String, String>) -> Option<String> {
    let serves = |route: &String| {
        let parent = parents.get(route);
        proxy.gateways.is_empty() || parent.is_some_and(|parent| proxy.gateways.contains(&&**parent))
    };
    let hosts = published.iter().filter(|of| of.kind == Kind::VirtualHost && is_of_use(of, published));
    let should = hosts.map(|of| facts(of.kind, &of.body));
    let should: BTreeMap<String, ()> = routes(should).filter(|route| serves(route)).map(|route| (route, ())).collect();
    let config = proxy.config.lock();
    let hosts = config[Kind::RouteConfig as usize].values().chain(config[Kind::VirtualHost as usize].values());
    let has = routes(hosts.map(|has| has.facts.clone())).map(|route| (route, ())).collect();
    difference(&has, &should)
}

/// Of which routes there is anything in them, as `namespace/name`.
fn routes(hosts: impl Iterator<Item = Facts>) -> impl Iterator<Item = String> {
    let hosts = hosts.flat_map(|facts| if let Facts::Hosts(hosts) = facts { hosts } else { Vec::new() });
    let names = hosts.flat_map(|host| host.routes.into_iter().map(|(name, _)| name));
    names.filter_map(|name| {
        let mut words = name.splitn(3, '/');
        Some(format!("{}/{}", words.next()?, words.next()?))
    })
}

/// A listener that lacks its certificate is not sent, and what would only be reached through it is of no use.
fn is_of_use(of: &PublishedResource, published: &[PublishedResource]) -> bool {
    let is_table = |name: &str| published.iter().any(|of| of.kind == Kind::RouteConfig && of.name == name);
    of.kind != Kind::VirtualHost || is_table(table_of(&of.name))
}

/// How what a proxy has differs from what is published.
fn compare(proxy: &Proxy, published: &[PublishedResource]) -> Option<String> {
    let config = proxy.config.lock();
    let delta = proxy.variant == Variant::Delta;
    let (mut has, mut should) = (BTreeMap::new(), BTreeMap::new());
    for kind in Kind::ALL {
        // Certificates are not among what is published; what a listener needs of them is checked with a real Envoy.
        if kind == Kind::Secret {
            continue;
        }
        for (name, held) in &config[kind as usize] {
            has.insert(format!("{kind} {name}"), (held.facts.clone(), if delta { held.version.as_str() } else { "" }));
        }
    }
    let mut tables: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for of in published.iter().filter(|of| is_of_use(of, published)) {
        let facts = facts(of.kind, &of.body);
        match (of.kind, facts) {
            (Kind::VirtualHost, Facts::Hosts(hosts)) if !delta => {
                tables.entry(table_of(&of.name)).or_default().extend(hosts);
            }
            (Kind::RouteConfig, _) if !delta => drop(tables.entry(&of.name).or_default()),
            (kind, facts) => {
                let version = if delta { of.version.as_str() } else { "" };
                should.insert(format!("{kind} {}", of.name), (facts, version));
            }
        }
    }
    for (table, mut hosts) in tables {
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        should.insert(format!("{} {table}", Kind::RouteConfig), (Facts::Hosts(hosts), ""));
    }
    for (facts, _) in has.values_mut() {
        if let Facts::Hosts(hosts) = facts {
            hosts.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }
    difference(&has, &should)
}
