//! The same random operations on two servers: every answer is the same, and so is what every watcher sees. What may
//! differ is who an object is, when something was, and the numbers of the versions; their order may not.
//!
//! The second server is the one of `TIDEGATE_CLUSTER_KUBECONFIG`, or a real Kubernetes of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../../../support/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../../../support/ports.rs"]
mod ports;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../behaviours/rig.rs"]
mod rig;

/// What is done, from a seed.
mod plan;

/// One server: its answers and its watchers, without what may differ.
mod side;

use cluster::{Cluster, ClusterOptions};
use kube::Client;
use side::Side;
use tidegate_actors::env::SeededRng;
use tidegate_apiserver::{ApiServer, Options};

/// How many plans are run against a real server; `TIDEGATE_SEEDS` asks for another number.
const SEEDS: u64 = 10;

/// Runs a plan on both and compares answer by answer, then stream by stream.
async fn compare(seed: u64, steps: usize, ours: &Client, theirs: &Client) -> [Side; 2] {
    let rng = SeededRng::new(seed);
    let namespace = format!("differential-{seed}-{}", std::process::id());
    let mut sides = [Side::start(ours.clone(), &namespace).await, Side::start(theirs.clone(), &namespace).await];
    let mut done = Vec::new();
    for step in 0..steps {
        let operation = plan::operation(&rng);
        let [a, b] = &mut sides;
        let answers = (a.perform(&operation).await, b.perform(&operation).await);
        done.push(format!("{step}: {operation:?} -> {}", answers.0.0));
        assert_eq!(answers.0, answers.1, "seed {seed}, step {step}: {operation:?}\nafter\n{}", done.join("\n"));
    }
    let [a, b] = &mut sides;
    for ((watcher, ours), (_, theirs)) in a.finish().await.into_iter().zip(b.finish().await) {
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b).unwrap_or(ours.len().min(theirs.len()));
        assert_eq!(
            (ours.get(at), theirs.get(at)),
            (None, None),
            "seed {seed}: {watcher} differs at its event {at}, of {} and {}; what was done:\n{}",
            ours.len(),
            theirs.len(),
            done.join("\n")
        );
    }
    assert_eq!(a.streamed().await, b.streamed().await, "seed {seed}: a streaming list differs");
    sides
}

/// Plans one after the other, and in the end both lose the custom type.
async fn compare_all(seeds: std::ops::Range<u64>, steps: usize, ours: &Client, theirs: &Client) {
    for seed in seeds.clone() {
        let [mut a, mut b] = compare(seed, steps, ours, theirs).await;
        if seed + 1 == seeds.end {
            assert_eq!(a.without_the_type().await, b.without_the_type().await, "when the type goes");
        }
    }
}

async fn own() -> (ApiServer, Client) {
    rig::start(Options::default()).await
}

#[tokio::test]
async fn two_servers_of_our_own_show_the_same_though_their_versions_differ() {
    let (_first, ours) = own().await;
    let (second, theirs) = rig::start(Options { revision: 7_000, tls: true, ..Options::default() }).await;
    second.fill(&rig::mk_config_map("elsewhere", "1"), 3).unwrap();
    compare_all(0..5, 60, &ours, &theirs).await;
}

#[tokio::test]
async fn a_server_that_tells_things_twice_is_found_out() {
    let (_first, ours) = own().await;
    let (second, theirs) = own().await;
    let when = tidegate_apiserver::When::of("watch", "configmaps");
    let then = tidegate_apiserver::Then::Duplicate;
    second.faults().add(tidegate_apiserver::Fault::always(when, tidegate_apiserver::Act::Stream { after: 9, then }));
    let compared = tokio::spawn(async move { compare(1, 60, &ours, &theirs).await }).await;
    assert!(compared.is_err(), "every event twice, and nobody noticed");
}

#[tokio::test]
#[ignore = "needs a cluster: run by cargo xtask test"]
async fn our_server_and_a_real_one_show_the_same() {
    let (_server, ours) = own().await;
    let (_cluster, kubeconfig) = match std::env::var_os("TIDEGATE_CLUSTER_KUBECONFIG") {
        Some(path) => (None, path.into()),
        None => {
            let options = ClusterOptions { without_crds: true, ..ClusterOptions::default() };
            let cluster = Cluster::start_with(options).await;
            let kubeconfig = cluster.kubeconfig().to_owned();
            (Some(cluster), kubeconfig)
        }
    };
    let theirs = rig::client(&std::fs::read_to_string(kubeconfig).unwrap()).await;
    let seeds = std::env::var("TIDEGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    compare_all(100..100 + seeds, 80, &ours, &theirs).await;
}
