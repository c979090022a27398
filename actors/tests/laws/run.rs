//! One run: an engine, a schedule, and what the suite must remember of both to judge the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_actors::correlation::Correlation;
use tidegate_actors::env::Fault;
use tidegate_actors::handler::HandlerOptions;
use tidegate_actors::informer::{Informer, RegisterOptions};
use tidegate_actors::object::Object;
use tidegate_actors::testing::{Keep, MemorySource, Mood, Probe, Recorder, Rig, Trace};
use tokio::time::Instant;

use super::check;
use super::schedule::{ANCHOR, Place, SOURCES, Schedule, Step};
use super::witness::{Depths, Overheard, Told};
use super::world::{self, Handles, KINDS, Kind, Spec, spec_of, version_of};

/// A law that did not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub law: &'static str,
    pub how: String,
}

/// What became of a run.
pub struct Outcome {
    pub broken: Vec<Broken>,
    pub trace: Vec<String>,
}

/// A handler and what it handles.
pub struct Handled {
    pub place: Place,
    pub recorder: Recorder,
    pub since: Instant,
    /// Until its type was unregistered.
    pub live: bool,
}

/// See the module.
pub struct Run {
    pub rig: Rig,
    pub schedule: Schedule,
    pub trace: Trace,
    pub depths: Depths,
    pub sources: Vec<MemorySource>,
    pub told: Arc<Mutex<Told>>,
    pub correlation: Correlation<Handles>,
    pub main: Probe,
    /// All publishers, `main` among them, with their names.
    pub probes: Vec<(&'static str, Probe)>,
    pub handlers: Vec<Handled>,
    /// Every version that a view could tell from others, as [`version_of`] spells it.
    pub versions: BTreeMap<String, Arc<Object>>,
    /// Those that no view can be made of.
    pub unreadable: BTreeSet<String>,
    /// When an instance (by uid) came.
    pub created: BTreeMap<String, Instant>,
    /// When it could first be missing: deleted, its type removed or no longer watched.
    pub gone: BTreeMap<String, Instant>,
    /// When it could first not be read.
    pub bad: BTreeMap<String, Instant>,
    /// When a type was first complete or known to be absent.
    pub settled: Arc<Mutex<BTreeMap<Place, Instant>>>,
    pub unregistered: BTreeSet<Place>,
    pub ever_unregistered: BTreeSet<Place>,
    pub paused: BTreeSet<String>,
    pub most_tasks: usize,
    pub broken: Vec<Broken>,
    n: u64,
}

/// Runs a seed. `print` says what happens as it happens.
pub fn run(seed: u64, print: bool) -> Outcome {
    let schedule = Schedule::of(seed);
    if print {
        schedule.print();
    }
    let (trace, depths) = (Trace::new(if print { Keep::Print } else { Keep::Lines }), Depths::default());
    let (of_trace, of_depths) = (trace.clone(), depths.clone());
    let whole = move || {
        Rig::run(seed, async |rig| {
            let mut run = Run::start(rig, schedule, of_trace, of_depths).await;
            run.play().await;
            run.finish().await;
            Outcome { trace: run.trace.lines(), broken: run.broken }
        })
    };
    metrics::with_local_recorder(&depths, || tracing::subscriber::with_default(trace, whole))
}

impl Run {
    async fn start(rig: Rig, schedule: Schedule, trace: Trace, depths: Depths) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let mut sources = Vec::new();
        for name in &SOURCES[..schedule.sources] {
            let source = MemorySource::new(name);
            rig.factory.add_source(Arc::new(Overheard { source: source.clone(), told: told.clone() })).unwrap();
            sources.push(source);
        }
        let correlation = Correlation::over_informers("world", &rig.env, &rig.problems, world::build);
        let probe = || world::taps(correlation.handles()).build();
        let probes = vec![("main", probe()), ("slow", probe()), ("flaky", probe()), ("stuck", probe())];
        let mut run = Self {
            main: probes[0].1.clone(),
            rig,
            schedule,
            trace,
            depths,
            sources,
            told,
            correlation,
            probes,
            handlers: Vec::new(),
            versions: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            created: BTreeMap::new(),
            gone: BTreeMap::new(),
            bad: BTreeMap::new(),
            settled: Arc::default(),
            unregistered: BTreeSet::new(),
            ever_unregistered: BTreeSet::new(),
            paused: BTreeSet::new(),
            most_tasks: 0,
            broken: Vec::new(),
            n: 100_000,
        };
        run.populate();
        run.set_up().await;
        run
    }

    fn populate(&mut self) {
        for place in self.places() {
            if !self.schedule.absent_at_start.contains(&place) {
                self.sources[place.source].add_type(&place.kind.resource_type());
            }
            if self.schedule.forbidden_at_start.contains(&place) {
                self.sources[place.source].set_forbidden(&place.kind.resource_type(), true);
            }
            if place.source == 0 && place.kind != Kind::Grant {
                let spec = Spec { n: 1, host: "h0".into(), backend: ANCHOR.into(), rank: 2 };
                self.apply(place, ANCHOR, &spec);
            }
        }
    }

