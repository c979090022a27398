//! What one change costs, and that any history of changes leads to what a computation from scratch finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_actors::correlation::Graph;
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ResourceType};
use tidegate_actors::object::Decoder;
use tidegate_actors::problem::Problems;

use super::{Outputs, Settings, build};
use crate::resource::types;

mod addresses;
mod conflicts;
mod crowds;
mod shards;
mod unreadable;

struct Rig {
    graph: Graph,
    outputs: Outputs,
    problems: Problems,
    version: u64,
}

/// In the order of the configuration, which is not that of the alphabet.
const SOURCES: [&str; 2] = ["src", "alt"];

fn rig() -> Rig {
    rig_with(Settings::default())
}

fn rig_with(settings: Settings) -> Rig {
    let problems = Problems::default();
    let mut graph = Graph::new(&Env::system(), &problems);
    let sources = SOURCES.map(Into::into).to_vec();
    let outputs = build(&mut graph, &Settings { sources, ..settings });
    Rig { graph, outputs, problems, version: 0 }
}

impl Rig {
    fn set(&mut self, resource_type: &ResourceType, object: &Value) {
        self.set_in("src", resource_type, object);
    }

    fn set_in(&mut self, source: &str, resource_type: &ResourceType, object: &Value) {
        let decoder = Decoder::new(source.into(), resource_type.clone());
        let object = Arc::new(decoder.decode(object.to_string()).unwrap());
        self.graph.feed(resource_type, object.key(), Some(&object));
    }

    fn remove(&mut self, resource_type: &ResourceType, namespace: &str, name: &str) {
        self.graph.feed(resource_type, &ObjectKey::namespaced("src", namespace, name), None);
    }

    /// Commits, and says how many inputs ran.
    fn commit(&mut self) -> usize {
        self.version += 1;
        self.graph.commit(self.version, None).runs
    }

    /// All outputs as text.
    fn everything(&self) -> BTreeMap<&'static str, Vec<String>> {
        let (graph, outputs) = (&self.graph, &self.outputs);
        BTreeMap::from([
            ("listeners", graph.list(outputs.listeners).iter().map(|v| format!("{v:?}")).collect()),
            (
                "virtual hosts",
                graph
                    .list(outputs.virtual_hosts)
                    .iter()
                    .map(|(k, v)| format!("{k} {:?} {:?}", v.gateway, v.routes.iter().collect::<Vec<_>>()))
                    .collect(),
            ),
            ("clusters", graph.list(outputs.clusters).iter().map(|v| format!("{v:?}")).collect()),
            ("endpoints", graph.list(outputs.endpoints).iter().map(|v| format!("{v:?}")).collect()),
            ("secrets", graph.list(outputs.secrets).iter().map(|v| format!("{v:?}")).collect()),
            ("problems", self.problems.list().iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect()),
            ("statuses", graph.list(outputs.statuses).iter().map(|v| format!("{v:?}")).collect()),
        ])
    }
}

fn mk_meta(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"})
}

fn mk_class() -> Value {
    json!({"metadata": {"name": "tidegate"}, "spec": {"controllerName": super::settings::CONTROLLER}})
}

fn mk_gateway(name: &str, listeners: &Value) -> Value {
    json!({"metadata": mk_meta("infra", name), "spec": {"gatewayClassName": "tidegate", "listeners": listeners}})
}

