//! Two shards of one controller: each serves its own Gateways and writes what is told there, once, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::audit::Audit;
use crate::rig::{Corner, Replica, ReplicaOptions, holds};
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::envoy::{PATIENCE, eventually};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_route_at, mk_service};

const SHARDS: [(&str, u16); 2] = [("a", 8080), ("b", 8081)];

fn mk_labelled(name: &str, port: u16, shard: &str) -> String {
    let gateway = mk_gateway(name, &mk_http_listener("http", port, ""));
    gateway.replace(
        &format!("name: {name}, namespace: apps"),
        &format!("name: {name}, namespace: apps, labels: {{ shard: {shard} }}"),
    )
}

fn mk_route_of(name: &str, gateways: &[&str]) -> String {
    let parents: Vec<String> = gateways.iter().map(|gateway| format!("{{ name: {gateway} }}")).collect();
    let rules = "- backendRefs: [{ name: web, port: 80 }]";
    mk_route_at("apps", name, &format!("[{}]", parents.join(", ")), &[&format!("{name}.example.com")], rules)
}

/// The Gateways at which a route says that it is accepted, in the order of its status.
fn accepted_at(route: &Value) -> Vec<String> {
    let parents = route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let accepted = parents.iter().filter(|parent| holds(route, parent, "Accepted"));
    accepted.map(|parent| parent["parentRef"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until a route is accepted at these Gateways and at no other.
async fn until_accepted_at(cluster: &Cluster, corner: &Corner, route: &str, gateways: &[&str]) {
    let at = |route: &Value| {
        let mut at = accepted_at(route);
        at.sort();
        at == gateways && route["status"]["parents"].as_array().map_or(0, Vec::len) == gateways.len()
    };
    corner.until(cluster, "httproute", route, PATIENCE, at).await;
}

/// The ports on which a shard serves.
async fn served(replica: &Replica) -> Vec<u64> {
    let config = replica.ask_json("/api/v1/config").await;
    let listeners = config["listeners"].as_array().cloned().unwrap_or_default();
    listeners.iter().filter_map(|listener| listener.pointer("/id/port")?.as_u64()).collect()
}

/// Waits until a shard serves these ports alone.
async fn until_served(replica: &Replica, ports: &[u64]) {
    let attempt = || async {
        let served = served(replica).await;
        if served == ports { Ok(()) } else { Err(served) }
    };
    eventually("the shard serves its own Gateways", PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn two_shards_serve_and_tell_each_its_own_gateways_and_never_write_over_each_other() {
    let audit = Audit::new();
    let cluster = &Cluster::start_with(ClusterOptions { apiserver_flags: audit.flags(), ..Default::default() }).await;
    let corner = &Corner::new(cluster, "shards").await;
    let gateways = SHARDS.map(|(name, port)| mk_labelled(name, port, name));
    let routes = [mk_route_of("at-a", &["a"]), mk_route_of("at-b", &["b"]), mk_route_of("at-both", &["a", "b"])];
    let web = mk_service("web", &["192.0.2.7:80".parse().unwrap()]);
    corner.apply(cluster, &[vec![mk_class(), web], gateways.to_vec(), routes.to_vec()].concat()).await;

    let mut replicas = BTreeMap::new();
    for (shard, _) in SHARDS {
        let user = format!("shard-{shard}");
        let kubeconfig = cluster.user_kubeconfig(&user, &["system:masters"], Duration::from_secs(3600)).await;
        let options = ReplicaOptions { kubeconfig: Some(kubeconfig), shard: Some(shard), ..Default::default() };
        replicas.insert(shard, Replica::ready(cluster, corner, &options).await);
    }

    for (shard, port) in SHARDS {
        until_served(&replicas[shard], &[u64::from(port)]).await;
        let programmed = |gateway: &Value| {
            holds(gateway, &gateway["status"], "Programmed") && gateway["status"]["listeners"][0]["attachedRoutes"] == 2
        };
        corner.until(cluster, "gateway", shard, PATIENCE, programmed).await;
        until_accepted_at(cluster, corner, &format!("at-{shard}"), &[shard]).await;
    }
    until_accepted_at(cluster, corner, "at-both", &["a", "b"]).await;
    // A write can be read before it is logged.
    let written = async |what: &str, name: &str, count: usize| -> Vec<String> {
        let attempt = || {
            let writes = audit.writes(&corner.name).into_iter();
            let of = writes.filter(|w| w.resource == what && w.name == name && w.is_done());
            let mut users: Vec<String> = of.map(|w| w.user).collect();
            users.sort();
            std::future::ready(if users.len() < count { Err(users) } else { Ok(users) })
        };
        eventually(&format!("{count} statuses of {name} are in the audit log"), PATIENCE, attempt).await
    };
    assert_eq!(written("gateways", "a", 1).await, ["shard-a"]);
    assert_eq!(written("gateways", "b", 1).await, ["shard-b"]);
    assert_eq!(written("httproutes", "at-a", 1).await, ["shard-a"]);
    assert_eq!(written("httproutes", "at-b", 1).await, ["shard-b"]);
    assert_eq!(written("httproutes", "at-both", 2).await, ["shard-a", "shard-b"], "each its own entry, once");
    let of_class = written("gatewayclasses", &corner.name, 1).await;
    assert_eq!(of_class.len(), 1, "both say the same of the class, so one says it");

    // A Gateway gets another label: it is served by the other shard, and its entries stay.
    cluster.kubectl(&["label", "gateway", "b", "-n", &corner.name, "--overwrite", "shard=a"]).await;
    until_served(&replicas["a"], &[8080, 8081]).await;
    until_served(&replicas["b"], &[]).await;
    until_accepted_at(cluster, corner, "at-both", &["a", "b"]).await;
    cluster.kubectl(&["label", "gateway", "b", "-n", &corner.name, "--overwrite", "shard=b"]).await;
    until_served(&replicas["b"], &[8081]).await;
    until_served(&replicas["a"], &[8080]).await;

    // One that goes takes its own entries with it, and no other shard's.
    cluster.kubectl(&["delete", "gateway", "b", "-n", &corner.name]).await;
    until_accepted_at(cluster, corner, "at-both", &["a"]).await;
    until_accepted_at(cluster, corner, "at-b", &[]).await;
    let by_a = written("httproutes", "at-b", 0).await.iter().filter(|user| *user == "shard-a").count();
    let total = written("httproutes", "at-both", 0).await.len();
    println!("{by_a} writes of shard-a to the route of the other, {total} to the one of both");
    for replica in replicas.values() {
        assert_eq!(replica.problems().await, Vec::<Value>::new());
    }
}
