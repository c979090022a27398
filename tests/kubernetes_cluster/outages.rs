//! What the API server may do to us: lose a definition, die, and forget.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use tidegate_actors::env::{Rng, SeededRng};
use tokio::io::AsyncWriteExt as _;

use crate::rig::{Corner, Replica, ReplicaOptions, holds, is_accepted, mk_pod, until_who};
use crate::support::cluster::{Cluster, cluster_program};
use crate::support::envoy::{PATIENCE, eventually, get, loopback};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_route_to, mk_secret, mk_service};
use crate::support::ports::free_ports;

const ROUTES_CRD: &str = "httproutes.gateway.networking.k8s.io";

/// The definition of HTTPRoutes, to be created again.
async fn definition(cluster: &Cluster) -> String {
    let mut found = cluster.get_json(&["crd", ROUTES_CRD]).await;
    let Value::Object(fields) = &mut found else { panic!("{found}") };
    fields.remove("status");
    let annotations = fields["metadata"]["annotations"].clone();
    fields.insert("metadata".to_owned(), json!({ "name": ROUTES_CRD, "annotations": annotations }));
    found.to_string()
}

/// Creates the definition of HTTPRoutes, and a route as soon as that is possible; when it was.
async fn define(cluster: &Cluster, corner: &Corner, definition: &str) -> Instant {
    cluster.run_kubectl(cluster.kubeconfig(), &["create", "-f", "-"], definition).await.unwrap();
    cluster.kubectl(&["wait", "--for=condition=established", "--timeout=30s", &format!("crd/{ROUTES_CRD}")]).await;
    let manifest = corner.mk(&mk_route_to("web", &["web.example.com"], "web"));
    let applied = || cluster.run_kubectl(cluster.kubeconfig(), &["apply", "-f", "-"], &manifest);
    eventually("the route is applied", PATIENCE, applied).await;
    Instant::now()
}

