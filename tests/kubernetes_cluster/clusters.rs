//! Several clusters at once: each a source of its own, whose objects carry its name, refer to the others', and never
//! wait for them.

use std::path::PathBuf;

use serde_json::Value;

use crate::rig::{Corner, Replica, ReplicaOptions, holds, is_accepted, mk_pod, until_who};
use crate::support::cluster::Cluster;
use crate::support::envoy::{PATIENCE, eventually, get, loopback};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_route_to, mk_service};
use crate::support::ports::free_ports;

/// Which sources hold an object of a name, by what the admin API shows.
async fn sources(replica: &Replica, resource: &str, name: &str) -> Vec<String> {
    let all = replica.ask_json(&format!("/api/v1/resources/{resource}")).await;
    let items = all["items"].as_array().unwrap().iter();
    let named = items.filter(|item| item["object"]["metadata"]["name"] == name);
    named.map(|item| item["source"].as_str().unwrap().to_owned()).collect()
}

async fn until_degraded(replica: &Replica, source: &str) {
    let attempt = || async {
        let readiness = replica.ask_json("/readyz").await;
        let concerns = readiness["concerns"].to_string();
        let of = readiness["degraded"] == true && concerns.contains(&format!("\"{source}:"));
        if of { Ok(()) } else { Err(readiness.to_string()) }
    };
    eventually(&format!("{source} is known to be away"), PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and envoy: run by cargo xtask test"]
async fn a_gateway_in_one_cluster_serves_what_is_in_another_and_none_that_dies_harms_the_other() {
    let (mut east, mut west) = tokio::join!(Cluster::start(), Cluster::start());
    let corner = &Corner::new(&east, "clusters").await;
    west.kubectl(&["create", "namespace", &corner.name]).await;
    let (near, far, own) = (mk_pod("near").await, mk_pod("far").await, mk_pod("own").await);
    let [http] = free_ports();
    let public = loopback(http);
    // Both have the class, as the installation tells them to. A Service that both have is each one's own.
    let of_east = [
        mk_class(),
        mk_gateway("public", &mk_http_listener("http", http, "")),
        mk_service("both", &[near.address()]),
        mk_route_to("near", &["near.example.com"], "both"),
        mk_route_to("far", &["far.example.com"], "far"),
    ];
    let of_west = [
        mk_class(),
        mk_service("both", &[own.address()]),
        mk_service("far", &[far.address()]),
        mk_route_to("own", &["own.example.com"], "both"),
    ];
    corner.apply(&east, &of_east).await;
    corner.apply(&west, &of_west).await;
    let other: Option<PathBuf> = Some(west.kubeconfig().to_owned());
    let replica = Replica::ready(&east, corner, &ReplicaOptions { envoy: true, other, ..Default::default() }).await;

    for (host, backend) in [("near", "near"), ("far", "far"), ("own", "own")] {
        until_who(public, &format!("{host}.example.com"), "/", backend).await;
    }
    let accepted = |route: &Value| is_accepted(route, &corner.controller);
    let class = |class: &Value| holds(class, &class["status"], "Accepted");
    for (cluster, routes) in [(&east, &["near", "far"][..]), (&west, &["own"])] {
        for route in routes {
            corner.until(cluster, "httproute", route, PATIENCE, accepted).await;
        }
        corner.until(cluster, "gatewayclass", &corner.name, PATIENCE, class).await;
    }
    assert_eq!(sources(&replica, "services", "both").await, ["cluster", "other"]);
    assert_eq!(sources(&replica, "services", "far").await, ["other"]);
    assert_eq!(replica.problems().await, [] as [Value; 0], "nothing is in conflict");

    west.kill_apiserver().await;
    until_degraded(&replica, "other").await;
    corner.apply(&east, &[mk_route_to("more", &["more.example.com"], "both")]).await;
    until_who(public, "more.example.com", "/", "near").await;
    corner.until(&east, "httproute", "more", PATIENCE, accepted).await;
    for (host, backend) in [("far", "far"), ("own", "own")] {
        until_who(public, &format!("{host}.example.com"), "/", backend).await;
    }
    assert_eq!(replica.ask("/readyz").await.status, 200, "it is degraded, not dead");

    // The one whose Gateway it is, the other way round.
    west.start_apiserver().await;
    east.kill_apiserver().await;
    until_degraded(&replica, "cluster").await;
    corner.apply(&west, &[mk_route_to("again", &["again.example.com"], "far")]).await;
    until_who(public, "again.example.com", "/", "far").await;
    corner.until(&west, "httproute", "again", PATIENCE, accepted).await;
    until_who(public, "near.example.com", "/", "near").await;

    east.start_apiserver().await;
    let well = || async {
        let readiness = replica.ask_json("/readyz").await;
        if readiness["degraded"] == false { Ok(()) } else { Err(readiness.to_string()) }
    };
    eventually("both clusters are followed", 2 * PATIENCE, well).await;
    for resource in ["httproutes.gateway.networking.k8s.io", "services", "endpointslices.discovery.k8s.io"] {
        replica.until_equal_to(&[("cluster", &east), ("other", &west)], corner, resource).await;
    }
    assert_eq!(get(public, "nobody.example.com", "/").await.unwrap().status, 404);
}
