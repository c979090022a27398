//! What people see of an object in a cluster: Events, by the sink alone and by the whole service, against the API server
//! in memory, which keeps versions and answers as the real one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{Loader, Registry};
use tidegate::resource;
use tidegate::source::kubernetes::{Access, KubernetesSource, Options};
use tidegate::source::lease::Leadership;
use tidegate::source::schema::Catalogue;
use tidegate::source::sink::{EventSink, Grade, Notice, SinkError};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType, Scope};
use tidegate_actors::problem::Problems;
use tidegate_apiserver::{ApiServer, Denial};

use crate::rig::{PATIENCE, things};

const EVENTS: &str = "events.events.k8s.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

struct Server {
    server: ApiServer,
    folder: TempDir,
}

async fn mk_server() -> Server {
    let server = ApiServer::start(tidegate_apiserver::Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig()).unwrap();
    for namespace in ["demo", "apps"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        server.put(&object).unwrap();
    }
    Server { server, folder }
}

impl Server {
    fn sink(&self, leadership: Leadership, instance: &str) -> Arc<dyn EventSink> {
        let access = Access { kubeconfig: Some(self.folder.path().join("kubeconfig")), context: None };
        let (problems, catalogue) = (Problems::default(), Catalogue::new());
        let source = KubernetesSource::new(Options::new("c", access), Env::system(), problems, catalogue);
        Arc::new(source.events(leadership, instance))
    }

    /// All Events, by namespace and name.
    fn events(&self) -> Vec<Value> {
        let all: BTreeMap<_, _> = self.server.list_raw(EVENTS).unwrap();
        all.values().map(|raw| serde_json::from_slice(raw).unwrap()).collect()
    }

    /// How often Events were created or patched, or tried to be.
    fn writes(&self, method: &str) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|of| of.method == method && of.path.contains("/events.k8s.io/")).count()
    }
}

fn mk_notice(object: ObjectRef, note: &str) -> Notice {
    Notice {
        object,
        uid: Some("u-1".into()),
        resource_version: Some("7".into()),
        reporter: "tidegate.dev/gateway-controller".into(),
        grade: Grade::Warning,
        action: "ResolveRefs",
        reason: "BackendNotFound".into(),
        note: note.to_owned(),
    }
}

fn mk_thing(name: &str) -> ObjectRef {
    ObjectRef { resource_type: things(), key: ObjectKey::namespaced("c", "demo", name) }
}