async fn until_status(address: std::net::SocketAddr, status: u16) {
    let attempt = || async {
        let answer = get(address, "web.example.com", "/").await?;
        if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
    };
    eventually(&format!("the answer is {status}"), PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and envoy: run by cargo xtask test"]
async fn a_definition_that_is_missing_stops_nothing_else_and_when_it_comes_its_objects_are_served() {
    let cluster = &Cluster::start().await;
    let corner = &Corner::new(cluster, "definitions").await;
    let definition = definition(cluster).await;
    cluster.kubectl(&["delete", "crd", ROUTES_CRD]).await;
    let pod = mk_pod("web").await;
    let [http] = free_ports();
    let gateway = mk_gateway("public", &mk_http_listener("http", http, ""));
    corner.apply(cluster, &[mk_class(), gateway, mk_service("web", &[pod.address()])]).await;

    let options = ReplicaOptions { envoy: true, ..Default::default() };
    let replica = Replica::ready(cluster, corner, &options).await;

    until_status(loopback(http), 404).await;
    let programmed = |gateway: &Value| holds(gateway, &gateway["status"], "Programmed");
    corner.until(cluster, "gateway", "public", PATIENCE, programmed).await;

    let defined = define(cluster, corner, &definition).await;
    until_who(loopback(http), "web.example.com", "/", "web").await;
    let first = defined.elapsed();

    cluster.kubectl(&["delete", "crd", ROUTES_CRD]).await;
    until_status(loopback(http), 404).await;
    corner.until(cluster, "gateway", "public", PATIENCE, programmed).await;

    let defined = define(cluster, corner, &definition).await;
    until_who(loopback(http), "web.example.com", "/", "web").await;
    println!("a route of a definition that came was served {first:.1?} and {:.1?} later", defined.elapsed());
    let accepted = |route: &Value| is_accepted(route, &corner.controller);
    corner.until(cluster, "httproute", "web", PATIENCE, accepted).await;
    assert!(replica.service.err().lines().all(|line| !line.contains("panicked")));
}

/// Random changes by kubectl until it is told to stop, whether they are taken or not.
async fn change(kubeconfig: &Path, corner: &Corner, seed: u64, stop: &AtomicBool, done: &AtomicU32) {
    let rng = SeededRng::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let name = format!("thing-{}", rng.below(12));
        let pick = |below: u64| rng.below(below);
        let manifest = match pick(3) {
            0 => mk_route_to(&name, &[&format!("{name}-{}.example.com", pick(1000))], &name),
            1 => mk_service(&name, &[format!("192.0.2.{}:80", 1 + pick(250)).parse().unwrap()]),
            _ => mk_secret(&name, &format!("certificate {}", pick(1000)), "key"),
        };
        let verb = if pick(3) == 0 { "delete" } else { "apply" };
        let mut command = tokio::process::Command::new(cluster_program());
        command.args(["kubectl", verb, "--request-timeout=5s", "-f", "-"]).env("KUBECONFIG", kubeconfig);
        command.env("HOME", kubeconfig.parent().unwrap()).env("KUBERC", "off").kill_on_drop(true);
        let output = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = output.unwrap();
        // One that does not read to the end does nothing.
        let _ = child.stdin.take().unwrap().write_all(corner.mk(&manifest).as_bytes()).await;
        if child.wait().await.unwrap().success() {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn after_kills_of_the_api_server_and_lost_history_every_store_equals_the_server() {
    const SEED: u64 = 7;
    let mut cluster = Cluster::start().await;
    let corner = Arc::new(Corner::new(&cluster, "outages").await);
    corner.apply(&cluster, &[mk_class(), mk_gateway("public", &mk_http_listener("http", 8080, ""))]).await;
    let replica = Replica::ready(&cluster, &corner, &ReplicaOptions::default()).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load = {
        let (kubeconfig, corner) = (cluster.kubeconfig().to_owned(), corner.clone());
        let (stop, done) = (stop.clone(), done.clone());
        tokio::spawn(async move { change(&kubeconfig, &corner, SEED, &stop, &done).await })
    };
    let more = async |changes: u32| {
        let wanted = done.load(Ordering::Relaxed) + changes;
        let attempt = || std::future::ready(if done.load(Ordering::Relaxed) >= wanted { Ok(()) } else { Err("fewer") });
        eventually("kubectl changes things", 2 * PATIENCE, attempt).await;
    };

    for _ in 0..2 {
        more(8).await;
        cluster.kill_apiserver().await;
        cluster.start_apiserver().await;
    }
    // While nobody looks, everything that a watch could go on from is forgotten.
    more(8).await;
    replica.service.signal(Signal::STOP);
    more(15).await;
    cluster.restart_apiserver().await;
    cluster.compact().await;
    more(5).await;
    replica.service.signal(Signal::CONT);
    more(8).await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();

    let mut equal = Vec::new();
    for resource in
        [ROUTES_CRD, "gateways.gateway.networking.k8s.io", "services", "endpointslices.discovery.k8s.io", "secrets"]
    {
        equal.push(format!("{} {resource}", replica.until_equal(&cluster, &corner, resource).await));
    }
    let metrics = replica.ask("/metrics").await.body;
    let lines = metrics.lines().filter(|line| line.starts_with("tidegate_source_errors_total{"));
    let relists: u64 = lines
        .filter(|line| line.contains("error=\"relist\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    println!(
        "{} changes, {relists} watches whose history was lost; equal: {}",
        done.load(Ordering::Relaxed),
        equal.join(", ")
    );
    assert!(relists > 0, "no history was lost: {metrics}");
    let accepted = |route: &Value| {
        let parents = route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
        parents.first().is_some_and(|ours| holds(route, ours, "Accepted"))
    };
    let attempt = || async {
        let routes = cluster.get_json(&["httproutes", "-n", &corner.name]).await;
        let late = routes["items"].as_array().unwrap().iter().find(|route| !accepted(route)).cloned();
        late.map_or(Ok(()), |late| Err(format!("{late:#}")))
    };
    eventually("all routes say what is true", PATIENCE, attempt).await;
}