    async fn set_up(&mut self) {
        for rule in &self.schedule.faults_at_start {
            self.rig.faults.add(rule.clone());
        }
        for place in self.places() {
            self.register(place).await;
        }
        let rig = &self.rig;
        rig.supervisor.add(self.correlation.spec("world")).await.unwrap();
        for (name, probe) in &self.probes {
            rig.publish(name, &self.correlation, probe).await.unwrap();
        }
        self.probe("slow").set_mood(Mood::Slow(Duration::from_secs(2)));
        self.probe("stuck").set_mood(Mood::Stuck);
        let stuck = self.handle(Place { source: 0, kind: Kind::Route }, "stuck").await;
        stuck.set_mood(Mood::Stuck);
        let slow = self.handle(Place { source: 0, kind: Kind::Backend }, "slow").await;
        slow.set_mood(Mood::Slow(Duration::from_millis(500)));
        self.rig.factory.start().await.unwrap();
        if self.schedule.calm {
            self.rig.advance(Duration::from_secs(1)).await;
        }
    }

    pub fn probe(&self, name: &str) -> &Probe {
        &self.probes.iter().find(|(of, _)| *of == name).unwrap().1
    }

    /// Every type of every source.
    pub fn places(&self) -> Vec<Place> {
        let sources = 0..self.schedule.sources;
        sources.flat_map(|source| KINDS.map(|kind| Place { source, kind })).collect()
    }

    pub fn informer(&self, place: Place) -> Option<Informer> {
        self.rig.factory.get(SOURCES[place.source], &place.kind.resource_type())
    }

    /// What the source holds of a type.
    pub fn truth(&self, place: Place) -> Vec<Arc<Object>> {
        self.sources[place.source].objects(&place.kind.resource_type()).into_values().collect()
    }

    async fn register(&mut self, place: Place) {
        let of = place.kind.resource_type();
        let registered = self.rig.factory.register(SOURCES[place.source], of, RegisterOptions::default()).await;
        let informer = registered.unwrap();
        self.correlation.add_informer(&informer);
        let (settled, lister) = (self.settled.clone(), informer.lister().clone());
        tokio::spawn(async move {
            lister.settled().await;
            settled.lock().entry(place).or_insert_with(Instant::now);
        });
        self.handle(place, "h").await;
    }

    async fn handle(&mut self, place: Place, name: &str) -> Recorder {
        let recorder = Recorder::default();
        let Some(informer) = self.informer(place) else { return recorder };
        let since = Instant::now();
        let added = informer.add_handler(name, Arc::new(recorder.clone()), HandlerOptions::default()).await;
        if added.is_ok() {
            self.handlers.push(Handled { place, recorder: recorder.clone(), since, live: true });
        }
        recorder
    }

    async fn play(&mut self) {
        for (at, (step, wait)) in self.schedule.steps.clone().into_iter().enumerate() {
            self.trace.note(&format!("step {at}: {step:?}"));
            self.take(step).await;
            self.rig.advance(wait).await;
            self.most_tasks = self.most_tasks.max(tokio::runtime::Handle::current().metrics().num_alive_tasks());
            if self.schedule.calm {
                check::prompt(self, at);
            }
        }
    }

    async fn take(&mut self, step: Step) {
        let supervisor = self.rig.supervisor.clone();
        match step {
            Step::Apply(place, name, spec) => self.apply(place, name, &spec),
            Step::Burst(place, name, specs) => specs.iter().for_each(|spec| self.apply(place, name, spec)),
            Step::Noise(place, name) => {
                let held = self.truth(place).into_iter().find(|object| *object.key().name == *name);
                if let Some(spec) = held.map(|object| spec_of(&object)) {
                    self.apply(place, name, &spec);
                }
            }
            Step::Delete(place, name) => self.delete(place, name),
            Step::Recreate(place, name, spec) => {
                self.delete(place, name);
                self.apply(place, name, &spec);
            }
            Step::RemoveType(place) => {
                self.goes(place);
                self.sources[place.source].remove_type(&place.kind.resource_type());
            }
            Step::AddType(place) => self.sources[place.source].add_type(&place.kind.resource_type()),
            Step::Forbid(place, forbidden) => {
                // A type that is not there cannot be forbidden; the tool would make one.
                if forbidden || !self.is_absent(place) {
                    self.sources[place.source].set_forbidden(&place.kind.resource_type(), forbidden);
                }
            }
            Step::Disconnect(source) => self.sources[source].disconnect(),
            Step::Compact(source) => self.sources[source].compact(),
            Step::Fault(rule) => drop(self.rig.faults.add(rule).clone()),
            Step::HealFaults => self.rig.faults.heal(),
            Step::Kill(path) => drop(self.rig.kill(&path)),
            // What is not there, because its type is not registered, cannot be ordered about.
            Step::Restart(path) => drop(supervisor.restart(&path).await),
            Step::Pause(path) => {
                if supervisor.pause(&path).await.is_ok() {
                    self.paused.insert(path);
                }
            }
            Step::Resume(path) => {
                self.paused.remove(&path);
                drop(supervisor.resume(&path).await);
            }
            Step::AddHandler(place) => {
                let name = format!("late{}", self.handlers.len());
                self.handle(place, &name).await;
            }
            Step::Unregister(place) => {
                self.goes(place);
                self.unregistered.insert(place);
                self.ever_unregistered.insert(place);
                for handled in self.handlers.iter_mut().filter(|handled| handled.place == place) {
                    handled.live = false;
                }
                let of = place.kind.resource_type();
                self.rig.factory.unregister(SOURCES[place.source], &of).await.unwrap();
                self.correlation.remove_input(&of, &SOURCES[place.source].into());
            }
            Step::Register(place) => {
                self.unregistered.remove(&place);
                self.register(place).await;
            }
        }
    }

