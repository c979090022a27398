//! What happens to an engine in one run: operations on the sources, faults, and orders, decided by a seed alone.

use std::time::Duration;

use tidegate_actors::env::{Fault, Rng, SeededRng};
use tidegate_actors::testing::FaultRule;

use super::world::{KINDS, Kind, PANICS_IN_FUNCTION, PANICS_IN_PARSE, REFUSED_BY_FUNCTION, REFUSED_BY_PARSE, Spec};

pub const SOURCES: [&str; 2] = ["east", "west"];
pub const HOSTS: [&str; 4] = ["h0", "h1", "h2", "h3"];
/// There from the start and never harmed.
pub const ANCHOR: &str = "anchor";
const ROUTES: [&str; 6] = ["r1", "r2", "r3", "r4", "r5", "r6"];
const BACKENDS: [&str; 3] = ["b1", "b2", "b3"];
const GRANTS: [&str; 3] = ["g1", "g2", "g3"];

/// One type of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub source: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Step {
    Apply(Place, &'static str, Spec),
    /// A change that no view can see.
    Noise(Place, &'static str),
    Delete(Place, &'static str),
    Recreate(Place, &'static str, Spec),
    /// Many changes of one object at once.
    Burst(Place, &'static str, Vec<Spec>),
    RemoveType(Place),
    AddType(Place),
    Forbid(Place, bool),
    Disconnect(usize),
    Compact(usize),
    Fault(FaultRule),
    HealFaults,
    Kill(String),
    Restart(String),
    Pause(String),
    Resume(String),
    AddHandler(Place),
    Unregister(Place),
    Register(Place),
}

/// A whole run.
pub struct Schedule {
    pub sources: usize,
    /// No faults and no orders: each change must arrive at once.
    pub calm: bool,
    pub absent_at_start: Vec<Place>,
    pub forbidden_at_start: Vec<Place>,
    /// In force before anything runs.
    pub faults_at_start: Vec<FaultRule>,
    /// Each with the time that goes by after it.
    pub steps: Vec<(Step, Duration)>,
}

struct Dice {
    rng: SeededRng,
    sources: usize,
    n: u64,
    /// How often stores may still be harmed: one that is harmed too often ends the process, as it should.
    store_harm: u32,
    paused: Vec<String>,
    unregistered: Vec<Place>,
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

    fn place(&self) -> Place {
        // Routes are what most things depend on.
        let kind = self.one_of(&[Kind::Route, Kind::Route, Kind::Route, Kind::Backend, Kind::Grant]);
        Place { source: self.below(self.sources), kind }
    }

    fn name(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Route => self.one_of(&ROUTES),
            Kind::Backend => self.one_of(&BACKENDS),
            Kind::Grant => self.one_of(&GRANTS),
        }
    }

    fn spec(&mut self) -> Spec {
        self.n += 1;
        let backends = ["anchor", "b1", "b2", "b3"];
        Spec {
            n: self.n,
            host: self.one_of(&HOSTS).to_owned(),
            backend: self.one_of(&backends).to_owned(),
            rank: self.rng.below(8),
        }
    }

    fn poison(&mut self, kind: Kind) -> Spec {
        let ranks = [REFUSED_BY_PARSE, PANICS_IN_PARSE, PANICS_IN_FUNCTION, REFUSED_BY_FUNCTION];
        let rank = if kind == Kind::Route { self.one_of(&ranks) } else { self.one_of(&ranks[..2]) };
        Spec { rank, ..self.spec() }
    }

    fn change(&mut self) -> Step {
        let place = self.place();
        let name = self.name(place.kind);
        match self.below(100) {
            0..50 => Step::Apply(place, name, self.spec()),
            50..57 => Step::Noise(place, name),
            57..73 => Step::Delete(place, name),
            73..80 => Step::Recreate(place, name, self.spec()),
            80..82 => Step::Recreate(place, name, self.poison(place.kind)),
            82..93 => Step::Apply(place, name, self.poison(place.kind)),
            _ => Step::Burst(place, name, (0..20 + self.below(60)).map(|_| self.spec()).collect()),
        }
    }

    fn trouble(&mut self) -> Step {
        let place = self.place();
        let of_source = self.below(self.sources);
        // East's routes and backends stay, so that what they give must be there in every state.
        let fragile = Place { source: self.sources - 1, kind: self.one_of(&KINDS) };
        let fragile = if fragile.source == 0 { Place { source: 0, kind: Kind::Grant } } else { fragile };
        match self.below(100) {
            0..4 => Step::RemoveType(fragile),
            4..10 => Step::AddType(fragile),
            10..15 => Step::Forbid(place, true),
            15..22 => Step::Forbid(place, false),
            22..30 => Step::Disconnect(of_source),
            30..38 => Step::Compact(of_source),
            38..66 => Step::Fault(self.fault()),
            66..69 => Step::HealFaults,
            69..83 => Step::Kill(self.victim()),
            83..88 => Step::Restart(self.victim()),
            88..92 => self.pause(),
            92..94 => Step::AddHandler(place),
            _ => self.registration(fragile),
        }
    }

    fn victim(&mut self) -> String {
        let place = self.place();
        let (source, path) = (SOURCES[place.source], place.kind.path());
        match self.below(12) {
            0..3 => format!("sources/{source}/{path}"),
            3..5 if self.store_harm > 0 => {
                self.store_harm -= 1;
                format!("stores/{source}/{path}")
            }
            5 if self.chance(50) => format!("handlers/{source}:{path}:h"),
            5 => format!("handlers/{}:{}:slow", SOURCES[0], Kind::Backend.path()),
            6..8 => "main".to_owned(),
            8 => self.one_of(&["slow", "flaky"]).to_owned(),
            _ => "world".to_owned(),
        }
    }

    fn pause(&mut self) -> Step {
        if let Some(path) = self.paused.pop() {
            return Step::Resume(path);
        }
        let path = self.victim();
        self.paused.push(path.clone());
        Step::Pause(path)
    }

    fn registration(&mut self, place: Place) -> Step {
        if let Some(place) = self.unregistered.pop() {
            return Step::Register(place);
        }
        self.unregistered.push(place);
        Step::Unregister(place)
    }

    fn fault(&mut self) -> FaultRule {
        let place = self.place();
        let (source, path) = (SOURCES[place.source], place.kind.path());
        let delay = Fault::Delay(Duration::from_millis(self.one_of(&[1, 20, 300, 4_000])));
        let (duplicate, dropped, stall) = (Fault::Duplicate, Fault::Drop, Fault::Stall);
        let (error, panic) = (Fault::Error("injected".to_owned()), Fault::Panic("injected".to_owned()));
        let broken = [delay.clone(), dropped.clone(), error.clone(), panic.clone()];
        let late = [delay.clone(), dropped.clone(), duplicate.clone()];
        let (at, fault) = match self.below(16) {
            0..4 => {
                let all = [&broken[..], &[duplicate, stall]].concat();
                (format!("source/{source}/{path}/event"), self.one_of(&all))
            }
            4..6 => {
                let all = [&broken[..], &[stall]].concat();
                (format!("source/{source}/{path}/open"), self.one_of(&all))
            }
            6 => ("port/store/*/send".to_owned(), self.one_of(&late)),
            7 if self.store_harm > 1 => {
                self.store_harm -= 2;
                // The second look at a batch is the one after it was applied.
                let rule = FaultRule::sometimes(&format!("port/store/{source}/{path}/receive"), panic, 0.5);
                return FaultRule { times: Some(2), ..rule };
            }
            8 => ("port/world/*/send".to_owned(), self.one_of(&late)),
            9 => ("port/world/*/receive".to_owned(), panic),
            10 => ("port/handler/*/send".to_owned(), self.one_of(&late)),
            11 => ("port/handler/*/receive".to_owned(), panic),
            12 => (format!("correlate/{}", self.one_of(&["fragile", "lists"])), self.one_of(&[error, panic])),
            13 => ("publish/main".to_owned(), self.one_of(&broken)),
            _ => {
                let all = [&broken[..], &[duplicate, stall]].concat();
                (format!("publish/{}", self.one_of(&["flaky", "slow"])), self.one_of(&all))
            }
        };
        let times = Some(if fault == Fault::Stall { 1 } else { 1 + self.rng.below(5) as u32 });
        FaultRule { times, ..FaultRule::sometimes(&at, fault, self.one_of(&[1.0, 0.4, 0.1])) }
    }

    fn wait(&self) -> Duration {
        let millis = [0, 0, 0, 0, 1, 1, 30, 30, 150, 700, 700, 3_000, 12_000, 45_000];
        Duration::from_millis(self.one_of(&millis))
    }
}

impl Schedule {
    pub fn of(seed: u64) -> Self {
        let rng = SeededRng::new(seed ^ 0x1a25);
        let sources = 1 + rng.below(2) as usize;
        let calm = rng.below(5) == 0;
        let mut dice = Dice { rng, sources, n: 1_000, store_harm: 4, paused: Vec::new(), unregistered: Vec::new() };
        let mut schedule = Self {
            sources,
            calm,
            absent_at_start: Vec::new(),
            forbidden_at_start: Vec::new(),
            faults_at_start: Vec::new(),
            steps: Vec::new(),
        };
        for source in 0..sources {
            for kind in KINDS {
                let place = Place { source, kind };
                if !calm && dice.chance(8) {
                    schedule.forbidden_at_start.push(place);
                } else if !calm && dice.chance(10) && (source > 0 || kind == Kind::Grant) {
                    schedule.absent_at_start.push(place);
                }
            }
        }
        if !calm && dice.chance(50) {
            let delay = Fault::Delay(Duration::from_millis(dice.one_of(&[5, 500, 8_000])));
            let fault = dice.one_of(&[delay.clone(), delay, Fault::Drop, Fault::Panic("injected".to_owned())]);
            let rule = FaultRule::sometimes("source/*/event", fault, dice.one_of(&[0.5, 0.2]));
            schedule.faults_at_start.push(FaultRule { times: Some(8), ..rule });
        }
        for _ in 0..20 + dice.below(30) {
            let step = if calm || dice.chance(60) { dice.change() } else { dice.trouble() };
            let wait = if calm { Duration::from_millis(50) } else { dice.wait() };
            schedule.steps.push((step, wait));
        }
        schedule
    }

    /// For people: one line a step.
    pub fn print(&self) {
        eprintln!("{} sources, calm: {}", self.sources, self.calm);
        eprintln!("absent at the start: {:?}, forbidden: {:?}", self.absent_at_start, self.forbidden_at_start);
        eprintln!("faults at the start: {:?}", self.faults_at_start);
        for (at, (step, wait)) in self.steps.iter().enumerate() {
            eprintln!("{at:>3} {step:?}, then {wait:?}");
        }
    }
}

/// The most keys that a type can have.
pub fn most_keys(kind: Kind) -> usize {
    1 + match kind {
        Kind::Route => ROUTES.len(),
        Kind::Backend => BACKENDS.len(),
        Kind::Grant => GRANTS.len(),
    }
}
