//! Many seeds of one scenario: each judged, some replayed, those that fail made short and printed with the command
//! that runs them again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::oracle::Violation;
use super::plan::{Plan, shrink};
use super::trace::{Keep, Trace};

/// A system under some plan.
pub trait Scenario: Sync {
    /// What a plan is made of.
    type Step: Clone + fmt::Debug + Send;

    /// What a seed does. Pure: the same seed, the same plan.
    fn plan(&self, seed: u64) -> Plan<Self::Step>;

    /// A trace that takes the log of the modules that matter here.
    fn trace(&self, keep: Keep) -> Trace {
        Trace::new(keep)
    }

    /// Runs a plan, in virtual time and on this thread, and says which laws were broken. Any part of a plan is a plan
    /// too: a step that makes no sense without another does nothing then.
    fn run(&self, plan: &Plan<Self::Step>, trace: &Trace) -> Vec<Violation>;
}

/// How many seeds, and what is done with them.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// How to run one seed again, with `{seed}` in it: printed with a failure.
    pub replay: String,
    /// Which seeds.
    pub seeds: std::ops::Range<u64>,
    /// One thread a seed at a time, so many seeds at once.
    pub threads: usize,
    /// Every so many-th seed is run twice, and both traces must be equal; 0: none.
    pub replayed: u64,
    /// A plan that fails is shortened with at most so many runs.
    pub shrink_runs: usize,
    /// After so many failures no more seeds are begun.
    pub failures: usize,
    /// Whether the lines of its traces are printed.
    pub print: bool,
}

/// What a campaign found, if it found nothing.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Of them, those that were run twice, with equal traces.
    pub replayed: u64,
    /// Wall-clock time.
    pub took: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.seeds as f64 / self.took.as_secs_f64().max(1e-9);
        let (seeds, replayed, took) = (self.seeds, self.replayed, self.took.as_secs_f64());
        write!(f, "{seeds} seeds, {replayed} of them twice, no law broken, {took:.1} s, {rate:.0} a second")
    }
}

/// Seeds that break laws, ready to be printed.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl Campaign {
    /// The seeds from 0 on, on two threads.
    pub fn new(replay: &str, seeds: u64) -> Self {
        Self {
            replay: replay.to_owned(),
            seeds: 0..seeds,
            threads: 2,
            replayed: 16,
            shrink_runs: 300,
            failures: 3,
            print: false,
        }
    }

    /// As the environment wants it: the variable `seeds` (how many), `TIDEGATE_SEED` (this one alone, with its trace
    /// printed), `TIDEGATE_THREADS`.
    ///
    /// # Panics
    /// When one of them is not a number.
    #[must_use]
    pub fn from_env(mut self, seeds: &str) -> Self {
        if let Some(seeds) = number(seeds) {
            self.seeds.end = self.seeds.start + seeds;
        }
        if let Some(threads) = number("TIDEGATE_THREADS") {
            self.threads = (threads as usize).max(1);
        }
        if let Some(seed) = number("TIDEGATE_SEED") {
            (self.seeds, self.print, self.threads, self.replayed) = (seed..seed + 1, true, 1, 1);
        }
        self
    }

    /// Runs all seeds.
    ///
    /// # Errors
    /// With the first seeds that break a law.
    pub fn run<S: Scenario>(&self, scenario: &S) -> Result<Summary, Failed> {
        let begun = Instant::now();
        let next = AtomicU64::new(self.seeds.start);
        let replayed = AtomicU64::new(0);
        let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
        let failures = || failed.lock().map_or(0, |failed| failed.len());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while failures() < self.failures.max(1) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            break;
                        }
                        let twice = self.replayed > 0 && seed.is_multiple_of(self.replayed);
                        replayed.fetch_add(u64::from(twice), Ordering::Relaxed);
                        if let Err(text) = self.judge(scenario, seed, twice)
                            && let Ok(mut failed) = failed.lock()
                        {
                            failed.push((seed, text));
                        }
                    }
                });
            }
        });
        let mut failed = failed.into_inner().unwrap_or_default();
        if failed.is_empty() {
            let seeds = self.seeds.end.saturating_sub(self.seeds.start);
            return Ok(Summary { seeds, replayed: replayed.into_inner(), took: begun.elapsed() });
        }
        failed.sort();
        let texts: Vec<String> = failed.into_iter().map(|(_, text)| text).collect();
        Err(Failed(texts.join("\n")))
    }

    fn judge<S: Scenario>(&self, scenario: &S, seed: u64, twice: bool) -> Result<(), String> {
        let plan = scenario.plan(seed);
        if self.print {
            eprintln!("{plan}");
        }
        let keep = if self.print { Keep::Print } else { Keep::Digest };
        let trace = scenario.trace(keep);
        let mut broken = run(scenario, &plan, &trace);
        if !broken.is_empty() {
            let law = broken[0].law.clone();
            // The same law, so that it does not end as another failure than the one that was found.
            let fails = |plan: &Plan<S::Step>| {
                run(scenario, plan, &scenario.trace(Keep::Digest)).iter().any(|broken| broken.law == law)
            };
            let short = shrink(&plan, self.shrink_runs, fails);
            let same = run(scenario, &short, &scenario.trace(Keep::Digest));
            broken = if same.is_empty() { broken } else { same };
            return Err(self.tell(seed, &broken, plan.steps.len(), &short));
        }
        if twice {
            let again = scenario.trace(Keep::Digest);
            run(scenario, &plan, &again);
            if (again.digest(), again.len()) != (trace.digest(), trace.len()) {
                let how = first_difference(scenario, &plan);
                return Err(self.tell(seed, &[Violation::new("replay", how)], plan.steps.len(), &plan));
            }
        }
        Ok(())
    }

    fn tell<S: fmt::Debug>(&self, seed: u64, broken: &[Violation], steps: usize, short: &Plan<S>) -> String {
        let laws: Vec<String> = broken.iter().take(5).map(|broken| format!("  {broken}")).collect();
        let more = broken.len().saturating_sub(laws.len());
        let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        let replay = self.replay.replace("{seed}", &seed.to_string());
        format!(
            "seed {seed} breaks a law:\n{}{more}\n{} of its {steps} steps are enough:\n{short}replay it with: {replay}\n",
            laws.join("\n"),
            short.steps.len(),
        )
    }
}

