//! What a person sees with kubectl when something is wrong: Events beside conditions, and in conditions what a real Envoy
//! rejects.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::proxy::bootstrap::XdsAddress;

use crate::rig::{Corner, Replica, ReplicaOptions, condition, shared_cluster};
use crate::support::cluster::Cluster;
use crate::support::envoy::{PATIENCE, TestEnvoy, eventually, loopback};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_route_for, mk_route_to, mk_service};
use crate::support::ports::free_ports;

/// All Events of a corner as kubectl has them: kind, name and reason of each, sorted, and how often.
async fn said(cluster: &Cluster, corner: &Corner) -> Vec<String> {
    let events = cluster.get_json(&["events.events.k8s.io", "-n", &corner.name]).await;
    let of = |event: &Value| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let count = event["series"]["count"].as_u64().unwrap_or(1);
        let names = [text("/type"), text("/regarding/kind"), text("/regarding/name"), text("/reason")];
        format!("{} {count}", names.join(" "))
    };
    let mut all: Vec<String> = events["items"].as_array().unwrap().iter().map(of).collect();
    all.sort();
    all
}

async fn until_said(cluster: &Cluster, corner: &Corner, wanted: &[&str]) {
    let attempt = || async {
        let said = said(cluster, corner).await;
        if said == wanted { Ok(()) } else { Err(said) }
    };
    eventually("the Events are as wanted", PATIENCE, attempt).await;
}

fn listener<'a>(gateway: &'a Value, name: &str) -> &'a Value {
    let listeners = gateway["status"]["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    listeners.iter().find(|listener| listener["name"] == name).unwrap_or(&Value::Null)
}

