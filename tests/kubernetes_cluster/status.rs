//! From kubectl to an answer of a real Envoy, and back to kubectl as status.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Corner, Replica, ReplicaOptions, condition, holds, is_accepted, mk_pod, shared_cluster, until_who};
use crate::support::cluster::Cluster;
use crate::support::envoy::{PATIENCE, eventually, loopback};
use crate::support::manifests::{
    mk_class, mk_gateway, mk_http_listener, mk_https_listener, mk_route_to, mk_secret, mk_service,
};
use crate::support::ports::free_ports;
use crate::support::tls::Authority;

/// The resource versions of all that has a status here.
async fn versions(cluster: &Cluster, corner: &Corner) -> Vec<String> {
    let mut versions = Vec::new();
    for object in [["gatewayclass", &corner.name], ["gateway", "public"], ["httproute", "web"], ["httproute", "api"]] {
        let found = corner.object(cluster, object[0], object[1]).await;
        versions.push(format!("{}/{} at {}", object[0], object[1], found["metadata"]["resourceVersion"]));
    }
    versions
}

fn parents(route: &Value) -> &[Value] {
    route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and envoy: run by cargo xtask test"]
async fn what_kubectl_applies_is_answered_by_envoy_and_says_so_in_its_status() {
    let cluster = &*shared_cluster().await;
    let corner = Corner::new(cluster, "end-to-end").await;
    let [http, https] = free_ports();
    let (blue, green) = (mk_pod("blue").await, mk_pod("green").await);
    let authority = Authority::new();
    let certificate = authority.issue(&["web.example.com"]);
    let options = ReplicaOptions { envoy: true, everywhere: true, ..Default::default() };
    let replica = Replica::start(cluster, &corner, &options);

    let listeners =
        [mk_http_listener("http", http, ""), mk_https_listener("https", https, "web.example.com", &["web-tls"])];
    let manifests = [
        mk_class(),
        mk_secret("web-tls", &certificate.pem, &certificate.key),
        mk_gateway("public", &listeners.concat()),
        mk_service("blue", &[blue.address()]),
        mk_service("green", &[green.address()]),
        mk_route_to("web", &["web.example.com"], "blue"),
        mk_route_to("api", &["api.example.com"], "green"),
    ];
    corner.apply(cluster, &manifests).await;
    replica.service.until_ready(replica.admin).await;

    until_who(loopback(http), "web.example.com", "/", "blue").await;
    until_who(loopback(http), "api.example.com", "/", "green").await;
    let answer = authority.get(loopback(https), "web.example.com", "/").await.unwrap();
    assert_eq!((answer.status, &answer.certificate), (200, &certificate.der));

    // A change is live, and so is its status.
    let begun = Instant::now();
    corner.apply(cluster, &[mk_route_to("web", &["web.example.com"], "green")]).await;
    let applied = begun.elapsed();
    until_who(loopback(http), "web.example.com", "/", "green").await;
    println!("kubectl apply took {applied:.1?}, and {:.1?} until Envoy answered so", begun.elapsed());

    let accepted = |route: &Value| is_accepted(route, &corner.controller);
    let web = corner.until(cluster, "httproute", "web", PATIENCE, accepted).await;
    assert_eq!(web["metadata"]["generation"], 2);
    assert_eq!(parents(&web).len(), 1, "{web:#}");
    let reference = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": corner.name,
        "name": "public" });
    assert_eq!(parents(&web)[0]["parentRef"], reference);
    let class = |class: &Value| holds(class, &class["status"], "Accepted");
    corner.until(cluster, "gatewayclass", &corner.name, PATIENCE, class).await;
    let programmed = |gateway: &Value| {
        let listeners = gateway["status"]["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
        let attached: Vec<_> =
            listeners.iter().map(|listener| (&listener["name"], &listener["attachedRoutes"])).collect();
        holds(gateway, &gateway["status"], "Accepted")
            && holds(gateway, &gateway["status"], "Programmed")
            && attached == [(&json!("http"), &json!(2)), (&json!("https"), &json!(1))]
            && listeners.iter().all(|listener| holds(gateway, listener, "Programmed"))
    };
    let gateway = corner.until(cluster, "gateway", "public", PATIENCE, programmed).await;
    assert_eq!(gateway["status"]["addresses"], json!([{ "type": "IPAddress", "value": "127.0.0.1" }]));
    assert!(condition(&gateway["status"], "Programmed")["lastTransitionTime"].is_string());

    // When nothing changes, nothing is written, whatever the API server adds to what it is told.
    let (settled, written) = (versions(cluster, &corner).await, replica.writes("written").await);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(versions(cluster, &corner).await, settled);
    assert_eq!(replica.writes("written").await, written);
    println!("{written} statuses were written for two routes, a Gateway and a class");

    // What another controller says stays, through each of our writes.
    let theirs = json!({ "parentRef": reference, "controllerName": "example.com/other", "conditions": [{
        "type": "Accepted", "status": "False", "reason": "NotMine", "message": "theirs", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    let all = json!({ "status": { "parents": [theirs, parents(&web)[0]] } }).to_string();
    let patch = ["patch", "httproute", "web", "-n", &corner.name, "--subresource=status", "--type=merge", "-p", &all];
    cluster.kubectl(&patch).await;
    corner.apply(cluster, &[mk_route_to("web", &["web.example.com", "www.example.com"], "green")]).await;
    let web = corner.until(cluster, "httproute", "web", PATIENCE, accepted).await;
    assert_eq!((web["metadata"]["generation"].as_i64(), parents(&web).len()), (Some(3), 2), "{web:#}");
    assert_eq!(parents(&web)[0], theirs);

    // Ours is gone again with what it spoke of; and when somebody takes ours away, it comes back.
    corner
        .apply(cluster, &[mk_route_to("web", &["web.example.com"], "green").replace("name: public", "name: else")])
        .await;
    let alone = |route: &Value| parents(route) == std::slice::from_ref(&theirs);
    corner.until(cluster, "httproute", "web", PATIENCE, alone).await;
    corner.apply(cluster, &[mk_route_to("web", &["web.example.com"], "green")]).await;
    corner.until(cluster, "httproute", "web", PATIENCE, accepted).await;
    let none = json!({ "status": { "parents": [theirs] } }).to_string();
    cluster
        .kubectl(&[
            "patch",
            "httproute",
            "web",
            "-n",
            &corner.name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &none,
        ])
        .await;
    let web = corner.until(cluster, "httproute", "web", PATIENCE, accepted).await;
    assert_eq!(parents(&web)[0], theirs);

    assert_eq!(replica.problems().await, Vec::<Value>::new());
    assert_eq!((replica.writes("failed").await, replica.writes("not_permitted").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn three_hundred_routes_applied_at_once_say_what_is_true_of_them_soon() {
    const ROUTES: usize = 300;
    let cluster = &*shared_cluster().await;
    let corner = Corner::new(cluster, "many-routes").await;
    let replica = Replica::ready(cluster, &corner, &ReplicaOptions::default()).await;
    let [http] = free_ports();
    let gateway = mk_gateway("public", &mk_http_listener("http", http, ""));
    corner.apply(cluster, &[mk_class(), gateway, mk_service("web", &["192.0.2.7:80".parse().unwrap()])]).await;

    let route = |at: usize| {
        // One in ten refers to nothing, and has to say so.
        let service = if at.is_multiple_of(10) { "missing" } else { "web" };
        mk_route_to(&format!("route-{at:03}"), &[&format!("r{at}.example.com")], service)
    };
    let manifests = corner.mk(&(0..ROUTES).map(route).collect::<Vec<_>>().join("\n---\n"));
    let begun = Instant::now();
    let arguments = ["apply", "--server-side", "-f", "-"];
    cluster.run_kubectl(cluster.kubeconfig(), &arguments, &manifests).await.unwrap();
    let applied = Instant::now();

    let truthful = |route: &Value| {
        let missing = route["spec"]["rules"][0]["backendRefs"][0]["name"] == "missing";
        let ours = parents(route).first().unwrap_or(&Value::Null);
        let accepted = holds(route, ours, "Accepted");
        let refs = condition(ours, "ResolvedRefs");
        accepted && if missing { refs["reason"] == "BackendNotFound" } else { holds(route, ours, "ResolvedRefs") }
    };
    let attempt = || async {
        let routes = cluster.get_json(&["httproutes", "-n", &corner.name]).await;
        let said = routes["items"].as_array().unwrap().iter().filter(|route| truthful(route)).count();
        if said == ROUTES { Ok(()) } else { Err(format!("{said} of {ROUTES}")) }
    };
    eventually("all routes have their status", Duration::from_secs(30), attempt).await;
    let after = applied.elapsed();
    let written = replica.writes("written").await;
    let conflicts = replica.writes("conflict").await;
    println!(
        "{ROUTES} routes applied in {:.1?}; all statuses {after:.2?} after the last of them; {written} writes, \
         {conflicts} conflicts",
        applied - begun
    );
    assert!(after < Duration::from_secs(10), "{after:?}");
    let attached = |gateway: &Value| gateway["status"]["listeners"][0]["attachedRoutes"] == ROUTES;
    corner.until(cluster, "gateway", "public", PATIENCE, attached).await;
}