fn mk_listener(name: &str, hostname: Option<&str>, port: u16) -> Value {
    let mut listener =
        json!({"name": name, "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}}});
    if let Some(hostname) = hostname {
        listener["hostname"] = hostname.into();
    }
    listener
}

fn mk_route(name: &str, hostname: Option<&str>, path: &str, service: (&str, &str)) -> Value {
    let hostnames: Vec<&str> = hostname.into_iter().collect();
    json!({"metadata": mk_meta("app", name), "spec": {
        "parentRefs": [{"name": "web", "namespace": "infra"}],
        "hostnames": hostnames,
        "rules": [{
            "matches": [{"path": {"value": path}}],
            "backendRefs": [{"name": service.1, "namespace": service.0, "port": 80}],
        }],
    }})
}

fn mk_service(namespace: &str, name: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    json!({"metadata": mk_meta(namespace, name), "spec": {"ports": ports}})
}

fn mk_slice(namespace: &str, name: &str, service: &str, address: &str) -> Value {
    let mut meta = mk_meta(namespace, name);
    meta["labels"] = json!({"kubernetes.io/service-name": service});
    json!({
        "metadata": meta, "addressType": "IPv4", "ports": [{"name": "p80", "port": 8080}],
        "endpoints": [{"addresses": [address]}],
    })
}

fn mk_grant(namespace: &str) -> Value {
    json!({"metadata": mk_meta(namespace, "grant"), "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "app"}],
        "to": [{"group": "", "kind": "Service"}],
    }})
}

/// How the routes of a listener spread over hosts.
#[derive(Clone, Copy, Debug)]
enum Layout {
    AHostARoute,
    AllOnOneHost,
    Wildcards,
    CatchAll,
}

const LAYOUTS: [Layout; 4] = [Layout::AHostARoute, Layout::AllOnOneHost, Layout::Wildcards, Layout::CatchAll];

impl Layout {
    fn route(self, n: usize, path: &str) -> Value {
        let hostname = match self {
            Self::AHostARoute => Some(format!("h{n}.example.com")),
            Self::AllOnOneHost => Some("one.example.com".to_owned()),
            Self::Wildcards => Some(format!("*.h{n}.example.com")),
            Self::CatchAll => None,
        };
        // Ten Services that the routes share, one of them in another namespace.
        let service = if n.is_multiple_of(10) { ("shop", "s0".to_owned()) } else { ("app", format!("s{}", n % 10)) };
        mk_route(&format!("r{n}"), hostname.as_deref(), path, (service.0, &service.1))
    }
}

/// A world of `count` routes on one listener, and what each kind of change runs in it.
fn cost_of_changes(layout: Layout, count: usize) -> BTreeMap<&'static str, usize> {
    let mut rig = rig();
    rig.set(&types::gateway_class(), &mk_class());
    rig.set(&types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 8080)])));
    rig.set(&types::reference_grant(), &mk_grant("shop"));
    for n in 0..10 {
        let namespace = if n == 0 { "shop" } else { "app" };
        rig.set(&types::service(), &mk_service(namespace, &format!("s{n}"), &[80]));
        rig.set(&types::endpoint_slice(), &mk_slice(namespace, &format!("s{n}"), &format!("s{n}"), "10.0.0.1"));
    }
    for n in 0..count {
        rig.set(&types::http_route(), &layout.route(n, &format!("/p{n}")));
    }
    rig.commit();
    assert!(rig.graph.list(rig.outputs.clusters).len() == 10, "the world is complete");
    let mut costs = BTreeMap::new();
    let mut of = |what, rig: &mut Rig| {
        costs.insert(what, rig.commit());
    };

    rig.set(&types::http_route(), &layout.route(7, "/changed"));
    of("a route changes", &mut rig);
    rig.set(&types::http_route(), &layout.route(count, "/new"));
    of("a route comes", &mut rig);
    rig.remove(&types::http_route(), "app", &format!("r{count}"));
    of("a route goes", &mut rig);
    let mut with_status = layout.route(7, "/changed");
    with_status["status"] = json!({"parents": [{"controllerName": "x"}]});
    with_status["metadata"]["resourceVersion"] = "8".into();
    rig.set(&types::http_route(), &with_status);
    of("a status is written", &mut rig);
    rig.set(&types::endpoint_slice(), &mk_slice("app", "s3", "s3", "10.0.0.2"));
    of("an endpoint changes", &mut rig);
    rig.set(&types::service(), &mk_service("app", "s3", &[80, 81]));
    of("a Service gets a port that nobody uses", &mut rig);
    rig.set(&types::service(), &mk_service("app", "unused", &[80]));
    of("a Service comes that nobody uses", &mut rig);
    costs
}

#[test]
fn one_change_runs_the_same_few_inputs_whatever_the_number_of_routes() {
    for layout in LAYOUTS {
        let few = cost_of_changes(layout, 20);
        let many = cost_of_changes(layout, 600);
        assert_eq!(few, many, "{layout:?}");
        assert!(many["a route changes"] <= 12, "{layout:?} {many:?}");
        // One of them asks whether the Gateway has room.
        assert!(many["a route comes"] <= 15, "{layout:?} {many:?}");
        assert_eq!(many["a status is written"], 1, "reading the object, and no more");
        assert_eq!(many["an endpoint changes"], 3, "reading the slice, judging its addresses, and its endpoints");
        assert!(many["a Service comes that nobody uses"] <= 3, "{layout:?} {many:?}");
    }
}

#[test]
fn an_endpoint_changes_endpoints_and_nothing_else() {
    let mut rig = rig();
    rig.set(&types::gateway_class(), &mk_class());
    rig.set(&types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 8080)])));
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig.set(&types::endpoint_slice(), &mk_slice("app", "s", "s", "10.0.0.1"));
    rig.set(&types::http_route(), &mk_route("r", None, "/", ("app", "s")));
    rig.commit();
    let before = rig.everything();
    rig.set(&types::endpoint_slice(), &mk_slice("app", "s", "s", "10.0.0.2"));
    rig.commit();
    let after = rig.everything();
    let different: Vec<_> = before.keys().filter(|kind| before[*kind] != after[*kind]).collect();
    assert_eq!(different, [&"endpoints"]);
}

#[derive(Clone, Debug)]
enum Edit {
    Class(bool),
    Gateway(usize, Vec<(usize, usize)>, bool),
    Route(usize, usize, usize, usize, bool),
    Service(usize, usize, bool),
    Slice(usize, usize, bool),
    Grant(bool),
    Commit,
}