/// What a part's `Programmed` says: status, reason and message.
fn programmed(part: &Value) -> (&str, &str, &str) {
    let condition = condition(part, "Programmed");
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

fn mk_gateway_at(ports: [u16; 2]) -> String {
    let listeners = [mk_http_listener("http", ports[0], ""), mk_http_listener("second", ports[1], "")];
    mk_gateway("public", &listeners.concat())
}

fn mk_regex(expression: &str) -> String {
    let rule = format!(
        "- matches: [{{ path: {{ type: RegularExpression, value: \"{expression}\" }} }}]
  backendRefs: [{{ name: web, port: 80 }}]"
    );
    mk_route_for("regex", &["regex.example.com"], &rule)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and envoy: run by cargo xtask test"]
async fn what_is_wrong_is_told_by_kubectl_and_what_envoy_rejects_is_in_conditions_until_it_is_mended() {
    let cluster = &*shared_cluster().await;
    let corner = Corner::new(cluster, "events").await;
    let replica = Replica::ready(cluster, &corner, &ReplicaOptions::default()).await;
    let [http, second, free] = free_ports();
    let taken = TcpListener::bind(loopback(second)).unwrap();
    let web = mk_service("web", &["192.0.2.7:80".parse().unwrap()]);
    let manifests = [
        mk_class(),
        web,
        mk_gateway_at([http, second]),
        mk_regex("/v[0-9]+"),
        mk_route_to("lost", &["lost.example.com"], "missing"),
        // The definition lets an address pass, and the specification does not.
        mk_route_to("odd", &["10.1.2.3"], "web"),
    ];
    corner.apply(cluster, &manifests).await;
    let xds = XdsAddress::Tcp { host: replica.xds.ip().to_string(), port: replica.xds.port() };
    // It has smaller limits than the Envoys that we start.
    let envoy = TestEnvoy::start(xds, |options| options.max_regex_program = 50);

    let rejected = |gateway: &Value| {
        let (status, reason, message) = programmed(listener(gateway, "second"));
        (status, reason) == ("False", "Invalid") && message.contains("the proxy test rejects the listener")
    };
    let gateway = corner.until(cluster, "gateway", "public", PATIENCE, rejected).await;
    let message = programmed(listener(&gateway, "second")).2;
    assert!(message.contains("Address already in use"), "{message}");
    assert_eq!(programmed(listener(&gateway, "http")).0, "True", "{gateway:#}");
    let (status, _, message) = programmed(&gateway["status"]);
    assert_eq!((status, message), ("True", "served without the listeners second; see their conditions"));

    corner.apply(cluster, &[mk_regex("/[a-z]{200}")]).await;
    let parent = |route: &Value| route["status"]["parents"][0].clone();
    // Proxies may have rejected the new one before it is told what translation says of it.
    let rejected = |route: &Value| {
        let said = condition(&parent(route), "Programmed").clone();
        said["reason"] == "RejectedByProxy" && said["observedGeneration"] == 2
    };
    let route = corner.until(cluster, "httproute", "regex", PATIENCE, rejected).await;
    let said_of_route = condition(&parent(&route), "Programmed").clone();
    let message = said_of_route["message"].as_str().unwrap();
    assert!(message.contains("program size") && message.ends_with("what it accepted last stays in force"), "{message}");
    assert_eq!(condition(&parent(&route), "Accepted")["status"], "True");

    let wrong = [
        "Warning Gateway public RejectedByProxy 1",
        "Warning HTTPRoute lost BackendNotFound 1",
        "Warning HTTPRoute odd Unreadable 1",
        "Warning HTTPRoute regex RejectedByProxy 1",
    ];
    until_said(cluster, &corner, &wrong).await;
    for (kind, name, words) in [
        ("gateway", "public", ["RejectedByProxy", "Address already in use"]),
        ("httproute", "lost", ["BackendNotFound", "there is no Service"]),
        ("httproute", "odd", ["Unreadable", "spec.hostnames[0]"]),
        ("httproute", "regex", ["RejectedByProxy", "program size"]),
    ] {
        let told = cluster.kubectl(&["describe", kind, name, "-n", &corner.name]).await;
        let events = told.split_once("Events:").map_or("", |(_, events)| events);
        assert!(words.iter().all(|word| events.contains(word)), "kubectl describe {kind} {name}: {told}");
    }
    let listed = cluster.kubectl(&["get", "events", "-n", &corner.name]).await;
    assert_eq!(listed.lines().filter(|line| line.contains("Warning")).count(), wrong.len(), "{listed}");

    // One that comes and goes is counted.
    corner.apply(cluster, &[mk_route_to("lost", &["lost.example.com"], "web")]).await;
    let mended = "Normal HTTPRoute lost ResolvedRefs 1";
    until_said(cluster, &corner, &[&[mended][..], &wrong].concat()).await;
    corner.apply(cluster, &[mk_route_to("lost", &["lost.example.com"], "missing")]).await;
    let mut counted = [&[mended][..], &wrong].concat();
    counted[2] = "Warning HTTPRoute lost BackendNotFound 2";
    until_said(cluster, &corner, &counted).await;

    // Mended, each in its way: the listener moves, and the route's proxy leaves.
    corner.apply(cluster, &[mk_gateway_at([http, free])]).await;
    let serves = || std::future::ready(std::net::TcpStream::connect(loopback(free)).map(drop));
    eventually("Envoy listens", PATIENCE, serves).await;
    let begun = Instant::now();
    let served = |gateway: &Value| programmed(listener(gateway, "second")).0 == "True";
    corner.until(cluster, "gateway", "public", PATIENCE, served).await;
    let after_mending = begun.elapsed();
    let begun = Instant::now();
    drop(envoy);
    let taken_back = |route: &Value| condition(&parent(route), "Programmed").is_null();
    corner.until(cluster, "httproute", "regex", PATIENCE, taken_back).await;
    let after_leaving = begun.elapsed();
    println!("taken back {after_mending:.2?} after it was mended, {after_leaving:.2?} after the proxy left");
    // Generous, for machines with much else to do: a second is what it takes.
    assert!(after_mending.max(after_leaving) < Duration::from_secs(5), "{after_mending:?} {after_leaving:?}");
    let all = [
        "Normal Gateway public Programmed 1",
        mended,
        "Normal HTTPRoute regex Programmed 1",
        wrong[0],
        counted[2],
        wrong[2],
        wrong[3],
    ];
    until_said(cluster, &corner, &all).await;
    drop(taken);

    let events = cluster.get_json(&["events.events.k8s.io", "-n", &corner.name]).await;
    for event in events["items"].as_array().unwrap() {
        assert_eq!(event["reportingController"], corner.controller.as_str());
        assert!(
            event["regarding"]["uid"].is_string() && event["regarding"]["resourceVersion"].is_string(),
            "{event:#}"
        );
    }
    let uid = corner.object(cluster, "httproute", "odd").await["metadata"]["uid"].clone();
    let odd = events["items"].as_array().unwrap().iter().find(|event| event["regarding"]["name"] == "odd").unwrap();
    assert_eq!(odd["regarding"]["uid"], uid);
    assert_eq!(odd["metadata"]["namespace"], json!(corner.name));
}
