//! The admin server over real HTTP: health, steering, resources without secrets, watches, guards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::admin::ready::Published;
use tidegate::admin::state::{LogLevel, Provider};
use tidegate::admin::token::{Key, establish};
use tidegate::admin::watches::WatchRegistry;
use tidegate::admin::{
    AdminServer, AdminState, Catalogue, ModelDocument, ObjectStatus, Slot, StatusCondition, SyncPhase, metrics,
};
use tidegate::config::{Admin, Limits, Token, WatchedScope, WatchedType, Watches};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::problem::{Problem, Problems, Serving};
use tidegate_actors::supervisor::{ChildSpec, Stop, Stopper, Strategy, Supervisor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "correct-horse-battery-staple";

/// Types and objects as a test sets them.
#[derive(Default)]
struct Shelf {
    slots: Mutex<Vec<Slot>>,
    objects: Mutex<BTreeMap<String, Vec<Arc<Object>>>>,
    refuse: Mutex<Option<String>>,
}

#[async_trait]
impl Catalogue for Shelf {
    fn slots(&self) -> Vec<Slot> {
        self.slots.lock().clone()
    }

    fn objects(&self, source: &str, resource_type: &ResourceType) -> Vec<Arc<Object>> {
        self.objects.lock().get(&format!("{source}:{resource_type}")).cloned().unwrap_or_default()
    }

    async fn register(&self, resource_type: &ResourceType) -> Result<(), String> {
        if let Some(reason) = self.refuse.lock().clone() {
            return Err(reason);
        }
        self.slots.lock().push(mk_slot("demo", resource_type, SyncPhase::Pending(None)));
        Ok(())
    }

    async fn unregister(&self, resource_type: &ResourceType) -> Result<(), String> {
        self.slots.lock().retain(|slot| slot.resource_type != *resource_type);
        Ok(())
    }
}

#[derive(Default)]
struct Level(Mutex<String>);

impl LogLevel for Level {
    fn get(&self) -> String {
        self.0.lock().clone()
    }

    fn set(&self, level: &str) -> Result<(), String> {
        tidegate::config::check_level(level)?;
        *self.0.lock() = level.to_owned();
        Ok(())
    }
}

fn mk_slot(source: &str, resource_type: &ResourceType, phase: SyncPhase) -> Slot {
    Slot { source: source.into(), resource_type: resource_type.clone(), objects: 0, phase, age: None }
}

fn mk_route_type() -> ResourceType {
    ResourceType::new("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", Scope::Namespaced)
}

fn mk_secret_type() -> ResourceType {
    ResourceType::new("", "v1", "Secret", "secrets", Scope::Namespaced)
}

fn mk_widget() -> WatchedType {
    WatchedType { resource: "widgets.example.com/v1".into(), kind: "Widget".into(), scope: WatchedScope::Namespaced }
}

/// A running admin server with everything that it was given.
struct Rig {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    published: Arc<Mutex<Published>>,
    model: Arc<Mutex<Option<ModelDocument>>>,
    statuses: Arc<Mutex<Vec<ObjectStatus>>>,
    problems: Problems,
    supervisor: Supervisor,
    starts: Arc<Mutex<u32>>,
    watches: WatchRegistry,
    data_dir: TempDir,
    stopper: Stopper,
    served: tokio::task::JoinHandle<()>,
}

fn provider<T: Clone + Send + 'static>(cell: &Arc<Mutex<T>>) -> Provider<T> {
    let cell = cell.clone();
    Arc::new(move || cell.lock().clone())
}

fn mk_watches() -> Watches {
    Watches { allow: vec!["*.example.com".to_owned()], initial: Vec::new() }
}

async fn mk_rig() -> Rig {
    mk_rig_with(mk_watches()).await
}