#[tokio::test]
async fn what_is_said_again_is_counted_whichever_replica_says_it() {
    let server = mk_server().await;
    let (one, two) = (Leadership::alone(&Env::system()), Leadership::alone(&Env::system()));
    let (one, two) = (server.sink(one, "one_1"), server.sink(two, "two_2"));
    let notice = mk_notice(mk_thing("a"), "no Service x");
    assert_eq!(one.say(&notice, 0).await, Ok(1));
    let events = server.events();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event["metadata"]["namespace"], "demo");
    assert_eq!(event["regarding"]["uid"], "u-1");
    assert_eq!((&event["reportingInstance"], &event["series"]), (&json!("one_1"), &Value::Null));

    assert_eq!(two.say(&notice, 0).await, Ok(1), "another replica has said it already");
    assert_eq!(server.events(), events);
    assert_eq!(one.say(&notice, 1).await, Ok(2));
    assert_eq!(one.say(&notice, 2).await, Ok(3));
    let counted = server.events();
    assert_eq!((counted.len(), &counted[0]["series"]["count"]), (1, &json!(3)));
    assert!(counted[0]["series"]["lastObservedTime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(two.say(&notice, 0).await, Ok(3), "whoever takes over goes on counting");

    // The API server forgets Events.
    server.server.delete(EVENTS, "demo", counted[0]["metadata"]["name"].as_str().unwrap()).unwrap();
    assert_eq!(one.say(&notice, 3).await, Ok(1));
    assert_eq!(server.events()[0]["series"], Value::Null);
}

#[tokio::test]
async fn events_of_what_has_no_namespace_are_in_the_default_one() {
    let server = mk_server().await;
    let sink = server.sink(Leadership::alone(&Env::system()), "one_1");
    let of = ResourceType::new("example.com", "v1", "World", "worlds", Scope::Cluster);
    let object = ObjectRef { resource_type: of, key: ObjectKey::cluster("c", "a") };
    sink.say(&mk_notice(object, "no"), 0).await.unwrap();
    let event = &server.events()[0];
    assert_eq!(event["metadata"]["namespace"], "default");
    assert_eq!(event["regarding"].get("namespace"), None);
}

#[tokio::test]
async fn nothing_is_written_without_the_lead_and_a_refusal_names_the_rule() {
    let server = mk_server().await;
    let notice = mk_notice(mk_thing("a"), "no");
    let follower = server.sink(Leadership::new(&Env::system()), "one_1");
    assert_eq!(follower.say(&notice, 0).await, Err(SinkError::NotLeading));
    assert_eq!(server.writes("POST"), 0);
    let sink = server.sink(Leadership::alone(&Env::system()), "one_1");
    let mut nowhere = notice.clone();
    nowhere.object.key.namespace = Some("gone".into());
    assert_eq!(sink.say(&nowhere, 0).await, Ok(1), "with its namespace an object is gone, which is no error");
    server.server.deny(Denial { verb: "create".into(), resource: EVENTS.into(), namespace: None });
    let Err(SinkError::NotPermitted { reason }) = sink.say(&notice, 0).await else { panic!("it was permitted") };
    assert!(reason.contains(r#"{apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"]}"#), "{reason}");
    assert!(server.events().is_empty());
}

/// The whole service on the server.
struct Service {
    server: Server,
    app: App,
}

/// `keys` are further ones of the source.
async fn mk_service(server: Server, keys: &str) -> Service {
    let file = server.folder.path().join("t.yaml");
    let text = format!(
        "data_dir: '{0}/data'\nadmin: {{address: 127.0.0.1:0}}\nxds: {{address: 127.0.0.1:0}}\n\
         sources: [{{name: c, kind: kubernetes, kubeconfig: '{0}/kubeconfig'{keys}}}]\n",
        server.folder.path().display()
    );
    std::fs::write(&file, &text).unwrap();
    for kind in resource::kinds().iter().map(|kind| &kind.resource_type).filter(|of| of.group() == GATEWAY_API) {
        let version = json!({"name": kind.version(), "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let scope = if kind.scope() == Scope::Cluster { "Cluster" } else { "Namespaced" };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": kind.plural_and_group()},
            "spec": {"group": GATEWAY_API, "scope": scope, "versions": [version],
                "names": {"plural": kind.plural(), "kind": kind.kind()}},
        });
        server.server.put(&definition).unwrap();
    }
    let mut config = Loader::new(Registry::default()).parse(&text, &file).unwrap();
    config.proxy.managed = tidegate::config::Switch::Off;
    let app = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.unwrap();
    let service = Service { server, app };
    service.put(&mk("GatewayClass", None, "tidegate", json!({"controllerName": "tidegate.dev/gateway-controller"})));
    let listeners = json!([{"name": "http", "port": 8080, "protocol": "HTTP"}]);
    let spec = json!({"gatewayClassName": "tidegate", "listeners": listeners});
    service.put(&mk("Gateway", Some("apps"), "public", spec));
    service
}

fn mk(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let metadata = match namespace {
        Some(namespace) => json!({"namespace": namespace, "name": name}),
        None => json!({"name": name}),
    };
    json!({"apiVersion": format!("{GATEWAY_API}/v1"), "kind": kind, "metadata": metadata, "spec": spec})
}

fn mk_route(name: &str, service: &str) -> Value {
    let rules = json!([{"backendRefs": [{"name": service, "port": 80}]}]);
    let host = format!("{name}.example.com");
    let spec = json!({"parentRefs": [{"name": "public"}], "hostnames": [host], "rules": rules});
    mk("HTTPRoute", Some("apps"), name, spec)
}

fn mk_service_object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "apps", "name": name},
        "spec": {"ports": [{"port": 80}]}})
}

impl Service {
    fn put(&self, object: &Value) {
        self.server.server.put(object).unwrap();
    }

    fn route(&self, name: &str) -> Value {
        self.server.server.get(&format!("httproutes.{GATEWAY_API}"), "apps", name).unwrap().unwrap_or_default()
    }

    /// Whether a route is told something of its references.
    fn is_told(&self, name: &str) -> bool {
        !self.route(name)["status"]["parents"][0]["conditions"].is_null()
    }

    /// The one Event with a reason, if it is there.
    fn event(&self, reason: &str) -> Value {
        let mut found = self.server.events().into_iter().filter(|event| event["reason"] == reason);
        let first = found.next().unwrap_or_default();
        assert_eq!(found.next(), None, "there is more than one");
        first
    }

