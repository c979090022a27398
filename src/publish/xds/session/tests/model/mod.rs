//! Random clients on random models, judged by an oracle of the protocol that was written without a look at the
//! server: at every response that nothing in it breaks a rule, and once all is quiet that each client holds exactly
//! what it must.
//!
//! `TIDEGATE_XDS_SEEDS` is how many schedules are run, `TIDEGATE_XDS_SEED` the one to run again. `cargo xtask ci` asks
//! for a hundred thousand.

mod client;
mod oracle;
mod run;
mod seed;
mod wants;
mod wire;
mod world;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use run::Count;

/// What is run without a word about it.
const SEEDS: u64 = 2_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// What is printed of a seed that fails.
fn failure(seed: u64, start: Instant) -> String {
    let whole = seed::schedule(seed);
    let (schedule, wrong) = seed::shrink(whole.clone(), start);
    let mut text = format!("seed {seed} (TIDEGATE_XDS_SEED={seed} runs it again): {wrong}\n");
    let (steps, of) = (schedule.steps.len(), whole.steps.len());
    let _ = writeln!(text, "clients (state of the world, natural, picky): {:?}; {steps} of {of} steps:", whole.clients);
    for step in &schedule.steps {
        let _ = writeln!(text, "  {step:?}");
    }
    text.push_str("what is said:\n");
    for line in run::conversation(&schedule, start) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

#[test]
fn whatever_clients_do_they_end_with_what_they_must_have_and_no_rule_is_broken_on_the_way() {
    let start = Instant::now();
    if let Some(seed) = number("TIDEGATE_XDS_SEED") {
        let outcome = seed::judge(&seed::schedule(seed), start);
        assert!(outcome.is_ok(), "{}", failure(seed, start));
        return;
    }
    let seeds = number("TIDEGATE_XDS_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8));
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut count = Count::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.load(Ordering::Relaxed) {
                return Ok(count);
            }
            match seed::judge(&seed::schedule(seed), start) {
                Ok(own) => count.add(own),
                Err(_) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(failure(seed, start));
                }
            }
        }
    };
    let outcomes: Vec<Result<Count, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut count = Count::default();
    for outcome in outcomes {
        count.add(outcome.unwrap_or_else(|failure| panic!("{failure}")));
    }
    println!("{seeds} schedules in {:.1?}: {count:?}", start.elapsed());
    let busy = [count.responses, count.resources, count.removals, count.rejections, count.ignored, count.held];
    assert!(busy.iter().all(|count| *count > seeds / 100), "too little happens: {count:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let start = Instant::now();
    for seed in 0..200 {
        let [one, other] = [0, 1].map(|_| {
            let schedule = seed::schedule(seed);
            (format!("{schedule:?}"), seed::judge(&schedule, start))
        });
        assert_eq!(one, other);
    }
}
