//! `soak`: hours of changes under faults with the real service; and the large counts of what CI runs in small ones.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, root, run};
use crate::suite;

/// Runs the service for so long; the table goes to `target/soak.md`.
pub fn soak(hours: f64, seed: u64) -> Result<()> {
    if !hours.is_finite() || hours <= 0.0 {
        bail!("--hours must be more than 0; fractions will do");
    }
    let out = root().join("target/soak.md");
    fs::create_dir_all(root().join("target")).context("make target/")?;
    let mut command = cargo(&["run", "--release", "-p", "tidegate-bench", "--bin", "soak"]);
    command.env("TIDEGATE_SOAK_HOURS", hours.to_string()).env("TIDEGATE_SOAK_SEED", seed.to_string());
    command.env("TIDEGATE_SOAK_OUT", &out).env("TIDEGATE__CHAOS__ENABLED", "true");
    run(&mut command)?;
    println!("the table is in {}", out.display());
    Ok(())
}

/// One suite with its large count.
struct Count {
    what: &'static str,
    count: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

const COUNTS: [Count; 6] = [
    Count {
        what: "simulation of the whole tree, seeds",
        count: "100000",
        arguments: &["test", "--release", "--test", "simulation", "whole_tree"],
        variables: &[("TIDEGATE_SIMULATION_SEEDS", "100000")],
    },
    Count {
        what: "plan after plan in one process, which holds no more memory for it",
        count: "10000",
        arguments: &["test", "--release", "--test", "simulation", "months"],
        variables: &[("TIDEGATE_SIMULATION_PLANS", "10000")],
    },
    Count {
        what: "Sieve's perturbations, recorded scenarios",
        count: "80",
        arguments: &["test", "--release", "-p", "tidegate-actors", "--features", "testing", "--test", "sieve"],
        variables: &[("TIDEGATE_SCENARIOS", "80")],
    },
    Count {
        what: "laws of the engine, seeds",
        count: "100000",
        arguments: &["test", "--release", "-p", "tidegate-actors", "--features", "testing", "--test", "laws"],
        variables: &[("TIDEGATE_SEEDS", "100000")],
    },
    Count {
        what: "xDS protocol against its model, sequences",
        count: "1000000",
        arguments: &["test", "--release", "-p", "tidegate", "--lib", "publish::xds::session"],
        variables: &[("TIDEGATE_XDS_SEEDS", "1000000")],
    },
    // A Gateway has at most 100,000 routes.
    Count {
        what: "poisonous objects among as many good ones",
        count: "50000",
        arguments: &["test", "--release", "--test", "simulation", "poison"],
        variables: &[("TIDEGATE_POISON", "50000")],
    },
];

/// How often Tidegate is killed, between a real directory, a real API server and a real Envoy.
const KILLS: &str = "500";

/// Runs every suite with its large count; the table goes to `target/soak-counts.md`.
pub fn counts() -> Result<()> {
    let mut table =
        Table { text: String::from("| what | count | result | time |\n|---|---|---|---|\n"), failed: vec![] };
    for Count { what, count, arguments, variables } in &COUNTS {
        let mut command = cargo(arguments);
        command.args(["--", "--nocapture"]).envs(variables.iter().copied());
        table.row(what, count, || run(&mut command));
    }
    table.row("kill -9 under load, with a real directory, API server and Envoy", KILLS, || {
        // As people run it, or the time until the first configuration says nothing.
        let selection = ["--release", "--test", "kills"].map(str::to_owned);
        suite::test(None, &selection, &[("TIDEGATE_KILLS", KILLS)])
    });
    let Table { text, failed } = table;
    let out = root().join("target/soak-counts.md");
    fs::create_dir_all(root().join("target")).context("make target/")?;
    fs::write(&out, &text).with_context(|| format!("write {}", out.display()))?;
    println!("\n{text}\nthe table is in {}", out.display());
    if failed.is_empty() { Ok(()) } else { bail!("{} failed", failed.join(", ")) }
}

/// What came of the suites so far. One that fails does not keep the others from running.
struct Table {
    text: String,
    failed: Vec<String>,
}

impl Table {
    fn row(&mut self, what: &str, count: &str, run: impl FnOnce() -> Result<()>) {
        let begun = Instant::now();
        let result = run();
        if let Err(error) = &result {
            println!("{error:#}");
            self.failed.push(what.to_owned());
        }
        let result = if result.is_ok() { "no violation" } else { "FAILED" };
        self.text.push_str(&format!("| {what} | {count} | {result} | {} |\n", minutes(begun.elapsed())));
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}
