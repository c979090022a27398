//! A cluster: away at the start, back without a list, or with its history gone.

use serde_json::json;
use tidegate::config::{Loader, Registry};
use tidegate::source::directory::{self, load};
use tidegate::source::schema::Catalogue;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::queue::Phase;
use tidegate_apiserver::{ApiServer, Options};

use super::rig::{http, wait_until};
use super::*;

/// The demo's objects as a cluster has them.
async fn mk_server() -> ApiServer {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let kinds = || tidegate::resource::kinds().into_iter().map(|kind| kind.resource_type);
    for of in kinds().filter(|of| of.group().contains("gateway") && of.version() == "v1") {
        server.put(&mk_definition(&of)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
    let catalogue = kinds().rev().fold(Catalogue::new(), Catalogue::with_unchecked);
    let loaded = load(directory::Options::new("files", path), &Env::system(), catalogue).unwrap();
    for object in loaded.objects.values().flatten() {
        let mut value: Value = serde_json::from_slice(object.raw()).unwrap();
        if let Some(namespace) = &object.key().namespace {
            value["metadata"]["namespace"] = json!(&**namespace);
        }
        server.put(&value).unwrap();
    }
    server
}

fn mk_definition(of: &ResourceType) -> Value {
    let scope = if of.scope() == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": of.plural_and_group()},
        "spec": {
            "group": of.group(), "scope": scope,
            "names": {"plural": of.plural(), "singular": of.kind().to_lowercase(), "kind": of.kind()},
            "versions": [{"name": of.version(), "served": true, "storage": true, "subresources": {"status": {}},
                          "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
        }
    })
}

fn mk_cluster_config(folder: &Path, server: &ApiServer) -> Config {
    std::fs::write(folder.join("key"), KEY).unwrap();
    std::fs::write(folder.join("kubeconfig"), server.kubeconfig()).unwrap();
    let text = "admin: {address: 127.0.0.1:0}\nxds: {address: 127.0.0.1:0}\nsnapshot: {key_file: key}\n\
                sources: [{name: c, kind: kubernetes, kubeconfig: kubeconfig, status: {write: false}}]\n";
    Loader::new(Registry::default()).parse(text, &folder.join("t.yaml")).unwrap()
}

/// What was asked for of the gateway's types since the requests were last forgotten: lists, and watches.
fn asked(server: &ApiServer) -> (Vec<String>, Vec<String>) {
    let of_objects = |request: &tidegate_apiserver::Request| {
        ["list", "watch"].contains(&&*request.verb) && !request.path.contains("customresourcedefinitions")
    };
    let requests = server.requests().into_iter().filter(of_objects);
    let lists = |request: &tidegate_apiserver::Request| {
        request.verb == "list" || request.query.contains("sendInitialEvents=true")
    };
    let (lists, watches): (Vec<_>, Vec<_>) = requests.partition(lists);
    let spell = |requests: Vec<tidegate_apiserver::Request>| {
        requests.into_iter().map(|request| format!("{}?{}", request.path, request.query)).collect()
    };
    (spell(lists), spell(watches))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_at_the_start_is_served_from_the_snapshot_and_followed_without_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let server = mk_server().await;
    let config = mk_cluster_config(folder.path(), &server);
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    let before = model(&app);
    assert!(!before["listeners"].as_array().unwrap().is_empty(), "{before}");
    kill(app).await;

    server.stop().await;
    let app = start(&config).await;
    published(&app).await;
    assert_eq!(model(&app), before);
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &Value::Bool(true)), "{}", answer.body);

    server.forget_requests();
    server.start_again().await.unwrap();
    let mut route = server.get("httproutes.gateway.networking.k8s.io", "default", "whoami").ok().flatten();
    if route.is_none() {
        let all = server.list_raw("httproutes.gateway.networking.k8s.io").unwrap();
        let first = all.values().next().expect("the demo has routes");
        route = Some(serde_json::from_slice(first).unwrap());
    }
    let mut route = route.unwrap();
    route["spec"]["hostnames"] = json!(["changed.example.com"]);
    server.put(&route).unwrap();
    wait_until("the change is published", || model(&app).to_string().contains("changed.example.com")).await;
    let (lists, watches) = asked(&server);
    assert_eq!(lists, Vec::<String>::new(), "of {watches:?}");
    assert!(watches.iter().any(|path| path.contains("httproutes") && path.contains("resourceVersion=")), "{watches:?}");
    let is_followed = |phase: &Phase| matches!(phase, Phase::Synced | Phase::Absent(_));
    let routes = || app.factory.slots().into_iter().find(|slot| slot.resource_type.kind() == "HTTPRoute").unwrap();
    assert!(is_followed(&routes().sync.phase));
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_history_is_gone_meanwhile_is_listed_while_the_snapshot_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = mk_server().await;
    let config = mk_cluster_config(folder.path(), &server);
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    let before = model(&app);
    kill(app).await;
    for _ in 0..3 {
        server.bump("services", 1).unwrap();
    }
    server.compact();
    server.expire_watches();
    server.forget_requests();
    let app = start(&config).await;
    published(&app).await;
    assert_eq!(model(&app), before);
    wait_until("it was listed", || !asked(&server).0.is_empty()).await;
    wait_until("nothing is degraded", || {
        app.factory.slots().iter().all(|slot| matches!(slot.sync.phase, Phase::Synced | Phase::Absent(_)))
    })
    .await;
    assert_eq!(model(&app), before);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
