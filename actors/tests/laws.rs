//! The laws of the engine: a whole one, under a random schedule of changes and faults, in virtual time, and then
//! what must be true of it. One seed, one run.
//!
//! `TIDEGATE_SEEDS=n` runs that many seeds; `TIDEGATE_SEED=n` runs one, and prints what happens.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "laws/check.rs"]
mod check;

#[path = "laws/run.rs"]
mod run;

#[path = "laws/schedule.rs"]
mod schedule;

#[path = "laws/witness.rs"]
mod witness;

#[path = "laws/world.rs"]
mod world;

use std::sync::Once;

use tidegate_actors::testing::number;

/// Panics that the suite asks for are nobody's concern.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !["injected", "explodes", "unreadable"].iter().any(|known| text.contains(known)) {
                loud(info);
            }
        }));
    });
}

/// Judges one seed, and says what is wrong with it.
fn judge(seed: u64, print: bool) -> Result<(), String> {
    hush();
    let outcome = run::run(seed, print);
    let mut broken: Vec<String> =
        outcome.broken.iter().map(|broken| format!("law {}\n    {}", broken.law, broken.how)).collect();
    // Some runs, and each that is looked at, must replay.
    if print || seed.is_multiple_of(number("TIDEGATE_REPLAY").unwrap_or(11)) {
        let again = run::run(seed, false).trace;
        let length = again.len().max(outcome.trace.len());
        if let Some(at) = (0..length).find(|at| again.get(*at) != outcome.trace.get(*at)) {
            let (one, two) = (outcome.trace.get(at), again.get(at));
            broken.push(format!("law 8: the same seed gives the same run\n    line {at}: {one:?}, then {two:?}"));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let more = broken.len().saturating_sub(6);
    broken.truncate(6);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    Err(format!("seed {seed}:\n  {}{more}\n  replay it with TIDEGATE_SEED={seed}", broken.join("\n  ")))
}

/// The share of one test: every `of`-th seed.
fn share(part: u64, of: u64) {
    if let Some(seed) = number("TIDEGATE_SEED") {
        if part == 0
            && let Err(wrong) = judge(seed, true)
        {
            fail(&wrong);
        }
        return;
    }
    let seeds = number("TIDEGATE_SEEDS").unwrap_or(1_000);
    let wrong = (part..seeds).step_by(of as usize).filter_map(|seed| judge(seed, false).err());
    let wrong: Vec<String> = wrong.take(5).collect();
    if !wrong.is_empty() {
        fail(&format!("seeds that break a law, the first ones:\n{}", wrong.join("\n")));
    }
}

/// What went wrong may quote a panic that was asked for, so it is not told by another, which would be hushed.
fn fail(wrong: &str) -> ! {
    eprintln!("{wrong}");
    panic!("a law is broken, as told above");
}

#[test]
fn the_laws_hold_whatever_happens_first_part() {
    share(0, 2);
}

#[test]
fn the_laws_hold_whatever_happens_second_part() {
    share(1, 2);
}