/// A scenario that panics has broken something too.
fn run<S: Scenario>(scenario: &S, plan: &Plan<S::Step>, trace: &Trace) -> Vec<Violation> {
    catch_unwind(AssertUnwindSafe(|| scenario.run(plan, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        vec![Violation::new("the run ends", format!("it panicked: {text}"))]
    })
}

fn first_difference<S: Scenario>(scenario: &S, plan: &Plan<S::Step>) -> String {
    let lines = || {
        let trace = scenario.trace(Keep::Lines);
        run(scenario, plan, &trace);
        trace.lines()
    };
    let (one, two) = (lines(), lines());
    let at = (0..one.len().max(two.len())).find(|at| one.get(*at) != two.get(*at));
    at.map_or_else(
        || "two runs had different traces, two further ones had not".to_owned(),
        |at| format!("line {at} of the trace: {:?}, then {:?}", one.get(at), two.get(at)),
    )
}

/// A number from the environment.
///
/// # Panics
/// When it is there and is none.
#[allow(clippy::panic)]
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Breaks its law when the steps 3 and 7 come together.
    struct Fragile {
        drifts: bool,
        runs: AtomicU64,
    }

    impl Scenario for Fragile {
        type Step = u64;

        fn plan(&self, seed: u64) -> Plan<u64> {
            Plan::new(seed, (0..20).filter(|step| *step != 7 || seed == 5))
        }

        fn run(&self, plan: &Plan<u64>, trace: &Trace) -> Vec<Violation> {
            super::super::run(async {
                let runs = self.runs.fetch_add(1, Ordering::Relaxed);
                trace.note(&if self.drifts { format!("run {runs}") } else { format!("{:?}", plan.steps) });
                let breaks = plan.steps.contains(&3) && plan.steps.contains(&7);
                if breaks { vec![Violation::new("no 3 with 7", "both are there")] } else { Vec::new() }
            })
        }
    }

    fn mk(drifts: bool) -> Fragile {
        Fragile { drifts, runs: AtomicU64::new(0) }
    }

    #[test]
    fn a_seed_that_fails_is_told_with_its_shortest_plan_and_how_to_run_it() {
        let told = Campaign::new("run --seed {seed}", 10).run(&mk(false)).unwrap_err().to_string();
        assert!(told.contains("seed 5 breaks a law:\n  no 3 with 7: both are there\n"), "{told}");
        assert!(told.contains("2 of its 20 steps are enough:\n   0  3\n   1  7\n"), "{told}");
        assert!(told.contains("replay it with: run --seed 5"), "{told}");
    }

    #[test]
    fn seeds_that_hold_are_counted() {
        let summary = Campaign::new("", 5).run(&mk(false)).unwrap();
        assert_eq!((summary.seeds, summary.replayed), (5, 1));
    }

    #[test]
    fn a_run_that_leaves_something_to_chance_is_found() {
        let told = Campaign { threads: 1, ..Campaign::new("", 1) }.run(&mk(true)).unwrap_err().to_string();
        assert!(told.contains("replay: line 0 of the trace"), "{told}");
    }
}