async fn mk_rig_with(watches: Watches) -> Rig {
    let env = Env::system();
    let data_dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let problems = Problems::default();
    let supervisor = Supervisor::start("tidegate", Strategy::OneForOne, env.clone()).await.unwrap();
    let starts = Arc::new(Mutex::new(0));
    let counted = starts.clone();
    let child = ChildSpec::task("worker", move |context| {
        *counted.lock() += 1;
        async move {
            context.stop.stopped().await;
            Ok(())
        }
    });
    supervisor.add(ChildSpec::supervisor("sources", Strategy::OneForOne, vec![child])).await.unwrap();
    let registry = WatchRegistry::new(&watches, 2, data_dir.path(), &env, shelf.clone());
    let recorder = metrics::recorder().unwrap();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        metrics::describe();
        ::metrics::gauge!("tidegate_queue_depth", "queue" => "store/demo/httproutes").set(3.0);
        ::metrics::histogram!("tidegate_xds_event_to_ack_seconds").record(0.004);
    });
    let published = Arc::new(Mutex::new(Published::default()));
    let model = Arc::new(Mutex::new(None));
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let state = AdminState {
        actors: Arc::new(supervisor.clone()),
        catalogue: shelf.clone(),
        problems: problems.clone(),
        required_types: Vec::new(),
        published: provider(&published),
        model: provider(&model),
        statuses: provider(&statuses),
        proxies: Arc::new(|| json!({ "items": [{ "node": "envoy-1" }] })),
        metrics: Arc::new(move || metrics::render(&handle)),
        watches: registry.clone(),
        log: Arc::new(Level(Mutex::new("info".to_owned()))),
        key: Key::new(&Token::new(TOKEN)),
    };
    let admin = Admin { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Admin::default() };
    let server = AdminServer::bind(&admin, &Limits::default(), &env).await.unwrap();
    let address = server.address();
    let (stopper, stop) = Stop::channel();
    let served = tokio::spawn(server.serve(state, stop));
    Rig {
        address,
        shelf,
        published,
        model,
        statuses,
        problems,
        supervisor,
        starts,
        watches: registry,
        data_dir,
        stopper,
        served,
    }
}

/// An answer, read to the end of the connection.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

impl Rig {
    /// Sends a raw request, so that wrong ones can be sent as well.
    async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let body = body.map_or(String::new(), |body| body.to_string());
        let length = body.len();
        let host = self.address;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}");
        let head = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        self.raw(&format!("{head}{body}")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, None).await
    }

    async fn change(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(method, path, Some(TOKEN), body).await
    }

    fn put(&self, source: &str, resource_type: &ResourceType, objects: &[Value]) {
        let decoder = Decoder::new(source.into(), resource_type.clone());
        let decoded = objects.iter().map(|o| Arc::new(decoder.decode(o.to_string()).unwrap())).collect();
        let mut slot = mk_slot(source, resource_type, SyncPhase::Synced);
        slot.objects = objects.len();
        self.shelf.slots.lock().push(slot);
        self.shelf.objects.lock().insert(format!("{source}:{resource_type}"), decoded);
    }
}

#[tokio::test]
async fn not_ready_until_every_type_has_synced_and_something_was_published() {
    let rig = mk_rig().await;
    rig.shelf.slots.lock().push(mk_slot("demo", &mk_route_type(), SyncPhase::Pending(None)));
    let answer = rig.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let json = answer.json();
    assert_eq!(json["ready"], false);
    let missing: Vec<&str> = json["missing"].as_array().unwrap().iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(missing, ["demo:httproutes.gateway.networking.k8s.io/v1", "model"]);
    assert!(json["message"].as_str().unwrap().starts_with("not ready: type demo:httproutes"));

    rig.shelf.slots.lock()[0].phase = SyncPhase::Absent("no such directory entry".into());
    assert_eq!(rig.get("/readyz").await.status, 503);
    rig.published.lock().fresh = true;
    let answer = rig.get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &json!(false)));
    assert_eq!(rig.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_snapshot_makes_it_ready_but_degraded_and_so_does_a_paused_actor() {
    let rig = mk_rig().await;
    rig.shelf.slots.lock().push(mk_slot("demo", &mk_route_type(), SyncPhase::Pending(None)));
    rig.published.lock().snapshot = true;
    let answer = rig.get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &json!(true)));

    rig.shelf.slots.lock()[0].phase = SyncPhase::Synced;
    rig.published.lock().fresh = true;
    assert_eq!(rig.get("/readyz").await.json()["degraded"], false);
    rig.supervisor.pause("sources/worker").await.unwrap();
    let json = rig.get("/readyz").await.json();
    assert_eq!((&json["ready"], &json["degraded"]), (&json!(true), &json!(true)));
    assert_eq!(json["concerns"][0]["name"], "sources/worker");
    let text = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";
    let answer = rig.raw(text).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready, degraded: actor sources/worker: is paused\n"));
}

