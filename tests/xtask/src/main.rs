//! Developer commands: what CI runs, and what a developer runs before CI does. Each prints what it does and ends with a
//! status that can be relied upon: what could not be checked is an error, or is said.

mod bench;

mod cluster;

mod fuzz;

mod lint;

mod run;

mod soak;

mod suite;

/// The product's own search for Envoy, by its source: depending on the whole product would build its two hundred
/// dependencies a second time, with other features, and would leave no `cargo xtask lint` while the product does not
/// compile.
#[allow(dead_code, reason = "the product uses all of it, this program a part")]
#[path = "../../../src/proxy/locate/mod.rs"]
mod locate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Tidegate.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test, those that need a real Envoy or Kubernetes included, and every fuzz target for a while; finds,
    /// fetches or builds what they need first.
    Test {
        /// An Envoy to use instead.
        #[arg(long, value_name = "PATH")]
        envoy: Option<PathBuf>,
        /// What to hand to `cargo test` instead of `--workspace`, such as `-p tidegate --test proxy`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<String>,
    },
    /// Run every benchmark and write their figures to target/bench.md; fails if a budget is missed.
    Bench {
        /// Names of benchmarks, such as `decode`; all without one. From the first dash on, arguments for `cargo bench`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<String>,
    },
    /// Build the fuzz targets and run each for a while; says what was found and how to replay it.
    Fuzz {
        /// Names of targets, such as `object_decode`; all without one.
        names: Vec<String>,
        /// For how long each.
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u64,
    },
    /// Check formatting, lints, licences, sources and, if their database can be had, advisories.
    Lint {
        /// Fail if the advisory database cannot be fetched.
        #[arg(long, env = "TIDEGATE_REQUIRE_ADVISORIES")]
        require_advisories: bool,
    },
    /// All that CI runs: lint, then test.
    Ci {
        /// Fail if the advisory database cannot be fetched.
        #[arg(long, env = "TIDEGATE_REQUIRE_ADVISORIES")]
        require_advisories: bool,
    },
    /// Run the real service under changes and faults for hours, and print events, faults, losses and memory growth; or, with
    /// --counts, the suites of seeds with their large counts.
    Soak {
        /// For how long; fractions are allowed.
        #[arg(long, default_value_t = 1.0)]
        hours: f64,
        /// What decides changes and faults.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Run the suites with their large counts instead.
        #[arg(long)]
        counts: bool,
    },
    /// Find or fetch Envoy and print its path.
    Envoy,
    /// Build the program that renders a Helm chart, and print its path or run it: `cargo xtask chart config/deploy/chart`.
    Chart {
        /// What to hand to it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the program that runs a real Kubernetes, and print its path or run it: `cargo xtask cluster up`.
    Cluster {
        /// What to hand to it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test { envoy, cargo } => suite::test(envoy, &cargo, &[]),
        Command::Bench { cargo } => bench::bench(&cargo),
        Command::Fuzz { names, seconds } => fuzz::fuzz(&names, seconds),
        Command::Lint { require_advisories } => lint::lint(require_advisories),
        // The tests come last: the last line is their sum.
        Command::Ci { require_advisories } => {
            lint::lint(require_advisories).and_then(|()| suite::test(None, &[], suite::CI_COUNTS))
        }
        Command::Soak { counts: true, .. } => soak::counts(),
        Command::Soak { hours, seed, .. } => soak::soak(hours, seed),
        Command::Envoy => suite::find_envoy(None).map(|path| println!("{}", path.display())),
        Command::Chart { arguments } => cluster::chart(&arguments),
        Command::Cluster { arguments } => cluster::cluster(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
