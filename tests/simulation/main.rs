//! A whole Tidegate in virtual time, on one thread, under seeded plans: sources that fail in every way, actors that are
//! killed, paused and restarted, a process that crashes, proxies that stall, reject and reconnect. After each plan
//! everything must be as if nothing had ever happened, and on the way no proxy may have seen anything partial.
//!
//! `TIDEGATE_SIMULATION_SEEDS=n` runs that many seeds, 2,000 in CI; `TIDEGATE_SEED=n` runs one, and prints what happens.

#![allow(clippy::unwrap_used, clippy::panic)]

mod check;
mod facts;
mod front;
mod months;
mod objects;
mod poison;
mod proxy;
mod steps;
mod traffic;
mod watcher;
mod world;

use std::sync::Once;

use tidegate_actors::testing::{self, Campaign, Keep, Plan, Scenario, Trace, Violation};

use steps::Step;
use world::World;

/// The sources, in the order of the config.
const SOURCES: [&str; 2] = ["east", "west"];

const REPLAY: &str = "TIDEGATE_SEED={seed} cargo test --test simulation whole_tree -- --nocapture";

/// Panics that plans ask for are nobody's concern.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some("injected") {
                loud(info);
            }
        }));
    });
}

struct WholeTree;

impl Scenario for WholeTree {
    type Step = Step;

    fn plan(&self, seed: u64) -> Plan<Step> {
        steps::plan(seed)
    }

    fn trace(&self, keep: Keep) -> Trace {
        Trace::of(keep, &["tidegate"])
    }

    fn run(&self, plan: &Plan<Step>, trace: &Trace) -> Vec<Violation> {
        hush();
        let whole = async {
            let mut world = World::new(plan.seed, trace);
            // Every run ends with a comparison, whatever is left of its plan.
            let compares = matches!(plan.steps.last(), Some(Step::Check));
            let last = (!compares).then_some(&Step::Check);
            for (at, step) in plan.steps.iter().chain(last).enumerate() {
                trace.note(&format!("step {at}: {step:?}"));
                world.take(step).await;
            }
            world.end().await;
            let mut broken = std::mem::take(&mut world.broken);
            for proxy in &world.proxies {
                let found = std::mem::take(&mut proxy.watcher.lock().broken);
                let named = found
                    .into_iter()
                    .map(|broken| Violation::new(&broken.law, format!("proxy {}: {}", proxy.name, broken.how)));
                broken.extend(named);
            }
            broken
        };
        tracing::subscriber::with_default(trace.clone(), || testing::run(whole))
    }
}

#[test]
fn the_whole_tree_is_what_its_sources_say_whatever_happened_to_it() {
    let campaign = Campaign::new(REPLAY, 200).from_env("TIDEGATE_SIMULATION_SEEDS");
    match campaign.run(&WholeTree) {
        Ok(summary) => println!("simulation: {summary}"),
        Err(failed) => panic!("{failed}"),
    }
}