#[tokio::test]
async fn actors_are_shown_and_steered_by_hand() {
    let rig = mk_rig().await;
    let tree = rig.get("/api/v1/actors").await.json();
    assert_eq!(tree["children"][0]["children"][0]["path"], "sources/worker");
    assert_eq!(rig.get("/api/v1/actors/sources/worker").await.json()["state"], "running");
    assert_eq!(rig.get("/api/v1/actors/sources/nobody").await.status, 404);

    assert_eq!(rig.change("POST", "/api/v1/actors/sources/worker/pause", None).await.status, 200);
    assert_eq!(rig.get("/api/v1/actors/sources/worker").await.json()["state"], "paused");
    assert_eq!(*rig.starts.lock(), 1);
    assert_eq!(rig.change("POST", "/api/v1/actors/sources/worker/resume", None).await.status, 200);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while *rig.starts.lock() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "the actor was not started again");
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.change("POST", "/api/v1/actors/sources/nobody/restart", None).await.status, 404);
    let answer = rig.change("POST", "/api/v1/actors/sources/worker/explode", None).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("restart, pause and resume"));
}

#[tokio::test]
async fn whatever_changes_something_needs_the_token() {
    let rig = mk_rig().await;
    let changes = [
        ("POST", "/api/v1/actors/sources/worker/pause"),
        ("POST", "/api/v1/watches"),
        ("DELETE", "/api/v1/watches/widgets.example.com/v1"),
        ("PUT", "/api/v1/log"),
    ];
    for (method, path) in changes {
        for token in [None, Some(""), Some("correct-horse-battery-stapl"), Some("wrong")] {
            let answer = rig.send(method, path, token, Some(json!({ "level": "trace" }))).await;
            assert_eq!(answer.status, 401, "{method} {path} {token:?}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer realm=\"tidegate\""));
        }
    }
    assert_eq!(rig.get("/api/v1/actors/sources/worker").await.json()["state"], "running");
    assert_eq!(rig.get("/api/v1/log").await.json()["level"], "info");
    assert!(rig.watches.list().is_empty());
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_and_nothing_allows_other_origins() {
    let rig = mk_rig().await;
    for host in ["evil.example", "evil.example:9010", "127.0.0.1.evil.example"] {
        let answer =
            rig.raw(&format!("GET /api/v1/config HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 421, "{host}");
    }
    let answer = rig.raw("GET /livez HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status, 421, "no Host at all");
    let origin = "GET /livez HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n";
    let answer = rig.raw(origin).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"));
}

#[tokio::test]
async fn objects_are_listed_by_type_label_namespace_and_source() {
    let rig = mk_rig().await;
    let mk = |namespace: &str, name: &str, app: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "namespace": namespace, "name": name, "labels": { "app": app } },
        })
    };
    rig.put("demo", &mk_route_type(), &[mk("a", "one", "web"), mk("b", "two", "web"), mk("b", "three", "api")]);
    rig.put("other", &mk_route_type(), &[mk("b", "four", "web")]);
    let names = async |query: &str| -> Vec<String> {
        let answer = rig.get(&format!("/api/v1/resources/httproutes.gateway.networking.k8s.io{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let json = answer.json();
        let items = json["items"].as_array().unwrap().iter();
        items.map(|item| item["object"]["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").await, ["one", "two", "three", "four"]);
    assert_eq!(names("?labelSelector=app%3Dweb&namespace=b&source=demo").await, ["two"]);
    assert_eq!(names("?labelSelector=app%20notin%20(web)").await, ["three"]);
    assert_eq!(names("?source=nobody").await, Vec::<String>::new());

    let types = rig.get("/api/v1/resources").await.json();
    assert_eq!(types["items"][0]["name"], "httproutes.gateway.networking.k8s.io");
    assert_eq!((&types["items"][0]["objects"], &types["items"][0]["phase"]), (&json!(3), &json!("synced")));
    let path = "/api/v1/resources/httproutes.gateway.networking.k8s.io";
    assert_eq!(rig.get(&format!("{path}?labelSelector=%3D%3D")).await.status, 400);
    assert_eq!(rig.get(&format!("{path}?labelselector=a")).await.status, 400);
    assert_eq!(rig.get("/api/v1/resources/unheardof").await.status, 404);
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let rig = mk_rig().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "namespace": "a", "name": "cert", "labels": { "app": "web" }, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"tls.key\":\"HUSH\"}}",
            "example.com/copy": "HUSH",
        } },
        "data": { "tls.crt": "HUSH", "tls.key": "HUSH" },
        "stringData": { "password": "HUSH" },
        "extra": { "deep": ["HUSH"] },
    });
    rig.put("demo", &mk_secret_type(), &[secret.clone()]);
    // A Secret that a source holds under another type is a Secret all the same.
    let odd = ResourceType::new("example.com", "v1", "Secretish", "secretishes", Scope::Namespaced);
    rig.put("demo", &odd, &[secret]);
    let config_map = ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced);
    let applied = json!({ "kubectl.kubernetes.io/last-applied-configuration": "HUSH", "note": "seen" });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": "a", "name": "plain", "annotations": applied }, "data": { "key": "shown" },
    });
    rig.put("demo", &config_map, &[map]);

    for path in ["secrets", "secretishes.example.com", "configmaps"] {
        let answer = rig.get(&format!("/api/v1/resources/{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("HUSH"), "{path}: {}", answer.body);
    }
    let shown = rig.get("/api/v1/resources/secrets").await.json();
    let object = &shown["items"][0]["object"];
    assert_eq!(object["data"], json!({ "tls.crt": "<redacted>", "tls.key": "<redacted>" }));
    assert_eq!(object["stringData"], json!({ "password": "<redacted>" }));
    assert_eq!((&object["type"], &object["metadata"]["name"]), (&json!("kubernetes.io/tls"), &json!("cert")));
    assert_eq!(object["metadata"]["labels"], json!({ "app": "web" }));
    let shown = rig.get("/api/v1/resources/configmaps").await.json();
    assert_eq!(shown["items"][0]["object"]["data"]["key"], "shown");
    assert_eq!(shown["items"][0]["object"]["metadata"]["annotations"]["note"], "seen");
}

#[tokio::test]
async fn the_model_is_versioned_and_unchanged_ones_are_not_sent_again() {
    let rig = mk_rig().await;
    assert_eq!(rig.get("/api/v1/config").await.status, 503);
    *rig.model.lock() = Some(ModelDocument { version: "7".into(), body: "{\"listeners\":[]}".into() });
    let answer = rig.get("/api/v1/config").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"listeners\":[]}"));
    assert_eq!(answer.header("etag").as_deref(), Some("\"7\""));
    let mk = |tag: &str| {
        format!("GET /api/v1/config HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n")
    };
    let answer = rig.raw(&mk("\"6\", W/\"7\"")).await;
    assert_eq!((answer.status, answer.body.as_str()), (304, ""));
    assert_eq!(rig.raw(&mk("\"6\"")).await.status, 200);
}

