//! Tidegate is killed with SIGKILL again and again, at random points under load, between a real directory, a real API
//! server and a real Envoy: no update is lost, no request fails, and each start begins with what is on disk.
//!
//! `TIDEGATE_KILLS=n` kills it that often, `TIDEGATE_SEED=n` begins with that seed. What is decided by chance follows
//! from the seed; what meets what, in real processes, does not quite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

/// The network between Tidegate and the API server.
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "kubernetes_faults/proxy.rs"]
mod proxy;

/// One Tidegate with all that it stands between.
#[path = "kills/instance.rs"]
mod instance;

/// What sources say, and what a client has to see of it.
#[path = "kills/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::cluster::Cluster;
use support::ports;

use instance::Instance;

/// How many are killed side by side.
const INSTANCES: u64 = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The one below which so many hundredths are.
fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() * hundredths).div_ceil(100).saturating_sub(1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and envoy: run by cargo xtask test"]
async fn killed_at_any_moment_under_load_it_loses_no_update_and_fails_no_request() {
    let (kills, seed) = (number("TIDEGATE_KILLS").unwrap_or(100), number("TIDEGATE_SEED").unwrap_or(1));
    let begun = Instant::now();
    let cluster = Arc::new(Cluster::start().await);
    let lives = (0..INSTANCES).map(|instance| {
        // The last one takes what is left.
        let rounds = kills * (instance + 1) / INSTANCES - kills * instance / INSTANCES;
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let mut life = Instance::start(&cluster, seed, instance).await;
            let mut starts = Vec::new();
            for round in 0..rounds {
                starts.push(life.round(round).await);
            }
            (starts, life.end().await)
        })
    });
    let (mut starts, mut requests, mut changes, mut slowest) = (Vec::new(), 0, 0, Duration::ZERO);
    for life in lives.collect::<Vec<_>>() {
        let (of_life, (outcome, changed)) = match life.await {
            Ok(life) => life,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        starts.extend(of_life);
        (requests, changes) = (requests + outcome.requests, changes + changed);
        slowest = slowest.max(outcome.slowest);
    }
    assert_eq!(starts.len() as u64, kills);
    starts.sort();
    println!(
        "{kills} kills from seed {seed} in {:.0?}: {changes} changes, none lost; {requests} requests, none failed, the \
         slowest {slowest:.1?}; from a start to the first configuration: p50 {:.0?}, p99 {:.0?}, max {:.0?}",
        begun.elapsed(),
        percentile(&starts, 50),
        percentile(&starts, 99),
        percentile(&starts, 100),
    );
}