    fn is_absent(&self, place: Place) -> bool {
        self.schedule.absent_at_start.contains(&place) && self.truth(place).is_empty()
    }

    fn apply(&mut self, place: Place, name: &str, spec: &Spec) {
        self.n += 1;
        let (of, noise) = (place.kind.resource_type(), self.n);
        self.sources[place.source].apply(&of, Some("n"), name, &spec.body(noise));
        let held = self.truth(place).into_iter().find(|object| *object.key().name == *name).unwrap();
        let uid = held.uid().unwrap().to_owned();
        self.created.entry(uid.clone()).or_insert_with(Instant::now);
        if spec.is_unreadable() {
            self.bad.entry(uid).or_insert_with(Instant::now);
            self.unreadable.insert(version_of(&held));
        }
        self.versions.insert(version_of(&held), held);
    }

    fn delete(&mut self, place: Place, name: &str) {
        let held = self.truth(place).into_iter().find(|object| *object.key().name == *name);
        if let Some(object) = held {
            self.gone.entry(object.uid().unwrap().to_owned()).or_insert_with(Instant::now);
            self.sources[place.source].delete(&place.kind.resource_type(), Some("n"), name);
        }
    }

    /// From now on all that there is of a type may be missing.
    fn goes(&mut self, place: Place) {
        for object in self.truth(place) {
            self.gone.entry(object.uid().unwrap().to_owned()).or_insert_with(Instant::now);
        }
    }

    /// Faults end, and the laws are checked: first with the poison still there and the stuck still stuck, then
    /// with everything well.
    async fn finish(&mut self) {
        self.trace.note("faults end");
        self.rig.faults.heal();
        for place in self.places() {
            let of = place.kind.resource_type();
            self.sources[place.source].add_type(&of);
            self.sources[place.source].set_forbidden(&of, false);
            if self.unregistered.remove(&place) {
                self.register(place).await;
            }
        }
        for path in std::mem::take(&mut self.paused) {
            drop(self.rig.supervisor.resume(&path).await);
        }
        // A publisher that hangs for ever has to be restarted by somebody.
        let stalled = |name: &str| self.rig.faults.struck().contains(&(format!("publish/{name}"), Fault::Stall));
        for publisher in ["slow", "flaky"].into_iter().filter(|name| stalled(name)) {
            self.rig.supervisor.restart(publisher).await.unwrap();
        }
        self.rig.settle().await;
        self.trace.note("quiet");
        check::with_poison(self);

        for name in ["slow", "stuck"] {
            self.probe(name).set_mood(Mood::Prompt);
        }
        self.handlers.iter().for_each(|handled| handled.recorder.set_mood(Mood::Prompt));
        self.mend();
        self.rig.settle().await;
        self.trace.note("well");
        check::well(self);
    }

    /// Mends poison, and changes what an injected fault keeps in quarantine.
    fn mend(&mut self) {
        let problems = self.rig.problems.list();
        for place in self.places() {
            for object in self.truth(place) {
                let spec = spec_of(&object);
                let named = |of: &str| {
                    problems.iter().any(|(scope, problem)| scope == "correlation/lists" && problem.place.contains(of))
                };
                let object_named = problems
                    .iter()
                    .any(|(_, problem)| problem.object.as_ref().is_some_and(|of| of.key == *object.key()));
                if spec.is_unreadable() || spec.is_explosive() || named(&spec.host) || object_named {
                    self.n += 1;
                    let rank = if spec.rank < 8 { spec.rank } else { 1 };
                    let name = object.key().name.clone();
                    self.apply(place, &name, &Spec { n: self.n, rank, ..spec });
                }
            }
        }
    }
}