#[tokio::test]
async fn problems_statuses_and_proxies_are_shown() {
    let rig = mk_rig().await;
    let key = ObjectKey::namespaced("demo", "default", "web");
    let object = ObjectRef { resource_type: mk_route_type(), key };
    let problem = Problem {
        place: "routes.yaml:17".into(),
        object: Some(object.clone()),
        field: "spec.rules[0]".into(),
        reason: "is wrong".into(),
        serving: Serving::LastGood,
    };
    rig.problems.set("source/demo", "1", problem);
    let shown = rig.get("/api/v1/problems").await.json();
    let object_json = json!({
        "source": "demo", "type": "httproutes.gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "namespace": "default", "name": "web",
    });
    let expected = json!({ "items": [{
        "scope": "source/demo", "place": "routes.yaml:17", "object": object_json, "field": "spec.rules[0]",
        "reason": "is wrong", "serving": "last-good",
    }] });
    assert_eq!(shown, expected);

    let condition = StatusCondition {
        about: Some("default/gw".into()),
        condition: "Accepted".into(),
        status: "True".into(),
        reason: "Accepted".into(),
        message: "fine".into(),
        observed_generation: 4,
    };
    rig.statuses.lock().push(ObjectStatus { object, conditions: vec![condition] });
    let shown = rig.get("/api/v1/status").await.json();
    assert_eq!(shown["items"][0]["name"], "web");
    let expected = json!({
        "about": "default/gw", "type": "Accepted", "status": "True", "reason": "Accepted", "message": "fine",
        "observedGeneration": 4,
    });
    assert_eq!(shown["items"][0]["conditions"], json!([expected]));
    assert_eq!(rig.get("/api/v1/proxies").await.json()["items"][0]["node"], "envoy-1");
}

