//! The simulated world: a whole Tidegate as its own assembly makes it, over sources, a disk, a network and a clock in
//! memory; and proxies before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::app::{App, Hooks};
use tidegate::builder::{SourceParts, Tidegate};
use tidegate::config::{Config, Section, SectionType, SourceConfig, Token};
use tidegate_actors::env::{Env, Fault, FaultPlan};
use tidegate_actors::source::Source as _;
use tidegate_actors::supervisor::State;
use tidegate_actors::testing::{self, MemoryDisk, MemoryNet, MemorySource, Trace, Violation, VirtualClock};
use tokio::task::JoinHandle;

use super::SOURCES;
use super::front::Front;
use super::objects::{ANCHORS, Kind, Say, Thing};
use super::proxy::{Mood, Proxy};
use super::steps::{PROXIES, Step};

/// Where a fault may make an actor hang for ever, and which.
const STALLING: [(&str, &str); 4] =
    [("publish/xds", "xds"), ("publish/json", "json"), ("publish/status", "status"), ("disk/write", "snapshot")];

/// The config section of a memory source.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Memory {
    name: String,
}

impl SectionType for Memory {}

/// See the module.
pub struct World {
    pub env: Env,
    pub faults: FaultPlan,
    pub trace: Trace,
    clock: Arc<VirtualClock>,
    disk: MemoryDisk,
    pub sources: [MemorySource; 2],
    tidegate: Tidegate,
    pub config: Config,
    pub app: Option<App>,
    front: Front,
    pub proxies: Vec<Proxy>,
    tasks: Vec<JoinHandle<()>>,
    /// Poison, and what proxies may reject, by where it is: to be mended before a comparison.
    ailing: BTreeMap<(usize, Thing), Say>,
    paused: Vec<String>,
    pub broken: Vec<Violation>,
    mended: u64,
}

impl World {
    pub fn new(seed: u64, trace: &Trace) -> Self {
        let (env, faults) = testing::env(seed);
        let clock = Arc::new(VirtualClock::new());
        let disk = MemoryDisk::default();
        let net = Arc::new(MemoryNet::default());
        let env = Env { net, clock: clock.clone(), disk: Arc::new(disk.clone()), ..env };
        let sources = SOURCES.map(MemorySource::new);
        let of_factory = sources.clone();
        let tidegate = Tidegate::builder().source::<Memory>("memory", move |section, _| {
            let found = of_factory.iter().find(|source| **source.name() == *section.name);
            found.cloned().map(SourceParts::new).ok_or_else(|| "nobody made it".into())
        });
        let mut config = Config { data_dir: "/data".into(), ..Config::default() };
        config.sources = SOURCES.map(mk_source).to_vec();
        config.admin.token = Some(Token::new("a-token-of-the-simulation"));
        let (trace, front) = (trace.clone(), Front::default());
        let proxies = PROXIES.iter().enumerate();
        let proxies =
            proxies.map(|(number, (variant, gateways))| Proxy::new(number, *variant, gateways, &env, &trace)).collect();
        let world = Self {
            env,
            faults,
            trace,
            clock,
            disk,
            sources,
            tidegate,
            config,
            app: None,
            front,
            proxies,
            tasks: Vec::new(),
            ailing: BTreeMap::new(),
            paused: Vec::new(),
            broken: Vec::new(),
            mended: 1_000_000,
        };
        for source in &world.sources {
            for kind in tidegate::resource::kinds() {
                source.add_type(&kind.resource_type);
            }
        }
        for anchor in ANCHORS {
            anchor.put(&world.sources[0], Say::Anchor);
        }
        world.sources.iter().for_each(MemorySource::mark);
        world
    }

    /// The tree as it runs.
    pub fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub async fn start(&mut self) {
        let app = App::start(&self.tidegate, &self.config, &Hooks::default(), self.env.clone()).await.unwrap();
        self.front.open(&app);
        self.app = Some(app);
        if self.tasks.is_empty() {
            let run = |proxy: &Proxy| tokio::spawn(proxy.clone().run(self.front.clone()));
            self.tasks = self.proxies.iter().map(run).collect();
        }
    }

