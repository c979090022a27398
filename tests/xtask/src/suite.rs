//! `test`: Envoy, the cluster program and Helm's engine first, then every test there is; one that needs them runs, and never
//! skips. Then each fuzz target for a few seconds.
//! The last line is the sum.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::locate::{LocateOptions, locate};
use crate::run::{cargo, shown, title};
use crate::{cluster, fuzz};

/// Finds or fetches Envoy, in the way the product does.
pub fn find_envoy(explicit: Option<PathBuf>) -> Result<PathBuf> {
    let found = locate(&LocateOptions::from_environment(explicit))?;
    for note in &found.passed_over {
        eprintln!("passed over: {note}");
    }
    eprintln!("Envoy {} at {} ({:?})", found.version, found.path.display(), found.origin);
    Ok(found.path)
}

/// How much of what is drawn at random CI runs, by the variable that says so; a plain `cargo test` is content with
/// less.
pub const CI_COUNTS: &[(&str, &str)] = &[("TIDEGATE_XDS_SEEDS", "100000"), ("TIDEGATE_SIMULATION_SEEDS", "2000")];

/// Runs the tests; `selection` replaces `--workspace`. A count that the environment names already stays.
pub fn test(envoy: Option<PathBuf>, selection: &[String], counts: &[(&str, &str)]) -> Result<()> {
    title("Envoy");
    let envoy = find_envoy(envoy).context("the tests need a real Envoy")?;
    let programs = cluster::find_for(selection)?;

    let mut command = cargo(&["test", "--no-fail-fast"]);
    if selection.is_empty() {
        command.arg("--workspace");
    }
    command.args(selection.iter().map(String::as_str));
    command.args(["--", "--include-ignored"]).env("TIDEGATE_ENVOY", &envoy).stdout(Stdio::piped());
    command.envs(programs);
    command.envs(counts.iter().filter(|(name, _)| std::env::var_os(name).is_none()).copied());
    let shown = shown(&command);
    title(&shown);
    let mut child = command.spawn().with_context(|| format!("could not start {shown}"))?;
    let mut sum = Sum::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("could not read the tests' output")?;
            println!("{line}");
            sum.add(&line);
        }
    }
    let status = child.wait().context("could not wait for the tests")?;
    // A test that fails does not hide what fuzzing finds, nor the other way round.
    let fuzzed = if selection.is_empty() { fuzz::fuzz(&[], fuzz::SECONDS) } else { Ok(()) };

    if let Err(error) = &fuzzed {
        println!("\n{error:#}");
    }
    if sum.ignored > 0 {
        bail!("{} tests were ignored, and all should have run", sum.ignored);
    }
    if !status.success() && sum.failed == 0 {
        // A test program that did not compile, or died, has no result line.
        bail!("{shown} failed with {status}, beyond what its result lines say ({} passed)", sum.passed);
    }
    if status.success() && sum.passed == 0 {
        bail!("no test ran");
    }
    println!("\n{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed > 0 {
        bail!("{} tests failed", sum.failed);
    }
    fuzzed
}

/// What the result lines of all test programs add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    /// Adds a line such as `test result: ok. 41 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in
    /// 0.87s`; any other changes nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for count in counts.1.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_lines_of_all_programs_are_added_up() {
        let mut sum = Sum::default();
        for line in [
            "running 3 tests",
            "test result: ok. 41 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.87s",
            "test a::b ... ok",
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.87s",
            "5 passed; 5 failed",
        ] {
            sum.add(line);
        }
        assert_eq!(sum, Sum { passed: 42, failed: 3, ignored: 2 });
    }
}