#[tokio::test]
async fn metrics_have_help_units_and_real_histograms() {
    let rig = mk_rig().await;
    let answer = rig.get("/metrics").await;
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(answer.body.contains("# HELP tidegate_queue_depth Things waiting"), "{}", answer.body);
    assert!(answer.body.contains("tidegate_queue_depth{queue=\"store/demo/httproutes\"} 3"), "{}", answer.body);
    assert!(answer.body.contains("# TYPE tidegate_xds_event_to_ack_seconds histogram"), "{}", answer.body);
    assert!(answer.body.contains("tidegate_xds_event_to_ack_seconds_bucket{le=\"0.005\"} 1"), "{}", answer.body);
}

#[tokio::test]
async fn a_watch_is_registered_kept_over_a_restart_and_removed() {
    let rig = mk_rig().await;
    let body = json!({ "resource": "widgets.example.com/v1", "kind": "Widget" });
    let answer = rig.change("POST", "/api/v1/watches", Some(body.clone())).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(body.clone())).await.status, 200);
    let listed = rig.get("/api/v1/watches").await.json();
    let expected = json!([
        { "resource": "widgets.example.com/v1", "kind": "Widget", "scope": "Namespaced", "origin": "request" }
    ]);
    assert_eq!((&listed["items"], &listed["allow"]), (&expected, &json!(["*.example.com"])));
    assert_eq!(rig.shelf.slots().len(), 1);
    // A type of somebody's own that is not synced yet keeps nobody from being ready.
    rig.published.lock().fresh = true;
    assert_eq!(rig.get("/readyz").await.status, 200);

    // Another life on the same directory.
    let shelf = Arc::new(Shelf::default());
    let again = WatchRegistry::new(&mk_watches(), 2, rig.data_dir.path(), &Env::system(), shelf.clone());
    again.restore(&rig.problems).await;
    assert_eq!(again.list()[0].watched, mk_widget());
    assert_eq!(shelf.slots().len(), 1);
    assert!(rig.problems.list().is_empty());

    let other = json!({ "resource": "widgets.example.com/v1", "kind": "Widget", "scope": "Cluster" });
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(other)).await.status, 409);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/widgets.example.com/v1", None).await.status, 204);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/widgets.example.com/v1", None).await.status, 404);
    assert!(rig.shelf.slots().is_empty());
    let again = WatchRegistry::new(&mk_watches(), 2, rig.data_dir.path(), &Env::system(), rig.shelf.clone());
    again.restore(&rig.problems).await;
    assert!(again.list().is_empty());
}

#[tokio::test]
async fn a_watch_outside_the_allowlist_is_refused_with_the_entry_that_is_missing() {
    let rig = mk_rig().await;
    let body = json!({ "resource": "secrets/v1", "kind": "Secret" });
    let answer = rig.change("POST", "/api/v1/watches", Some(body)).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["error"].as_str().unwrap().contains("add `secrets/v1` to watches.allow"));
    for body in [json!({ "resource": "widgets", "kind": "Widget" }), json!({ "resource": "../x/v1", "kind": "X" })] {
        assert_eq!(rig.change("POST", "/api/v1/watches", Some(body)).await.status, 400);
    }
    let unknown_key = json!({ "resource": "widgets.example.com/v1", "kind": "Widget", "colour": "red" });
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(unknown_key)).await.status, 422);
    assert!(rig.shelf.slots().is_empty());
    assert!(!rig.data_dir.path().join("watches.json").exists());
}

#[tokio::test]
async fn what_the_config_allows_no_more_is_unwatched_and_comes_back_when_it_does() {
    let rig = mk_rig().await;
    rig.watches.add(mk_widget()).await.unwrap();
    rig.watches.reconfigure(&Watches::default(), &rig.problems).await;
    assert!(rig.watches.list().is_empty() && rig.shelf.slots().is_empty());
    let standing = rig.problems.list();
    assert_eq!(standing.len(), 1);
    assert!(standing[0].1.reason.contains("add `widgets.example.com/v1` to watches.allow"), "{standing:?}");

    let initial = WatchedType { resource: "gadgets.example.com/v1".into(), kind: "Gadget".into(), ..mk_widget() };
    let watches = Watches { initial: vec![initial], ..mk_watches() };
    rig.watches.reconfigure(&watches, &rig.problems).await;
    assert!(rig.problems.list().is_empty());
    let listed = rig.get("/api/v1/watches").await.json();
    let origins: Vec<_> = listed["items"].as_array().unwrap().iter().map(|w| w["origin"].clone()).collect();
    assert_eq!(origins, ["config", "request"]);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/gadgets.example.com/v1", None).await.status, 409);
}

