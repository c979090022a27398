//! Schedules from seeds, and the smallest one that still fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::oracle::Wrong;
use super::run::{CLIENTS, Count, Schedule, Step, run};
use super::world::{ACQUIRED_TASTE, CHAINS, Change, POISON};
use crate::publish::xds::kind::Kind;

/// SplitMix64: small, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u8) -> u8 {
        (self.next() % u64::from(limit)) as u8
    }

    fn percent(&mut self, chance: u8) -> bool {
        self.below(100) < chance
    }

    fn scope(&mut self) -> Option<u8> {
        self.percent(40).then(|| 1 + self.below(3))
    }

    fn revision(&mut self) -> u8 {
        match self.below(20) {
            0 => POISON,
            1 => ACQUIRED_TASTE,
            other => 1 + other % 4,
        }
    }

    fn names(&mut self) -> u16 {
        if self.percent(15) { 0 } else { (self.next() & self.next()) as u16 & 0x7f }
    }
}

/// The schedule of a seed.
pub fn schedule(seed: u64) -> Schedule {
    let mut rng = Rng(seed);
    let clients = std::array::from_fn(|_| (rng.percent(50), rng.percent(60), rng.percent(30)));
    let mut steps = Vec::new();
    if rng.percent(80) {
        steps.push(Step::Apply(first(&mut rng)));
    }
    let length = 5 + rng.below(12);
    for client in 0..CLIENTS {
        if client == 0 || rng.percent(50) {
            let scope = rng.scope();
            steps.push(Step::Connect { client, scope, resume: false });
            if rng.percent(70) {
                steps.push(Step::Settle(client));
            }
        }
    }
    for _ in 0..length {
        step(&mut rng, &mut steps);
    }
    Schedule { clients, steps }
}

/// A model with something of everything.
fn first(rng: &mut Rng) -> Vec<Change> {
    let mut changes: Vec<Change> = (0..3).map(|service| cluster(rng, service)).collect();
    changes.push(Change::Endpoints { service: 0, revision: Some(1) });
    changes.push(Change::Secret { secret: 0, revision: Some(1), gateways: 1 });
    changes.push(Change::Listener { port: 0, chains: 1 | (rng.below(4) << 1) });
    changes.push(Change::Host { table: 0, domain: 0, revision: 1, services: 1 + rng.below(7), gateway: rng.below(2) });
    changes.push(host(rng));
    changes
}

fn cluster(rng: &mut Rng, service: u8) -> Change {
    Change::Cluster { service, revision: rng.revision(), gateways: 1 + rng.below(3) }
}

fn host(rng: &mut Rng) -> Change {
    let (table, domain, revision) = (rng.below(3), rng.below(2), rng.revision());
    Change::Host { table, domain, revision, services: rng.below(16) & rng.below(16), gateway: rng.below(2) }
}

fn change(rng: &mut Rng) -> Change {
    let service = rng.below(4);
    match rng.below(14) {
        0 | 1 => cluster(rng, service),
        2 | 3 => Change::NoCluster { service, alone: rng.percent(25) },
        4 | 5 => Change::Endpoints { service, revision: (!rng.percent(20)).then(|| rng.revision()) },
        6 => {
            let revision = (!rng.percent(25)).then(|| rng.revision());
            Change::Secret { secret: rng.below(2), revision, gateways: 1 + rng.below(3) }
        }
        7 | 8 => {
            let chains = if rng.percent(25) { 0 } else { rng.below(16) };
            let bad = if rng.percent(10) { 1 << (CHAINS - 1) } else { 0 };
            Change::Listener { port: rng.below(2), chains: chains | bad }
        }
        9 => Change::NoHost { table: rng.below(3), domain: rng.below(2) },
        _ => host(rng),
    }
}

fn step(rng: &mut Rng, steps: &mut Vec<Step>) {
    let client = rng.below(CLIENTS);
    let kind = Kind::ALL[usize::from(rng.below(6))];
    match rng.below(32) {
        0..=7 => {
            let count = 1 + rng.below(3);
            steps.push(Step::Apply((0..count).map(|_| change(rng)).collect()));
            for client in 0..CLIENTS {
                if rng.percent(80) {
                    steps.push(Step::Notify(client));
                }
            }
            if rng.percent(50) {
                steps.push(Step::Settle(client));
            }
        }
        8..=11 => steps.push(Step::Subscribe { client, kind, names: rng.names() }),
        12..=13 => steps.push(Step::Unsubscribe { client, kind, names: rng.names() }),
        14 => steps.push(Step::Late { client, kind, names: rng.names() | 1 }),
        15..=17 => steps.push(Step::Deliver(client)),
        18..=20 => steps.push(Step::Read(client)),
        21 => steps.push(Step::Reject(client)),
        22..=25 => steps.push(Step::Settle(client)),
        26..=27 => {
            let times = [1, 1_000, 5_000, 20_000];
            steps.push(Step::Pass(Duration::from_millis(times[usize::from(rng.below(4))])));
        }
        28 => steps.push(Step::Disconnect(client)),
        _ => {
            let (scope, resume) = (rng.scope(), rng.percent(75));
            if rng.percent(50) {
                // Things change while it is away.
                steps.push(Step::Disconnect(client));
                steps.push(Step::Apply((0..1 + rng.below(2)).map(|_| change(rng)).collect()));
            }
            steps.push(Step::Connect { client, scope, resume });
            if rng.percent(60) {
                steps.push(Step::Settle(client));
            }
        }
    }
}

/// Runs a schedule; a panic of the server is as wrong as anything.
pub fn judge(schedule: &Schedule, start: Instant) -> Result<Count, Wrong> {
    let ran = catch_unwind(AssertUnwindSafe(|| run(schedule, start)));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

/// Leaves steps out, and changes out of steps, as long as it still fails.
pub fn shrink(mut schedule: Schedule, start: Instant) -> (Schedule, Wrong) {
    let mut wrong = judge(&schedule, start).err().unwrap_or_default();
    let mut size = schedule.steps.len();
    while size > 0 {
        let (mut at, mut shrunk) = (0, false);
        while at < schedule.steps.len() {
            let mut fewer = schedule.clone();
            fewer.steps.drain(at..(at + size).min(fewer.steps.len()));
            match judge(&fewer, start) {
                Err(still) => (schedule, wrong, shrunk) = (fewer, still, true),
                Ok(_) => at += size,
            }
        }
        size = if shrunk && size == 1 { 1 } else { size / 2 };
    }
    for at in 0..schedule.steps.len() {
        let mut change = 0;
        while let Step::Apply(changes) = &schedule.steps[at] {
            if change >= changes.len() {
                break;
            }
            let mut fewer = schedule.clone();
            if let Step::Apply(changes) = &mut fewer.steps[at] {
                changes.remove(change);
            }
            match judge(&fewer, start) {
                Err(still) => (schedule, wrong) = (fewer, still),
                Ok(_) => change += 1,
            }
        }
    }
    (schedule, wrong)
}