    async fn end(self) {
        self.app.supervisor.shutdown(Duration::from_secs(5)).await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let all = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "not in time: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_reference_and_what_cannot_be_read_are_events_on_their_objects_until_they_are_mended() {
    let service = mk_service(mk_server().await, "").await;
    service.put(&mk_route("web", "missing"));
    until("the Event", || service.event("BackendNotFound").is_object()).await;
    let (event, route) = (service.event("BackendNotFound"), service.route("web"));
    let regarding = &event["regarding"];
    assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("HTTPRoute"), &json!("web")));
    assert_eq!(regarding["uid"], route["metadata"]["uid"]);
    assert_eq!((&event["type"], &event["action"]), (&json!("Warning"), &json!("ResolveRefs")));
    assert!(event["note"].as_str().unwrap().contains("missing"), "{event:#}");

    // An Event changes nothing of what is published.
    let version = service.app.model.get().version;
    service.put(&mk_service_object("missing"));
    until("it is mended", || service.event("ResolvedRefs").is_object()).await;
    let mended = service.app.model.get().version;
    assert!(mended > version);
    service.server.server.delete("services", "apps", "missing").unwrap();
    until("it is counted", || service.event("BackendNotFound")["series"]["count"] == 2).await;

    let mut broken = mk_route("broken", "x");
    broken["spec"]["rules"] = json!("none");
    service.put(&broken);
    until("the Event of what cannot be read", || service.event("Unreadable").is_object()).await;
    let event = service.event("Unreadable");
    assert_eq!(event["regarding"]["uid"], service.route("broken")["metadata"]["uid"]);
    assert!(event["note"].as_str().unwrap().contains("spec.rules"), "{event:#}");
    let settled = service.app.model.get().version;
    until("all is said", || service.server.events().len() == 3).await;
    assert_eq!(service.app.model.get().version, settled, "nothing that was said is heard");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_bad_routes_keeps_the_rate_and_delays_no_status() {
    const ROUTES: usize = 1000;
    let service = mk_service(mk_server().await, ", events: {rate: 10, burst: 20}").await;
    let lease = || service.server.server.get("leases.coordination.k8s.io", "default", "tidegate").unwrap();
    until("it leads", || lease().is_some()).await;
    let begun = std::time::Instant::now();
    (0..ROUTES).for_each(|at| service.put(&mk_route(&format!("r{at:04}"), "missing")));
    until("all statuses", || (0..ROUTES).rev().all(|at| service.is_told(&format!("r{at:04}")))).await;
    // Asked in this order, so that what comes in between is allowed.
    let said = service.server.writes("POST");
    let allowed = 20 + 10 * usize::try_from(begun.elapsed().as_secs() + 1).unwrap();
    assert!(said <= allowed, "{said} Events, {allowed} are allowed");
    assert!(said > 0, "some are said meanwhile");
    assert_eq!(service.app.problems.list(), Vec::new());
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_for_events_statuses_are_written_and_the_rule_is_named_once() {
    let server = mk_server().await;
    server.server.deny(Denial { verb: "create".into(), resource: EVENTS.into(), namespace: None });
    let service = mk_service(server, "").await;
    for name in ["a", "b", "c"] {
        service.put(&mk_route(name, "missing"));
    }
    until("the problem", || !service.app.problems.list().is_empty()).await;
    until("the statuses", || ["a", "b", "c"].iter().all(|name| service.is_told(name))).await;
    let problems = service.app.problems.list();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let rule = r#"{apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"]}"#;
    assert!(problems[0].1.reason.contains(rule), "{problems:?}");
    service.put(&mk_route("d", "missing"));
    until("its status", || service.is_told("d")).await;
    assert_eq!(service.server.writes("POST"), 1, "nobody is asked again for what was refused just now");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_does_not_lead_says_nothing_until_it_does() {
    let server = mk_server().await;
    let lease = |renewed: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": "default", "name": "tidegate"},
            "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3, "leaseTransitions": 1,
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": renewed}})
    };
    server.server.put(&lease("2026-01-01T00:00:00.000000Z")).unwrap();
    let lease_keys = ", status: {lease: {duration: 3s, renew_deadline: 2s, retry: 200ms}}";
    let service = mk_service(server, lease_keys).await;
    service.put(&mk_route("web", "missing"));
    until("it is known what is wrong", || {
        service.app.statuses.list().iter().any(|status| status.get().contains("BackendNotFound"))
    })
    .await;
    // The other one renews twice, which is longer than it takes to say something.
    for at in 1..=2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        service.server.server.put(&lease(&format!("2026-01-01T00:00:0{at}.000000Z"))).unwrap();
    }
    assert_eq!((service.server.writes("POST"), service.is_told("web")), (0, false));
    // It renews no more.
    until("the Event", || service.event("BackendNotFound").is_object()).await;
    service.end().await;
}
