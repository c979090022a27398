//! What happens to the world in one run: changes of the sources, faults, orders, and what proxies are up to, decided by
//! a seed alone.

use std::time::Duration;

use tidegate::publish::xds::Variant;
use tidegate_actors::env::{Fault, FaultRule, Rng as _, SeededRng};
use tidegate_actors::testing::Plan;

use super::SOURCES;
use super::objects::{GATEWAYS, GRANTS, Kind, ROUTES, SECRETS, SERVICES, SLICES, Say, Thing};
use super::proxy::Mood;

/// One thing that happens. The source is named by its number.
#[derive(Clone, Debug)]
pub enum Step {
    Put(usize, Thing, Say),
    Delete(usize, Thing),
    /// Deleted and made again at once, under one name.
    Recreate(usize, Thing, Say),
    /// Time goes by.
    Wait(Duration),
    /// Every watch of a source ends.
    Disconnect(usize),
    /// A source forgets its history.
    Compact(usize),
    /// A type may not be read any more, or again.
    Forbid(usize, Kind, bool),
    /// A type goes with all its objects, or comes back.
    RemoveType(usize, Kind),
    AddType(usize, Kind),
    /// A source serves an older state, or the present again.
    Past(usize),
    Present(usize),
    Fault(FaultRule),
    Heal,
    Kill(String),
    Restart(String),
    Pause(String),
    Resume(String),
    /// The wall clock jumps ahead.
    ClockJump(Duration),
    /// A proxy is in another mood from now on.
    Proxy(usize, Mood),
    /// A proxy rejects what it dislikes, or does so no more.
    Rejects(usize, bool),
    /// A proxy's stream is cut.
    Cut(usize),
    /// All streams are cut, as when the server restarts.
    CutAll,
    /// The whole process is killed and started again, with the disk that it had.
    Crash,
    /// The machine loses power; the number decides what is left of what was being written.
    PowerLoss(u64),
    /// The disk is full, or has room again.
    FullDisk(bool),
    /// Faults end; when all is quiet, everything is compared.
    Check,
}

/// The proxies: what each speaks, and the Gateways that it says it serves; none: all.
pub const PROXIES: [(Variant, &[&str]); 5] = [
    (Variant::Delta, &[]),
    (Variant::StateOfTheWorld, &[]),
    (Variant::Delta, &[]),
    (Variant::Delta, &["apps/g1"]),
    (Variant::StateOfTheWorld, &["apps/g2", "apps/public"]),
];

struct Dice {
    rng: SeededRng,
    n: u64,
    /// How often core actors may still be harmed before the next check: one that is harmed too often ends the process,
    /// as it should, and a run is to look at other things too.
    core_harm: u32,
}

