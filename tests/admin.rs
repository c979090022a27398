//! The admin server over real HTTP: health, steering, resources without secrets, guards, the token.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/admin_rig.rs"]
mod admin_rig;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tidegate::admin::token::{Key, establish};
use tidegate::admin::{ModelDocument, SyncPhase, metrics};
use tidegate::config::Admin;
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType, Scope};
use tidegate_actors::problem::{Problem, Serving};
use tokio::net::TcpStream;

use admin_rig::*;

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
async fn a_path_that_is_no_text_is_refused_in_json_as_everything_is() {
    let rig = mk_rig().await;
    let paths = [
        ("GET", "/api/v1/resources/%ff"),
        ("GET", "/api/v1/actors/%ff"),
        ("POST", "/api/v1/actors/%ff/restart"),
        ("DELETE", "/api/v1/watches/%ff/v1"),
    ];
    for (method, path) in paths {
        let answer = rig.change(method, path, None).await;
        assert_eq!(answer.status, 400, "{method} {path}");
        assert!(answer.json()["error"].as_str().unwrap().contains("UTF-8"), "{method} {path}: {}", answer.body);
    }
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
    rig.put("demo", &mk_secret_type(), std::slice::from_ref(&secret));
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

    let status = json!({ "kind": "HTTPRoute", "name": "web", "status": { "parents": [] } });
    rig.statuses.lock().push(RawValue::from_string(status.to_string()).unwrap());
    assert_eq!(rig.get("/api/v1/status").await.json(), json!({ "items": [status] }));
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

/// The names of metrics in the sources: `counter!("NAME"`.
fn recorded(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            recorded(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                let calls = text.split(kind).skip(1);
                let named = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
                names.extend(named.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_metric_that_is_recorded_is_described_and_the_other_way_round() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    recorded(&root.join("src"), &mut names);
    recorded(&root.join("actors/src"), &mut names);
    names.sort();
    names.dedup();
    let mut described: Vec<String> = metrics::METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    described.sort();
    assert_eq!(names, described);
}

#[test]
fn a_metrics_name_says_its_unit_and_kind() {
    for (name, kind, unit, help) in metrics::METRICS {
        let rest = name.strip_suffix("_total");
        assert_eq!(rest.is_some(), *kind == metrics::Kind::Counter, "{name}: counters, and only they, end in _total");
        let (rest, unit) = (rest.unwrap_or(name), unit.as_str());
        assert_eq!(rest.ends_with("_seconds"), unit == "seconds", "{name}");
        assert_eq!(rest.ends_with("_bytes"), unit == "bytes", "{name}");
        assert!(*kind != metrics::Kind::Histogram || rest.ends_with("_seconds"), "{name} has no buckets of its own");
        assert!(rest.starts_with("tidegate_") && help.ends_with('.'), "{name}: {help}");
    }
}