#[tokio::test]
async fn a_damaged_watches_file_and_a_full_registry_are_told_of() {
    let rig = mk_rig().await;
    std::fs::write(rig.data_dir.path().join("watches.json"), "{ half").unwrap();
    rig.watches.restore(&rig.problems).await;
    assert!(rig.problems.list()[0].1.reason.contains("is not what Tidegate wrote"));
    for name in ["a", "b"] {
        let watched = WatchedType { resource: format!("{name}.example.com/v1"), ..mk_widget() };
        assert!(rig.watches.add(watched).await.unwrap());
    }
    let error = rig.watches.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("limits.watches"), "{error}");

    *rig.shelf.refuse.lock() = Some("no source has it".to_owned());
    rig.watches.remove("a.example.com/v1").await.unwrap();
    let error = rig.watches.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("no source has it"), "{error}");
    assert_eq!(rig.watches.list().len(), 1);
}

#[tokio::test]
async fn a_watch_that_cannot_be_kept_is_not_begun() {
    let shelf = Arc::new(Shelf::default());
    let blocked = tempfile::NamedTempFile::new().unwrap();
    // A file where the directory should be: nothing can be written below it.
    let registry = WatchRegistry::new(&mk_watches(), 9, &blocked.path().join("data"), &Env::system(), shelf.clone());
    let error = registry.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("set `data_dir`"), "{error}");
    assert!(registry.list().is_empty() && shelf.slots().is_empty());
}

#[tokio::test]
async fn the_log_level_is_changed_without_a_restart_and_nonsense_is_refused() {
    let rig = mk_rig().await;
    let answer = rig.change("PUT", "/api/v1/log", Some(json!({ "level": "info,tidegate::publish=debug" }))).await;
    assert_eq!((answer.status, &answer.json()["level"]), (200, &json!("info,tidegate::publish=debug")));
    let answer = rig.change("PUT", "/api/v1/log", Some(json!({ "level": "loud" }))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(rig.get("/api/v1/log").await.json()["level"], "info,tidegate::publish=debug");
}

#[tokio::test]
async fn bodies_are_bounded_and_unknown_paths_say_what_there_is() {
    let rig = mk_rig().await;
    let large = json!({ "resource": "x".repeat(100_000), "kind": "X" });
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(large)).await.status, 413);
    let answer = rig.get("/api/v1/wathces").await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"].as_str().unwrap().contains("watches"));
    assert_eq!(rig.change("PUT", "/livez", None).await.status, 405);
}

#[tokio::test]
async fn a_stopped_server_finishes_and_frees_its_address() {
    let rig = mk_rig().await;
    let _idle = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(rig.get("/livez").await.status, 200);
    rig.stopper.stop();
    tokio::time::timeout(Duration::from_secs(10), rig.served).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
}

#[test]
fn a_token_is_made_once_kept_private_and_read_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let made = establish(&Admin::default(), &data, &Env::system()).unwrap();
    assert_eq!(made.reveal().len(), 64);
    let mode = std::fs::metadata(data.join("admin-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(establish(&Admin::default(), &data, &Env::system()).unwrap(), made);
    let other = establish(&Admin::default(), &dir.path().join("other"), &Env::system()).unwrap();
    assert_ne!(other, made);
    assert!(!format!("{made:?} {:?}", Key::new(&made)).contains(made.reveal()));

    let with_file = |path: &Path| Admin { token_file: Some(path.to_owned()), ..Admin::default() };
    let file = dir.path().join("token");
    std::fs::write(&file, "  0123456789abcdef\n").unwrap();
    assert_eq!(establish(&with_file(&file), &data, &Env::system()).unwrap().reveal(), "0123456789abcdef");
    std::fs::write(&file, "short").unwrap();
    let error = establish(&with_file(&file), &data, &Env::system()).unwrap_err().to_string();
    assert!(error.contains("16 characters") && !error.contains("short"), "{error}");
    assert!(establish(&with_file(&dir.path().join("none")), &data, &Env::system()).is_err());
}