    /// The process is gone. What it held in memory is lost; proxies and disk stay as they are.
    async fn die(&mut self) {
        self.front.die();
        if let Some(app) = self.app.take() {
            app.supervisor.shutdown(Duration::ZERO).await;
        }
    }

    async fn crash(&mut self) {
        self.die().await;
        self.paused.clear();
        self.start().await;
    }

    /// Takes one step.
    pub async fn take(&mut self, step: &Step) {
        if self.app.is_none() && !matches!(step, Step::Put(..) | Step::Fault(_)) {
            self.start().await;
        }
        match step {
            Step::Put(source, thing, says) => self.put(*source, *thing, *says),
            Step::Delete(source, thing) => self.delete(*source, *thing),
            Step::Recreate(source, thing, says) => {
                self.delete(*source, *thing);
                self.put(*source, *thing, *says);
            }
            Step::Wait(time) => self.env.clock.sleep(*time).await,
            Step::Disconnect(source) => self.sources[*source].disconnect(),
            Step::Compact(source) => self.sources[*source].compact(),
            Step::Forbid(source, kind, forbidden) => {
                // To forbid a type that is not there would make it.
                if self.has_type(*source, *kind) {
                    self.sources[*source].set_forbidden(&kind.resource_type(), *forbidden);
                }
            }
            Step::RemoveType(source, kind) => {
                self.touch_all(*source, *kind);
                self.sources[*source].remove_type(&kind.resource_type());
                self.ailing.retain(|(of, thing), _| of != source || thing.kind != *kind);
            }
            Step::AddType(source, kind) => self.sources[*source].add_type(&kind.resource_type()),
            Step::Past(source) => {
                self.sources[*source].serve_past();
                self.sources[*source].disconnect();
            }
            Step::Present(source) => self.sources[*source].serve_present(),
            Step::Fault(rule) => {
                if rule.place.starts_with("correlate/") {
                    self.proxies.iter().for_each(|proxy| proxy.watcher.lock().harm());
                }
                self.faults.add(rule.clone());
            }
            Step::Heal => self.faults.heal(),
            Step::Kill(path) => drop(self.app().supervisor.get(path).inspect(|actor| actor.kill())),
            // What is not there, or ends just now, cannot be ordered about.
            Step::Restart(path) => drop(self.app().supervisor.restart(path).await),
            Step::Pause(path) => {
                if self.app().supervisor.pause(path).await.is_ok() {
                    self.paused.push(path.clone());
                }
            }
            Step::Resume(path) => drop(self.app().supervisor.resume(path).await),
            Step::ClockJump(by) => self.clock.jump(*by),
            Step::Proxy(number, mood) => self.proxies[*number].set_mood(*mood),
            Step::Rejects(number, rejects) => self.proxies[*number].set_rejects(*rejects),
            Step::Cut(number) => self.proxies[*number].cut(),
            Step::CutAll => self.front.cut_all(),
            Step::Crash => self.crash().await,
            Step::PowerLoss(dice) => {
                self.die().await;
                // What was not yet safe on the disk is there in part, or not at all.
                self.disk = self.disk.after_power_loss(*dice);
                self.env.disk = Arc::new(self.disk.clone());
                self.crash().await;
            }
            Step::FullDisk(full) => self.disk.set_full(*full),
            Step::Check => self.check().await,
        }
        self.look().await;
    }

    fn has_type(&self, source: usize, kind: Kind) -> bool {
        // A type is there unless it was removed, and then it has no objects and is added again before a comparison.
        source == 0 || !self.sources[source].objects(&kind.resource_type()).is_empty()
    }

    fn put(&mut self, source: usize, thing: Thing, says: Say) {
        self.touch(source, thing);
        thing.put(&self.sources[source], says);
        match says {
            Say::Good(_) | Say::Anchor => drop(self.ailing.remove(&(source, thing))),
            Say::Poison(_) | Say::Disliked(_) => drop(self.ailing.insert((source, thing), says)),
        }
    }

