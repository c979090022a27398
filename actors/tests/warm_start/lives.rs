//! Many lives on one disk, each ended at any moment: by a kill or by a loss of power, in the midst of changes and faults.
//! What each begins with is what the source once was, with a cursor that says no more; what each ends with is the source.
//!
//! `TIDEGATE_SEEDS=n` runs that many seeds.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_actors::env::{Fault, Rng as _, SeededRng};
use tidegate_actors::testing::{self, FaultRule, MemoryDisk, MemorySource, Trouble};

use crate::rig::*;

/// What a source held, by revision: the revision after each change.
type Past = BTreeMap<u64, Vec<String>>;

fn now(source: &MemorySource) -> Vec<String> {
    source.objects(&things()).values().map(|object| spell(object)).collect()
}

fn change(source: &MemorySource, dice: &SeededRng, n: &mut u64, past: &mut Past) {
    let name = format!("o{}", dice.below(5));
    *n += 1;
    if dice.below(4) == 0 {
        delete(source, &name);
    } else {
        put(source, &name, *n);
    }
    past.insert(*n, now(source));
}

fn harm(life: &Life, disk: &MemoryDisk, dice: &SeededRng) {
    match dice.below(6) {
        0 => disk.set_trouble(Trouble { full: true, ..Trouble::default() }),
        1 => disk.set_trouble(Trouble { unsynced: true, ..Trouble::default() }),
        2 => disk.set_trouble(Trouble::default()),
        3 => drop(life.rig.faults.add(FaultRule::once("disk/write", Fault::Error("injected".into()))).clone()),
        4 => drop(
            life.rig.faults.add(FaultRule::once("port/snapshot/*/receive", Fault::Panic("injected".into()))).clone(),
        ),
        _ => drop(life.rig.kill("snapshot")),
    }
}

async fn lives(seed: u64) -> (usize, usize) {
    let (dice, source) = (SeededRng::new(seed), MemorySource::new("demo"));
    let (mut disk, mut n, mut past) = (MemoryDisk::default(), 0, Past::new());
    let (mut warm, mut listed) = (0, 0);
    past.insert(0, Vec::new());
    for round in 0..6 {
        let when = format!("seed {seed}, round {round}");
        let life = Life::start_away(seed * 10 + round, &disk, &source).await;
        life.rig.advance(Duration::from_millis(5)).await;
        if life.things.status().sync.is_settled() {
            warm += 1;
            // A state of the source, and not several halves.
            assert!(past.values().any(|state| *state == life.held()), "{when}: {:?}", life.held());
        } else {
            assert!(life.held().is_empty(), "{when}");
        }
        life.come_back();
        life.rig.advance(Duration::from_millis(200)).await;
        for _ in 0..dice.below(30) {
            change(&source, &dice, &mut n, &mut past);
            if dice.below(5) == 0 {
                harm(&life, &disk, &dice);
            }
            if dice.below(9) == 0 {
                source.disconnect();
            }
            life.rig.advance(Duration::from_millis(dice.below(400))).await;
        }
        if dice.below(2) == 0 {
            disk.set_trouble(Trouble::default());
            life.rig.faults.heal();
            life.rig.advance(Duration::from_secs(100)).await;
            assert_eq!(life.held(), now(&source), "{when}");
            assert!(life.rig.persistence.as_ref().unwrap().is_current(), "{when}: {:?}", life.status());
        }
        listed += life.lists();
        disk = if dice.below(2) == 0 { disk.copy() } else { disk.after_power_loss(seed * 10 + round) };
        drop(life);
        for _ in 0..dice.below(4) {
            change(&source, &dice, &mut n, &mut past);
        }
        if dice.below(5) == 0 {
            source.compact();
        }
    }
    let life = Life::start(seed, &disk, &source).await;
    life.rig.settle().await;
    assert_eq!(life.held(), now(&source), "seed {seed}, at last");
    (warm, listed)
}

#[test]
fn whatever_happens_each_life_begins_with_a_past_of_its_source_and_ends_with_its_present() {
    let seeds = std::env::var("TIDEGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let (mut warm, mut listed) = (0, 0);
    for seed in 0..seeds {
        let (of_warm, of_listed) = testing::run(lives(seed));
        (warm, listed) = (warm + of_warm, listed + of_listed);
    }
    // Of six lives five might be warm; where histories are gone, lists are due.
    assert!(warm as u64 > seeds * 3, "only {warm} of {} lives began warm", seeds * 6);
    assert!((listed as u64) < seeds * 4, "{listed} lists in {} lives", seeds * 6);
}
