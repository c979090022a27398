//! Many seeded plans side by side on one API server, which is killed, stopped, ended in order, and whose history is
//! forgotten, at seeded points.
//!
//! `TIDEGATE_PLANS=N` runs so many, `TIDEGATE_PLAN_SEED=S` the one of a seed with all that happened to its server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tidegate_actors::env::{Rng, SeededRng};

use crate::api::{Api, PATIENCE, until};
use crate::cluster::{APISERVER, Cluster};
use crate::plan::Plan;
use crate::run::{Outcome, World, furnish, run};

/// How many there are without being asked for others.
const PLANS: u64 = 200;

/// How many run at a time.
const BATCH: u64 = 100;

/// What happens to the server of all plans of a batch.
#[derive(Clone, Copy, Debug)]
enum Disaster {
    /// It is killed, and is away for a while.
    Kill(Duration),
    /// Its process is stopped: connections stay open and silent.
    Stop(Duration),
    /// It ends in order, and comes again.
    End,
    /// All that could be gone on from is forgotten.
    Forget,
}

/// The disasters of a batch, each with the share of its steps after which it comes.
fn disasters(batch: u64) -> Vec<(f64, Disaster)> {
    let rng = SeededRng::new(batch.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut all = Vec::new();
    for part in 0..2 {
        let long = Duration::from_millis(200 + rng.below(2_000));
        // Whatever the seed, two batches have had all of them.
        let disaster = match (2 * batch + part) % 4 {
            0 => Disaster::Kill(long),
            1 => Disaster::Forget,
            2 => Disaster::Stop(Duration::from_secs(2) + long),
            _ => Disaster::End,
        };
        all.push((0.1 + 0.45 * (part as f64) + 0.3 * rng.unit(), disaster));
    }
    all
}

async fn befall(cluster: &mut Cluster, disaster: Disaster) {
    match disaster {
        Disaster::Kill(away) => {
            cluster.kill_apiserver().await;
            tokio::time::sleep(away).await;
            cluster.start_apiserver().await;
        }
        Disaster::Stop(away) => {
            cluster.pause(APISERVER).await;
            tokio::time::sleep(away).await;
            cluster.resume(APISERVER).await;
        }
        Disaster::End => {
            cluster.command(&format!("stop {APISERVER}")).await;
            cluster.start_apiserver().await;
        }
        Disaster::Forget => {
            cluster.compact().await;
            cluster.kill_apiserver().await;
            cluster.start_apiserver().await;
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn whatever_happens_every_store_equals_the_server_in_the_end_and_no_event_is_lost() {
    let begun = Instant::now();
    let mut cluster = Cluster::start().await;
    let api = Api::new(cluster.kubeconfig()).await;
    furnish(&api).await;
    let server: SocketAddr = cluster.state().server.trim_start_matches("https://").parse().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let world = World { api, server, authority: cluster.dir().join("pki/ca.crt"), done };
    let seeds: Vec<u64> = match number("TIDEGATE_PLAN_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("TIDEGATE_PLANS").unwrap_or(PLANS)).collect(),
    };
    let (mut total, mut failed, mut befell) = (Outcome::default(), Vec::new(), Vec::new());
    for batch in seeds.chunk_by(|a, b| a / BATCH == b / BATCH) {
        let plans: Vec<Plan> = batch.iter().map(|seed| Plan::new(*seed)).collect();
        let steps: usize = plans.iter().map(|plan| plan.steps.len()).sum();
        world.done.store(0, Ordering::SeqCst);
        let troubled = async {
            for (after, disaster) in disasters(batch[0] / BATCH) {
                let after = (steps as f64 * after) as usize;
                let so_far = || world.done.load(Ordering::SeqCst);
                let enough = || if so_far() >= after { Ok(()) } else { Err(format!("{} of {after} steps", so_far())) };
                // One that fails says so before that.
                until("the plans go on", 3 * PATIENCE, enough).await.unwrap();
                befall(&mut cluster, disaster).await;
                befell.push(disaster);
            }
        };
        let (outcomes, ()) = tokio::join!(join_all(plans.iter().map(|plan| run(&world, plan))), troubled);
        for (plan, outcome) in plans.iter().zip(outcomes) {
            match outcome {
                Ok(outcome) => add(&mut total, &outcome),
                Err(reason) => {
                    let seed = plan.seed;
                    failed.push(format!("TIDEGATE_PLAN_SEED={seed}: {reason}\nits plan: {plan:?}"));
                }
            }
        }
    }
    let Outcome { operations, faults, objects, events, tombstones, lists, retries, relists, denials } = total;
    println!(
        "{} plans (seeds {}..={}) in {:.0?}: {operations} operations, {faults} faults, {} disasters ({befell:?}); \
         {events} events of which {tombstones} tombstones, {objects} objects in the end; {lists} lists, {retries} \
         interruptions, {relists} lost histories, {denials} refusals",
        seeds.len(),
        seeds[0],
        seeds[seeds.len() - 1],
        begun.elapsed(),
        befell.len(),
    );
    assert!(failed.is_empty(), "{} plans failed:\n{}", failed.len(), failed.join("\n"));
    if seeds.len() as u64 >= BATCH {
        assert!(relists > 0 && denials > 0 && tombstones > 0 && retries > lists, "the faults had no effect");
    }
}

fn add(total: &mut Outcome, one: &Outcome) {
    total.operations += one.operations;
    total.faults += one.faults;
    total.objects += one.objects;
    total.events += one.events;
    total.tombstones += one.tombstones;
    total.lists += one.lists;
    total.retries += one.retries;
    total.relists += one.relists;
    total.denials += one.denials;
}
