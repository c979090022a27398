//! One process that lives for long: plan after plan without a crash, each with its comparison, and what it holds in memory
//! by then. What is kept of what is gone, whatever it is, shows here and in no short run.
//!
//! It is a process of its own, since other tests beside it hold memory, too.
//!
//! `TIDEGATE_SIMULATION_PLANS=n` lives through that many, 10,000 in `cargo xtask soak --counts`.

use std::process::Command;
use std::time::Duration;

use tidegate_actors::testing::{self, Keep, Trace, number};

use super::steps::{self, Step};
use super::world::World;

/// What is run without a word about it.
const PLANS: u64 = 60;

/// Memory that a process may hold more of at the end than after a quarter of the plans. Among few plans that is what has
/// its bound further on: the simulated disk's files, with up to a MiB each of what no longer counts, and the log of
/// changes for proxies that are behind. Among many it is the allocator's, since what lives lies elsewhere each time.
const SLACK: u64 = 16 << 20;

/// Set in the process that is measured.
const ALONE: &str = "TIDEGATE_SIMULATION_ALONE";

/// The name of the test, for that process.
const NAME: &str = "months::a_process_that_lives_through_plan_after_plan_holds_no_more_memory_for_it";

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_process_that_lives_through_plan_after_plan_holds_no_more_memory_for_it() {
    if std::env::var_os(ALONE).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ran = command.args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let [said, wrong] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
        let told = said.lines().find(|line| line.starts_with("months:"));
        assert!(ran.status.success() && told.is_some(), "{said}\n{wrong}");
        told.iter().for_each(|told| println!("{told}"));
        return;
    }
    super::hush();
    let plans = number("TIDEGATE_SIMULATION_PLANS").unwrap_or(PLANS);
    let trace = Trace::of(Keep::Digest, &["tidegate"]);
    let whole = async {
        let mut world = World::new(1, &trace);
        world.start().await;
        let begun = world.env.clock.now();
        let mut held = Vec::new();
        for seed in 0..plans {
            let steps = steps::plan(seed).steps;
            let lived = steps.iter().filter(|step| !matches!(step, Step::Crash | Step::PowerLoss(_) | Step::Check));
            for step in lived.chain([&Step::Check]) {
                world.take(step).await;
            }
            let broken = std::mem::take(&mut world.broken);
            assert!(broken.is_empty(), "plan {seed}: {broken:#?}");
            held.push(resident());
        }
        let lived = world.env.clock.now() - begun;
        world.end().await;
        (held, lived)
    };
    let (held, lived) = tracing::subscriber::with_default(trace.clone(), || testing::run(whole));
    let (quarter, end) = (held[held.len() / 4], *held.last().unwrap());
    let days = lived.as_secs_f64() / Duration::from_secs(86_400).as_secs_f64();
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "months: {plans} plans, {days:.1} days, {} MiB after a quarter of them, {} MiB at the end",
        mib(quarter),
        mib(end)
    );
    assert!(
        end <= quarter + SLACK,
        "it grows: {:?} MiB",
        held.iter().step_by(held.len() / 20).copied().map(mib).collect::<Vec<_>>()
    );
}
