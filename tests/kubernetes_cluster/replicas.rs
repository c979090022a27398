//! Two replicas: one writes, whichever is killed or paused.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::{Audit, transitions, writes_without_lease};
use crate::rig::{Corner, Replica, ReplicaOptions, is_accepted};
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::envoy::{PATIENCE, eventually};
use crate::support::manifests::{mk_class, mk_gateway, mk_http_listener, mk_https_listener, mk_route_to, mk_service};

const ROUTES: usize = 5;

/// How often a leader is killed or paused. A round takes some four seconds.
fn rounds() -> u32 {
    std::env::var("TIDEGATE_REPLICA_ROUNDS").map_or(5, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Gives all routes a new generation.
async fn change_routes(cluster: &Cluster, corner: &Corner, round: u32) {
    for at in 0..ROUTES {
        let patch = json!({ "spec": { "hostnames": [format!("r{at}-{round}.example.com")] } }).to_string();
        let name = format!("route-{at}");
        cluster.kubectl(&["patch", "httproute", &name, "-n", &corner.name, "--type=merge", "-p", &patch]).await;
    }
}

/// Waits until all routes say what is true of their present generation; their generations.
async fn until_truthful(cluster: &Cluster, corner: &Corner) -> i64 {
    let attempt = || async {
        let routes = cluster.get_json(&["httproutes", "-n", &corner.name]).await;
        let routes = routes["items"].as_array().unwrap();
        if routes.len() == ROUTES && routes.iter().all(|route| is_accepted(route, &corner.controller)) {
            Ok(routes.iter().map(|route| route["metadata"]["generation"].as_i64().unwrap()).sum())
        } else {
            Err(format!("{routes:#?}"))
        }
    };
    eventually("all routes say what is true", PATIENCE, attempt).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn of_two_replicas_one_writes_whichever_is_killed_or_paused() {
    let audit = Audit::new();
    let cluster = &Cluster::start_with(ClusterOptions { apiserver_flags: audit.flags(), ..Default::default() }).await;
    let corner = &Corner::new(cluster, "replicas").await;
    // Without its certificate, which is worth an Event.
    let listeners = [mk_http_listener("http", 8080, ""), mk_https_listener("https", 8443, "", &["missing"])];
    let gateway = mk_gateway("public", &listeners.concat());
    let web = mk_service("web", &["192.0.2.7:80".parse().unwrap()]);
    let routes = (0..ROUTES).map(|at| mk_route_to(&format!("route-{at}"), &[&format!("r{at}.example.com")], "web"));
    corner.apply(cluster, &[vec![mk_class(), gateway, web], routes.collect()].concat()).await;
    let mut replicas = Vec::new();
    for user in ["replica-a", "replica-b"] {
        let kubeconfig = cluster.user_kubeconfig(user, &["system:masters"], Duration::from_secs(3600)).await;
        let options = ReplicaOptions { kubeconfig: Some(kubeconfig), ..Default::default() };
        replicas.push((user, Replica::ready(cluster, corner, &options).await));
    }
    until_truthful(cluster, corner).await;

    let mut takeovers = Vec::new();
    for round in 0..rounds() {
        let leader = audit.leader(&corner.name).expect("somebody leads");
        let (_, replica) = replicas.iter_mut().find(|(user, _)| *user == leader).unwrap();
        let stopped = Instant::now();
        let kills = round % 2 == 0;
        if kills {
            replica.service.kill();
        } else {
            replica.service.signal(Signal::STOP);
        }
        change_routes(cluster, corner, round).await;
        until_truthful(cluster, corner).await;
        takeovers.push(stopped.elapsed());
        assert_ne!(audit.leader(&corner.name).unwrap(), leader, "round {round}: who is stopped leads no more");
        if kills {
            replica.service.start_again();
        } else {
            replica.service.signal(Signal::CONT);
            // It wakes up believing that it leads, with work to do.
            change_routes(cluster, corner, 1_000 + round).await;
            until_truthful(cluster, corner).await;
        }
        replica.service.until_ready(replica.admin).await;
    }

    // Whoever ends in order leaves the lead at once.
    let leader = audit.leader(&corner.name).unwrap();
    let (_, replica) = replicas.iter_mut().find(|(user, _)| *user == leader).unwrap();
    replica.service.signal(Signal::TERM);
    assert_eq!(replica.service.ended(PATIENCE).await.code(), Some(0));
    let ended = Instant::now();
    let taken = || std::future::ready(audit.leader(&corner.name).filter(|now| *now != leader).ok_or("nobody leads"));
    eventually("the other one leads", PATIENCE, taken).await;
    let handover = ended.elapsed();
    change_routes(cluster, corner, 9_999).await;
    let generations = until_truthful(cluster, corner).await;

    let writes = audit.writes(&corner.name);
    let trespassers = writes_without_lease(&writes);
    assert!(trespassers.is_empty(), "{trespassers:#?}");
    // Whoever began to lead found that it had been said.
    let events = cluster.get_json(&["events.events.k8s.io", "-n", &corner.name]).await;
    let events = events["items"].as_array().unwrap();
    let said: Vec<_> = events.iter().map(|event| (&event["reason"], &event["series"])).collect();
    assert_eq!(said, [(&json!("InvalidCertificateRef"), &Value::Null)], "{events:#?}");
    let of_events = writes.iter().filter(|write| write.resource == "events").count();
    assert!(of_events > rounds() as usize, "each leader looks at what is to be said: {of_events}");
    let of_routes = writes.iter().filter(|write| write.resource == "httproutes" && write.is_done()).count();
    let conflicts = writes.iter().filter(|write| write.code == 409).count();
    takeovers.sort();
    println!(
        "{} rounds, {} changes of the lead; truthful after {:.1?} to {:.1?}; after an orderly end led anew in \
         {handover:.1?}; {of_routes} statuses of routes for {generations} generations, {conflicts} conflicts",
        rounds(),
        transitions(&writes),
        takeovers.first().unwrap_or(&Duration::ZERO),
        takeovers.last().unwrap_or(&Duration::ZERO),
    );
    assert_eq!(i64::try_from(of_routes).unwrap(), generations, "each generation is spoken of once");
    assert_eq!(transitions(&writes), rounds() as usize + 1, "nobody takes over from one who is alive");
    // Generous: the lease takes three seconds.
    assert!(takeovers.iter().all(|takeover| *takeover < Duration::from_secs(15)), "{takeovers:?}");
}