    fn delete(&mut self, source: usize, thing: Thing) {
        self.touch(source, thing);
        thing.delete(&self.sources[source]);
        self.ailing.remove(&(source, thing));
    }

    fn touch(&self, source: usize, thing: Thing) {
        for cause in thing.causes(source) {
            self.proxies.iter().for_each(|proxy| proxy.watcher.lock().touch(&cause));
        }
    }

    fn touch_all(&self, source: usize, kind: Kind) {
        let all = [&super::objects::ROUTES[..], &super::objects::SERVICES, &super::objects::SLICES];
        let more = [&super::objects::GATEWAYS[..], &super::objects::GRANTS, &super::objects::SECRETS];
        for thing in all.into_iter().chain(more).flatten().filter(|thing| thing.kind == kind) {
            self.touch(source, *thing);
        }
    }

    /// After each step: whether the process has ended, as a core actor that is harmed too often makes it.
    async fn look(&mut self) {
        let Some(app) = &self.app else { return };
        if app.supervisor.get("").is_none() {
            self.trace.note("the process ended itself");
            self.crash().await;
        }
    }

    /// Everything is mended, and after a while all must be as if nothing had ever happened.
    async fn check(&mut self) {
        self.trace.note("faults end");
        self.faults.heal();
        self.disk.set_full(false);
        for source in &self.sources {
            source.serve_present();
            for kind in tidegate::resource::kinds() {
                source.add_type(&kind.resource_type);
                source.set_forbidden(&kind.resource_type, false);
            }
        }
        for path in std::mem::take(&mut self.paused) {
            drop(self.app().supervisor.resume(&path).await);
        }
        for proxy in &self.proxies {
            proxy.set_mood(Mood::Prompt);
            proxy.set_rejects(false);
        }
        self.mend();
        // What hangs for ever has to be restarted by somebody, and what an injected fault keeps in quarantine is tried
        // again in the next life of the correlation.
        let struck = self.faults.struck();
        let stalled = |of: &str| struck.iter().any(|(place, fault)| place == of && *fault == Fault::Stall);
        for (_, actor) in STALLING.into_iter().filter(|(place, _)| stalled(place)) {
            drop(self.app().supervisor.restart(actor).await);
        }
        if struck.iter().any(|(place, _)| place.starts_with("correlate/")) {
            drop(self.app().supervisor.restart("gateway").await);
        }
        self.settle().await;
        if self.app().supervisor.get("").is_none() {
            self.crash().await;
            self.settle().await;
        }
        self.trace.note("quiet");
        super::check::all(self);
        for proxy in &self.proxies {
            proxy.watcher.lock().settle();
        }
        self.sources.iter().for_each(MemorySource::mark);
    }

    async fn settle(&self) {
        self.env.clock.sleep(Duration::from_secs(700)).await;
    }

    /// What cannot be read but once could is served as it was; a computation from scratch knows nothing of that. What
    /// was never good stays.
    fn mend(&mut self) {
        for ((source, thing), _) in std::mem::take(&mut self.ailing) {
            if thing.name == "bad" || !thing.is_in(&self.sources[source]) {
                continue;
            }
            self.mended += 1;
            self.put(source, thing, Say::Good(self.mended));
        }
    }

    /// The run is over.
    pub async fn end(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.die().await;
    }

    /// Actors that should run and do not.
    pub fn idle_actors(&self) -> Vec<String> {
        fn walk(node: &tidegate_actors::supervisor::TreeStatus, into: &mut Vec<String>) {
            if !matches!(node.state, State::Running | State::Stopped) {
                into.push(format!("{} is {}: {:?}", node.path, node.state.name(), node.reason));
            }
            node.children.iter().for_each(|child| walk(child, into));
        }
        let mut idle = Vec::new();
        walk(&self.app().supervisor.tree(), &mut idle);
        idle
    }
}

fn mk_source(name: &str) -> SourceConfig {
    SourceConfig {
        name: name.to_owned(),
        kind: "memory".to_owned(),
        section: Section::new(Memory { name: name.to_owned() }),
    }
}
