//! The permissions that we document are enough, and what happens when one is missing.

use serde_json::Value;

use crate::rig::{Corner, Replica, ReplicaOptions, holds, in_repository, is_accepted, shared_cluster};
use crate::support::envoy::{PATIENCE, eventually};
use crate::support::manifests::{
    mk_class, mk_gateway, mk_http_listener, mk_https_listener, mk_route_to, mk_secret, mk_service,
};
use crate::support::tls::Authority;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn the_documented_permissions_are_enough_and_one_that_is_missing_is_named_and_stops_nothing_else() {
    let cluster = &*shared_cluster().await;
    let documented = std::fs::read_to_string(in_repository("config/deploy/rbac.yaml")).unwrap();
    let fewer = documented.replace(", httproutes/status", "").replace("resources: [events]", "resources: [others]");
    assert_ne!(fewer, documented);
    cluster.apply(&fewer).await;
    // The names that the manifests are about.
    let corner = Corner { name: "tidegate".to_owned(), controller: "tidegate.dev/permissions".to_owned() };
    let certificate = Authority::new().issue(&["web.example.com"]);
    let listeners =
        [mk_http_listener("http", 8080, ""), mk_https_listener("https", 8443, "web.example.com", &["web-tls"])];
    let manifests = [
        mk_class(),
        mk_secret("web-tls", &certificate.pem, &certificate.key),
        mk_gateway("public", &listeners.concat()),
        mk_service("web", &["192.0.2.7:80".parse().unwrap()]),
        mk_route_to("web", &["web.example.com"], "web"),
        mk_route_to("lost", &["lost.example.com"], "missing"),
    ];
    corner.apply(cluster, &manifests).await;
    let options = ReplicaOptions {
        kubeconfig: Some(cluster.service_account_kubeconfig("tidegate").await),
        everywhere: true,
        ..Default::default()
    };
    let replica = Replica::ready(cluster, &corner, &options).await;

    let named = || async {
        let problems = replica.problems().await;
        let text = |problem: &Value| problem["reason"].as_str().unwrap_or_default().to_owned();
        let of_status =
            r#"{apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes/status"], verbs: ["patch"]}"#;
        let of_events = r#"{apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"]}"#;
        let count = |rule: &str| problems.iter().map(text).filter(|reason| reason.contains(rule)).count();
        if (count(of_status), count(of_events)) == (2, 1) { Ok(()) } else { Err(problems) }
    };
    eventually("the missing rules are named, of two routes and once for all Events", PATIENCE, named).await;
    let told = |gateway: &Value| {
        let listeners = gateway["status"]["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
        holds(gateway, &gateway["status"], "Programmed")
            && listeners.len() == 2
            && listeners.iter().all(|listener| {
                holds(gateway, listener, "ResolvedRefs")
                    && listener["attachedRoutes"] == if listener["name"] == "http" { 2 } else { 1 }
            })
    };
    corner.until(cluster, "gateway", "public", PATIENCE, told).await;
    let class = |class: &Value| holds(class, &class["status"], "Accepted");
    corner.until(cluster, "gatewayclass", "tidegate", PATIENCE, class).await;
    let route = corner.object(cluster, "httproute", "web").await;
    assert_eq!(route["status"]["parents"].as_array().map_or(0, Vec::len), 0, "{route:#}");
    assert!(replica.writes("not_permitted").await > 0);
    assert_eq!(replica.problems().await.len(), 3, "nothing else is missing");

    cluster.apply(&documented).await;

    let accepted = |route: &Value| is_accepted(route, &corner.controller);
    corner.until(cluster, "httproute", "web", 2 * PATIENCE, accepted).await;
    let none = || async {
        let problems = replica.problems().await;
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    };
    // What was refused is left alone for half a minute.
    eventually("the problems are over", 2 * PATIENCE, none).await;
    let events = cluster.get_json(&["events.events.k8s.io", "-n", &corner.name]).await;
    let said: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["reason"]).collect();
    assert_eq!(said, ["BackendNotFound"]);
    let actors = replica.ask("/api/v1/actors").await.body;
    assert!(!actors.contains("degraded"), "{actors}");
}