const HOSTS: [Option<&str>; 5] =
    [None, Some("*.example.com"), Some("a.example.com"), Some("*.a.example.com"), Some("b.net")];

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => any::<bool>().prop_map(Edit::Class),
        2 => (0_usize..3, prop::collection::vec((0_usize..5, 0_usize..2), 1..4), prop::bool::weighted(0.8))
            .prop_map(|(n, listeners, there)| Edit::Gateway(n, listeners, there)),
        6 => (0_usize..6, 0_usize..5, 0_usize..3, 0_usize..4, prop::bool::weighted(0.8))
            .prop_map(|(n, host, gateway, service, there)| Edit::Route(n, host, gateway, service, there)),
        2 => (0_usize..4, 0_usize..3, prop::bool::weighted(0.8)).prop_map(|(n, ports, there)| Edit::Service(n, ports, there)),
        2 => (0_usize..4, 1_usize..5, prop::bool::weighted(0.8)).prop_map(|(n, last, there)| Edit::Slice(n, last, there)),
        1 => any::<bool>().prop_map(Edit::Grant),
        4 => Just(Edit::Commit),
    ]
}

const GATEWAYS: [&str; 3] = ["web", "second", "third"];
/// The last two are in another namespace than the routes.
const SERVICES: [(&str, &str); 4] = [("app", "s0"), ("app", "s1"), ("shop", "s2"), ("shop", "s3")];

/// The object that an edit sets or removes.
fn object_of(edit: &Edit) -> Option<(ResourceType, Option<&'static str>, String, Option<Value>)> {
    let object = match edit {
        Edit::Class(there) => (types::gateway_class(), None, "tidegate".to_owned(), there.then(mk_class)),
        Edit::Gateway(n, listeners, there) => {
            let mut all: Vec<Value> = Vec::new();
            // Indistinct listeners would be refused and the last good version kept: a history that counts.
            let distinct: std::collections::BTreeSet<_> = listeners.iter().collect();
            for (at, (host, port)) in distinct.into_iter().enumerate() {
                all.push(mk_listener(&format!("l{at}"), HOSTS[*host], 8080 + *port as u16));
            }
            let mut gateway = mk_gateway(GATEWAYS[*n], &all.into());
            gateway["metadata"]["creationTimestamp"] = format!("2026-01-0{}T00:00:00Z", 3 - n).into();
            (types::gateway(), Some("infra"), GATEWAYS[*n].to_owned(), there.then_some(gateway))
        }
        Edit::Route(n, host, gateway, service, there) => {
            let mut route = mk_route(&format!("r{n}"), HOSTS[*host], "/x", SERVICES[*service]);
            route["spec"]["parentRefs"][0]["name"] = GATEWAYS[*gateway].into();
            (types::http_route(), Some("app"), format!("r{n}"), there.then_some(route))
        }
        Edit::Service(n, ports, there) => {
            let (namespace, name) = SERVICES[*n];
            let service = mk_service(namespace, name, &[80, 81, 82][*ports..]);
            (types::service(), Some(namespace), name.to_owned(), there.then_some(service))
        }
        Edit::Slice(n, last, there) => {
            let (namespace, name) = SERVICES[*n];
            let slice = mk_slice(namespace, name, name, &format!("10.0.0.{last}"));
            (types::endpoint_slice(), Some(namespace), name.to_owned(), there.then_some(slice))
        }
        Edit::Grant(there) => {
            (types::reference_grant(), Some("shop"), "grant".to_owned(), there.then(|| mk_grant("shop")))
        }
        Edit::Commit => return None,
    };
    Some(object)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leads_to_what_a_computation_from_scratch_finds(
        edits in prop::collection::vec((0_usize..SOURCES.len(), any_edit()), 1..60),
        max_routes in prop_oneof![Just(1_usize), Just(2), Just(100)],
    ) {
        let with_room = || rig_with(Settings { max_routes, ..Settings::default() });
        let mut lived = with_room();
        lived.set(&types::gateway_class(), &mk_class());
        let class = (SOURCES[0], types::gateway_class(), None, "tidegate".to_owned());
        let mut last = BTreeMap::from([(class, Some(mk_class()))]);
        for (source, edit) in &edits {
            let source = SOURCES[*source];
            let Some((resource_type, namespace, name, object)) = object_of(edit) else {
                lived.commit();
                continue;
            };
            match &object {
                Some(object) => lived.set_in(source, &resource_type, object),
                None => {
                    let key = match namespace {
                        Some(namespace) => ObjectKey::namespaced(source, namespace, &name),
                        None => ObjectKey::cluster(source, &name),
                    };
                    lived.graph.feed(&resource_type, &key, None);
                }
            }
            last.insert((source, resource_type, namespace, name), object);
        }
        lived.commit();
        let mut fresh = with_room();
        for ((source, resource_type, ..), object) in last {
            if let Some(object) = object {
                fresh.set_in(source, &resource_type, &object);
            }
        }
        fresh.commit();
        prop_assert_eq!(lived.everything(), fresh.everything());
    }
}
