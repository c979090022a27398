//! Every event of recorded scenarios under each of Sieve's perturbations: stale states, unobserved states, intermediate
//! states. After each plan every store equals its source and the outputs equal a computation from scratch, and what was
//! there from the start was there all the time.
//!
//! `TIDEGATE_SCENARIOS=n` records that many scenarios.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "laws/world.rs"]
#[allow(dead_code)]
mod world;

use std::sync::Once;
use std::time::Duration;

use tidegate_actors::env::{Rng as _, SeededRng};
use tidegate_actors::informer::Informer;
use tidegate_actors::supervisor::{State, TreeStatus};
use tidegate_actors::testing::oracle::{difference, store_equals_source};
use tidegate_actors::testing::sieve::{self, Disturbance};
use tidegate_actors::testing::{Campaign, MemorySource, Plan, Rig, Scenario, Trace, Violation, number};

use world::{KINDS, Kind, Spec};

/// There from the start and never touched.
const ANCHOR: &str = "anchor";

#[derive(Clone, Debug)]
enum Step {
    Put(Kind, &'static str, Spec),
    Delete(Kind, &'static str),
    Disturb(Disturbance),
}

/// A seed's scenario: changes alone.
fn events(seed: u64) -> Vec<Step> {
    let rng = SeededRng::new(seed);
    let one_of = |of: &[&'static str]| of[rng.below(of.len() as u64) as usize];
    let event = |n: u64| {
        let kind = [Kind::Route, Kind::Route, Kind::Backend, Kind::Grant][rng.below(4) as usize];
        let name = match kind {
            Kind::Route => one_of(&["r1", "r2", "r3"]),
            Kind::Backend => one_of(&["b1", "b2"]),
            Kind::Grant => one_of(&["g1", "g2"]),
        };
        let spec = Spec {
            n,
            host: one_of(&["h0", "h1"]).to_owned(),
            backend: one_of(&[ANCHOR, "b1", "b2"]).to_owned(),
            rank: rng.below(8),
        };
        if rng.below(10) < 3 { Step::Delete(kind, name) } else { Step::Put(kind, name, spec) }
    };
    (10..50).map(event).collect()
}

/// The plans of a seed's scenario.
fn plans(seed: u64) -> Vec<Plan<Step>> {
    let events = events(seed);
    let passed = testing_run(&Plan::new(seed, events.clone()), true).1;
    let mut all = Vec::new();
    for width in [1, 2, 5] {
        all.extend(sieve::stale(&events, width, Step::Disturb));
        all.extend(sieve::unobserved(&events, width, Step::Disturb));
    }
    // A nudge cannot panic, and functions that do are quarantined, which is another law's concern.
    let harmful = |place: &str| !place.ends_with("/send") && !place.starts_with("correlate/");
    all.extend(sieve::intermediate(&events, &passed, harmful, Step::Disturb));
    all
}

struct Perturbed(Vec<Plan<Step>>);

impl Scenario for Perturbed {
    type Step = Step;

    fn plan(&self, seed: u64) -> Plan<Step> {
        self.0[seed as usize % self.0.len()].clone()
    }

    fn run(&self, plan: &Plan<Step>, trace: &Trace) -> Vec<Violation> {
        hush();
        tracing::subscriber::with_default(trace.clone(), || testing_run(plan, false).0)
    }
}

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

/// Runs a plan; says what was broken, and which places were passed if that is to be recorded.
fn testing_run(plan: &Plan<Step>, record: bool) -> (Vec<Violation>, Vec<String>) {
    Rig::run(plan.seed, async |rig| {
        let source = rig.memory_source("east").unwrap();
        let anchor =
            |kind| put(&source, kind, ANCHOR, &Spec { n: 1, host: "h0".into(), backend: ANCHOR.into(), rank: 2 });
        [Kind::Route, Kind::Backend].into_iter().for_each(anchor);
        let mut informers = Vec::new();
        for kind in KINDS {
            informers.push(rig.register(&source, &kind.resource_type()).await.unwrap());
        }
        rig.factory.start().await.unwrap();
        let correlation = rig.correlate("world", world::build).await.unwrap();
        let probe = world::taps(correlation.handles()).build();
        rig.publish("probe", &correlation, &probe).await.unwrap();
        rig.advance(Duration::from_millis(100)).await;
        if record {
            rig.faults.record();
        }
        for step in &plan.steps {
            match step {
                Step::Put(kind, name, spec) => put(&source, *kind, name, spec),
                Step::Delete(kind, name) => source.delete(&kind.resource_type(), Some("n"), name),
                Step::Disturb(Disturbance::Strike(rule)) => drop(rig.faults.add(rule.clone()).clone()),
                Step::Disturb(disturbance) => disturbance.apply(&source),
            }
            rig.advance(Duration::from_millis(20)).await;
        }
        let passed = rig.faults.passed();
        rig.faults.heal();
        source.serve_present();
        rig.settle().await;

        let mut broken = Vec::new();
        let mut breaks = |law: &str, how: Option<String>| broken.extend(how.map(|how| Violation::new(law, how)));
        let store = |informer: &Informer| store_equals_source(informer.lister(), &source);
        breaks("every store equals its source", informers.iter().find_map(store));
        let objects: Vec<_> =
            KINDS.iter().flat_map(|kind| source.objects(&kind.resource_type()).into_values()).collect();
        let state = probe.state().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let scratch = world::from_scratch(&rig.env, objects.iter());
        breaks("the output equals a computation from scratch", difference(&state, &scratch));
        for step in probe.steps() {
            let missing = ["badges", "users", "all"].map(|of| format!("{of}/east:n/{ANCHOR}"));
            let missing = missing.into_iter().find(|entry| !step.state.contains_key(&**entry));
            let missing = missing.map(|entry| format!("version {} is without {entry}", step.version));
            breaks("what is published is never emptier", missing);
        }
        breaks("publishers are told all", probe.broken_promises().first().cloned());
        breaks("every actor runs", idle(&rig.supervisor.tree()));
        (broken, passed)
    })
}

fn put(source: &MemorySource, kind: Kind, name: &str, spec: &Spec) {
    source.apply(&kind.resource_type(), Some("n"), name, &spec.body(0));
}

fn idle(node: &TreeStatus) -> Option<String> {
    if node.state != State::Running {
        return Some(format!("{} is {}: {:?}", node.path, node.state.name(), node.reason));
    }
    node.children.iter().find_map(idle)
}

#[test]
fn at_every_event_stale_unobserved_and_intermediate_states_are_survived() {
    let scenarios = number("TIDEGATE_SCENARIOS").unwrap_or(8);
    let all: Vec<Plan<Step>> = (0..scenarios).flat_map(plans).collect();
    let count = all.len() as u64;
    assert!(count >= 625 * scenarios, "{count} plans of {scenarios} scenarios");
    let replay = "TIDEGATE_SEED={seed} cargo test -p tidegate-actors --features testing --test sieve -- --nocapture";
    match Campaign::new(replay, count).from_env("TIDEGATE_SIEVE_PLANS").run(&Perturbed(all)) {
        Ok(summary) => println!("sieve: {summary}"),
        Err(failed) => panic!("{failed}"),
    }
}