impl Dice {
    fn below(&self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn one_of<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn source(&self) -> usize {
        usize::from(self.chance(35))
    }

    fn thing(&self) -> Thing {
        match self.below(20) {
            0..8 => self.one_of(&ROUTES[..5]),
            8..11 => self.one_of(&SERVICES),
            11..16 => self.one_of(&SLICES),
            16..18 => self.one_of(&GATEWAYS),
            18 => GRANTS[0],
            _ => SECRETS[0],
        }
    }

    fn say(&mut self, thing: Thing) -> Say {
        self.n += 1 + self.rng.below(500);
        let poisonous = !matches!(thing.kind, Kind::Class | Kind::Grant | Kind::Service);
        match self.below(20) {
            0 | 1 if poisonous => Say::Poison(self.n),
            2 | 3 if thing.kind == Kind::Route => Say::Disliked(self.n),
            _ => Say::Good(self.n),
        }
    }

    fn change(&mut self) -> Step {
        let (source, thing) = (self.source(), self.thing());
        match self.below(20) {
            0..14 => Step::Put(source, thing, self.say(thing)),
            // It never could be read, in no version.
            14 => Step::Put(source, ROUTES[5], Say::Poison(1 + 2 * self.rng.below(5))),
            15..18 => Step::Delete(source, thing),
            _ => Step::Recreate(source, thing, self.say(thing)),
        }
    }

    fn kind(&self) -> Kind {
        self.one_of(&[Kind::Route, Kind::Service, Kind::Slice, Kind::Gateway, Kind::Grant, Kind::Secret])
    }

    fn trouble(&mut self) -> Step {
        let source = self.source();
        match self.below(100) {
            0..8 => Step::Disconnect(source),
            8..14 => Step::Compact(source),
            14..18 => Step::Forbid(source, self.kind(), true),
            18..20 => Step::Forbid(source, self.kind(), false),
            // East's anchors stay.
            20..23 => Step::RemoveType(1, self.kind()),
            23..26 => Step::AddType(1, self.kind()),
            26..29 => Step::Past(source),
            29..31 => Step::Present(source),
            31..57 => Step::Fault(self.fault()),
            57..59 => Step::Heal,
            59..68 => self.harm(Step::Kill),
            68..72 => self.harm(Step::Restart),
            72..75 => self.harm(Step::Pause),
            75..77 => Step::Resume(self.victim()),
            77..79 => Step::ClockJump(Duration::from_secs(self.one_of(&[1, 3_600, 86_400 * 400]))),
            79..86 => Step::Proxy(self.below(PROXIES.len()), self.mood()),
            86..89 => Step::Rejects(self.below(PROXIES.len()), self.chance(70)),
            89..95 => Step::Cut(self.below(PROXIES.len())),
            95 => Step::CutAll,
            96 => Step::FullDisk(self.chance(60)),
            97 => Step::PowerLoss(self.rng.below(1_000)),
            _ => Step::Crash,
        }
    }

    fn mood(&self) -> Mood {
        match self.below(6) {
            0 => Mood::Stalled,
            1 => Mood::Away,
            2 | 3 => Mood::Slow(Duration::from_millis(self.one_of(&[5, 200, 2_000]))),
            _ => Mood::Prompt,
        }
    }

    fn harm(&mut self, order: impl Fn(String) -> Step) -> Step {
        let victim = self.victim();
        let core = victim == "gateway" || victim.starts_with("stores/");
        if core && self.core_harm == 0 {
            return Step::Disconnect(0);
        }
        self.core_harm -= u32::from(core);
        order(victim)
    }

    fn victim(&self) -> String {
        let (source, kind) = (SOURCES[self.source()], self.kind());
        let path = kind.resource_type().plural_and_group();
        match self.below(12) {
            0..4 => format!("sources/{source}/{path}"),
            4 | 5 => format!("stores/{source}/{path}"),
            6 | 7 => "gateway".to_owned(),
            8 | 9 => "xds".to_owned(),
            10 => self.one_of(&["status", "json"]).to_owned(),
            _ => self.one_of(&["xds-server", "admin", "gate"]).to_owned(),
        }
    }

    fn fault(&mut self) -> FaultRule {
        let (source, path) = (SOURCES[self.source()], self.kind().resource_type().plural_and_group());
        let delay = Fault::Delay(Duration::from_millis(self.one_of(&[1, 20, 300, 3_000])));
        let (error, panic) = (Fault::Error("injected".to_owned()), Fault::Panic("injected".to_owned()));
        let any = [
            delay.clone(),
            delay.clone(),
            Fault::Drop,
            Fault::Corrupt,
            Fault::Duplicate,
            Fault::Reorder,
            Fault::Stall,
            error.clone(),
            panic.clone(),
        ];
        let late = [delay.clone(), Fault::Drop, Fault::Duplicate, Fault::Reorder];
        let proxy = self.below(PROXIES.len());
        let (place, fault) = match self.below(18) {
            0..5 => (format!("source/{source}/{path}/event"), self.one_of(&any)),
            5..7 => ("source/*/event".to_owned(), self.one_of(&[delay.clone(), Fault::Drop, Fault::Reorder])),
            7 => (
                format!("source/{source}/{path}/open"),
                self.one_of(&[delay.clone(), Fault::Drop, panic, Fault::Stall]),
            ),
            8 | 9 => ("port/*/send".to_owned(), self.one_of(&late)),
            10 => (format!("port/store/{source}/{path}/receive"), panic),
            11 => ("port/*/receive".to_owned(), panic),
            12 => (
                "publish/xds".to_owned(),
                self.one_of(&[delay, Fault::Drop, error, panic, Fault::Stall, Fault::Duplicate]),
            ),
            13 if self.chance(30) => ("disk/write".to_owned(), self.one_of(&[delay, Fault::Drop, Fault::Stall])),
            13 => (format!("publish/{}", self.one_of(&["json", "status"])), self.one_of(&[delay, Fault::Drop, panic])),
            14 => ("correlate/*".to_owned(), self.one_of(&[error, panic])),
            15 => (format!("wire/{proxy}/up"), self.one_of(&wire(&delay))),
            _ => (format!("wire/{proxy}/down"), self.one_of(&wire(&delay))),
        };
        // What ends a core actor is done a few times at most.
        let harmful = place.contains("receive");
        let times = if harmful { 1 } else { self.one_of(&[1, 2, 10]) };
        FaultRule { times: Some(times), ..FaultRule::sometimes(&place, fault, self.one_of(&[1.0, 0.4, 0.1])) }
    }
}

fn wire(delay: &Fault) -> [Fault; 5] {
    // Longer delays than what a proxy's routes wait for its clusters would be told as what they are.
    let delay = if *delay == Fault::Delay(Duration::from_secs(3)) { Fault::Reorder } else { delay.clone() };
    [delay, Fault::Drop, Fault::Corrupt, Fault::Stall, Fault::Duplicate]
}

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan<Step> {
    let mut dice = Dice { rng: SeededRng::new(seed), n: 0, core_harm: 0 };
    let mut steps = Vec::new();
    // What is there before anything runs.
    for thing in ROUTES[..5].iter().chain(&SERVICES).chain(&SLICES).chain(&GATEWAYS).chain(&GRANTS).chain(&SECRETS) {
        if dice.chance(60) {
            dice.n += 7;
            steps.push(Step::Put(0, *thing, Say::Good(dice.n)));
        }
        if dice.chance(20) {
            dice.n += 7;
            steps.push(Step::Put(1, *thing, Say::Good(dice.n)));
        }
    }
    if dice.chance(50) {
        let delay = Fault::Delay(Duration::from_millis(dice.one_of(&[5, 500, 8_000])));
        let fault = dice.one_of(&[delay.clone(), delay, Fault::Drop, Fault::Panic("injected".to_owned())]);
        let rule = FaultRule::sometimes("source/*/event", fault, dice.one_of(&[0.5, 0.2]));
        steps.push(Step::Fault(FaultRule { times: Some(8), ..rule }));
    }
    for _ in 0..2 {
        dice.core_harm = 3;
        for _ in 0..8 + dice.below(14) {
            steps.push(if dice.chance(55) { dice.change() } else { dice.trouble() });
            if dice.chance(60) {
                steps.push(Step::Wait(Duration::from_millis(dice.one_of(&[0, 1, 10, 100, 1_000, 7_000]))));
            }
        }
        steps.push(Step::Check);
    }
    Plan::new(seed, steps)
}
