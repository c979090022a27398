//! The laws, judged by what a run remembers. Each says what it found, not what it thinks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_actors::env::Fault;
use tidegate_actors::object::Object;
use tidegate_actors::problem::Serving;
use tidegate_actors::supervisor::{State, TreeStatus};
use tidegate_actors::testing::{Call, ProbeState, ProbeStep};
use tokio::time::Instant;

use super::run::{Broken, Handled, Run};
use super::schedule::{ANCHOR, HOSTS, Place, SOURCES, most_keys};
use super::world::{self, KINDS, Kind, REFUSED_BY_FUNCTION, Spec, spec_of};

const STORES: &str = "1: after faults end, every store equals its source";
const OUTPUTS: &str = "2: after faults end, the outputs equal a computation from scratch";
const GATE: &str = "3: nothing is published before every type has synced or is known to be absent";
const BOUNDED: &str = "4: nothing grows with the event rate, and who is stuck holds back nobody";
const RESTARTS: &str = "5: a restart loses no update, and what is published never goes back";
const POISON: &str = "6: a poison object harms only what is its own, and one that grants fails closed";
const HANDLERS: &str = "7: handlers see a history that is the source's";
const HEALTH: &str = "9: after faults end, every actor runs and no problem stands";

impl Run {
    fn breaks(&mut self, law: &'static str, how: String) {
        self.trace.note(&format!("broken: {law}: {how}"));
        self.broken.push(Broken { law, how });
    }

    fn at(&self, place: Place) -> String {
        format!("{}/{}", SOURCES[place.source], place.kind.path())
    }

    /// What should be published now: of an object that cannot be read, the version that is served.
    fn expected(&mut self) -> BTreeMap<String, String> {
        let mut served: Vec<Arc<Object>> = Vec::new();
        for place in self.places() {
            if self.informer(place).is_none() {
                continue;
            }
            for object in self.truth(place) {
                if !spec_of(&object).is_unreadable() {
                    served.push(object);
                    continue;
                }
                let key = object.key();
                let entry = match place.kind {
                    Kind::Route => self.main.get(&format!("badges/{key:?}")),
                    Kind::Backend => self.main.get(&format!("users/{key:?}")),
                    Kind::Grant => None,
                };
                let Some(text) = entry else { continue };
                match self.versions.get(id(&text)).cloned() {
                    Some(version) if version.uid() == object.uid() => served.push(version),
                    _ => self.breaks(POISON, format!("{key} cannot be read, served is {text}: no version of it")),
                }
            }
        }
        world::from_scratch(&self.rig.env, served.iter())
    }

    /// How `state` differs from what should be published.
    fn difference(&mut self, state: &ProbeState, but: &[&str]) -> Option<String> {
        let expected = self.expected();
        let counts = |entry: &str| !but.iter().any(|prefix| entry.starts_with(prefix));
        let published: BTreeMap<&str, &str> =
            state.iter().map(|(k, v)| (&**k, &**v)).filter(|(k, _)| counts(k)).collect();
        let expected: BTreeMap<&str, &str> =
            expected.iter().map(|(k, v)| (&**k, &**v)).filter(|(k, _)| counts(k)).collect();
        let keys: BTreeSet<&str> = published.keys().chain(expected.keys()).copied().collect();
        let different = keys.into_iter().filter(|key| published.get(key) != expected.get(key));
        let lines: Vec<String> = different
            .map(|key| format!("{key}: published {:?}, from scratch {:?}", published.get(key), expected.get(key)))
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Collections whose content an explosive route or an injected fault leaves open.
    fn left_open(&self) -> Vec<&'static str> {
        let grants =
            self.places().into_iter().filter(|place| place.kind == Kind::Grant && self.informer(*place).is_some());
        let grants = grants.flat_map(|place| self.truth(place)).map(|grant| spec_of(&grant));
        let granted: BTreeSet<String> =
            grants.filter(|grant| !grant.is_unreadable()).map(|grant| grant.backend).collect();
        let fails = |spec: Spec| match spec.rank {
            REFUSED_BY_FUNCTION => !granted.contains(&spec.backend),
            _ => spec.is_explosive(),
        };
        // An explosive version may also be the last good one of a route that cannot be read any more.
        let explosive = |object: &Arc<Object>| {
            let served = self.main.get(&format!("badges/{:?}", object.key()));
            let served = served.and_then(|text| self.versions.get(id(&text)).cloned());
            served.iter().chain([object]).any(|version| fails(spec_of(version)))
        };
        let explosive =
            self.places().into_iter().any(|place| place.kind == Kind::Route && self.truth(place).iter().any(explosive));
        let struck = |of: &str| self.rig.faults.struck().iter().any(|(place, _)| place == of);
        let mut open = Vec::new();
        if explosive || struck("correlate/fragile") {
            open.push("fragile/");
        }
        if struck("correlate/lists") {
            open.push("lists/");
        }
        open
    }
}

/// `uid@n` at the start of an output.
fn id(text: &str) -> &str {
    text.trim_start_matches('"').split(' ').next().unwrap_or_default()
}

fn parts(id: &str) -> (&str, u64) {
    let (uid, n) = id.split_once('@').unwrap_or((id, "0"));
    (uid, n.parse().unwrap_or(0))
}

/// Without faults a change is published at once, whoever else is slow or stuck.
pub fn prompt(run: &mut Run, step: usize) {
    let (state, open) = (run.main.state(), run.left_open());
    if let Some(difference) = run.difference(&state, &open) {
        run.breaks(BOUNDED, format!("50 ms after step {step}: {difference}"));
    }
}

/// With poison still there, and the stuck still stuck.
pub fn with_poison(run: &mut Run) {
    stores(run);
    let open = run.left_open();
    for name in ["main", "slow", "flaky"] {
        let state = run.probe(name).state();
        if let Some(difference) = run.difference(&state, &open) {
            run.breaks(POISON, format!("`{name}`: {difference}"));
        }
    }
    problems(run);
}

/// With everything mended.
pub fn well(run: &mut Run) {
    stores(run);
    for (name, probe) in run.probes.clone() {
        let state = probe.state();
        if let Some(difference) = run.difference(&state, &[]) {
            run.breaks(OUTPUTS, format!("`{name}`: {difference}"));
        }
        for fault in probe.broken_promises() {
            run.breaks(RESTARTS, format!("`{name}`: {fault}"));
        }
        let steps = probe.steps();
        for step in &steps {
            run.trace.note(&format!(
                "{name} took {} full {} at {:?}: {}",
                step.version,
                step.full,
                step.at.elapsed(),
                step.state.len()
            ));
        }
        gate(run, name, &steps);
        never_back(run, name, &steps);
    }
    for (scope, problem) in run.rig.problems.list() {
        run.breaks(HEALTH, format!("{scope}: {problem}"));
    }
    let tree = run.rig.supervisor.tree();
    health(run, &tree);
    bounds(run);
    for handled in std::mem::take(&mut run.handlers) {
        let how = history(run, &handled);
        for how in how {
            run.breaks(HANDLERS, how);
        }
    }
}

fn stores(run: &mut Run) {
    for place in run.places() {
        let held = run.informer(place).map(|informer| informer.lister().list()).unwrap_or_default();
        let show = |objects: &[Arc<Object>]| objects.iter().map(|object| format!("{object:?}")).collect::<Vec<_>>();
        let (held, truth) = (show(&held), show(&run.truth(place)));
        if held != truth {
            run.breaks(STORES, format!("{}: the store holds {held:?}, the source {truth:?}", run.at(place)));
        }
    }
}

/// Each object that cannot be read is reported, with what is served of it, and nobody else is.
fn problems(run: &mut Run) {
    let found: BTreeSet<String> = run
        .rig
        .problems
        .list()
        .iter()
        .filter(|(scope, _)| scope.starts_with("view/"))
        .filter_map(|(_, problem)| Some(format!("{} {:?}", problem.object.as_ref()?, problem.serving)))
        .collect();
    let mut wanted = BTreeSet::new();
    for place in run.places() {
        for object in run.truth(place).iter().filter(|object| spec_of(object).is_unreadable()) {
            let key = object.key();
            let served = [format!("badges/{key:?}"), format!("users/{key:?}")];
            let served =
                place.kind != Kind::Grant && run.main.get(&served[usize::from(place.kind == Kind::Backend)]).is_some();
            let serving = if served { Serving::LastGood } else { Serving::Nothing };
            wanted.insert(format!("{} {serving:?}", object.object_ref()));
        }
    }
    if found != wanted {
        run.breaks(POISON, format!("problems of views: {found:?}, should be {wanted:?}"));
    }
}

fn health(run: &mut Run, node: &TreeStatus) {
    if node.state != State::Running {
        run.breaks(HEALTH, format!("`{}` is {}: {:?}", node.path, node.state.name(), node.reason));
    }
    node.children.iter().for_each(|child| health(run, child));
}

fn gate(run: &mut Run, name: &str, steps: &[ProbeStep]) {
    let Some(first) = steps.first() else { return run.breaks(GATE, format!("`{name}` never got anything")) };
    let settled = run.settled.lock().clone();
    for place in run.places() {
        let open = settled.get(&place).is_some_and(|at| *at <= first.at);
        if !open && !run.ever_unregistered.contains(&place) {
            run.breaks(GATE, format!("`{name}` got a first batch before {} had settled", run.at(place)));
        }
    }
    if !first.full {
        run.breaks(GATE, format!("the first batch of `{name}` is not full"));
    }
}

/// No instance vanishes that was not gone, no version goes back, nothing poisoned is shown, and what was there
/// before the start is always there.
fn never_back(run: &mut Run, name: &str, steps: &[ProbeStep]) {
    let mut how = Vec::new();
    let mut before: Arc<ProbeState> = Arc::default();
    for step in steps {
        let may_miss =
            |uid: &str| [&run.gone, &run.bad].iter().any(|times| times.get(uid).is_some_and(|at| *at <= step.at));
        let one_to_one = |entry: &str| ["badges/", "users/", "all/"].iter().any(|prefix| entry.starts_with(prefix));
        for (entry, text) in before.iter().filter(|(entry, _)| one_to_one(entry)) {
            let (uid, n) = parts(id(text));
            let now = step.state.get(entry);
            if now.is_some_and(|now| Arc::ptr_eq(now, text)) {
                continue;
            }
            let same = now.map(|now| parts(id(now))).filter(|(now, _)| *now == uid);
            match same {
                None if !may_miss(uid) => how.push(format!("version {}: {entry} was {text}, is {now:?}", step.version)),
                Some((_, now)) if now < n => {
                    how.push(format!("version {}: {entry} went back from {text}", step.version))
                }
                _ => {}
            }
        }
        for prefix in ["badges", "users", "all"] {
            let anchor = format!("{prefix}/east:n/{ANCHOR}");
            if !step.state.contains_key(&*anchor) {
                how.push(format!("version {}: {anchor} is missing", step.version));
            }
        }
        let changed = |entry: &str, text: &Arc<str>| before.get(entry).is_none_or(|before| !Arc::ptr_eq(before, text));
        for (entry, text) in step.state.iter().filter(|(entry, text)| one_to_one(entry) && changed(entry, text)) {
            let shown = text.split(['"', ' ', '[', ']', ',', '\\']).filter(|word| word.contains('@'));
            for version in shown {
                let good = run.versions.contains_key(version) && !run.unreadable.contains(version);
                if !good {
                    how.push(format!("version {}: {entry} shows {version}, which could never be read", step.version));
                }
            }
        }
        before = step.state.clone();
    }
    for how in how {
        run.breaks(RESTARTS, format!("`{name}`: {how}"));
    }
}

fn bounds(run: &mut Run) {
    let hosts = BTreeSet::from(HOSTS);
    let sources = run.schedule.sources;
    let outputs = world::most_outputs(sources * most_keys(Kind::Route), sources * most_keys(Kind::Backend), &hosts);
    for (queue, deepest) in run.depths.all() {
        let of_type = KINDS.into_iter().find(|kind| queue.contains(&kind.path()));
        // A batch that was begun waits beside what came after it.
        let most = of_type.map_or(outputs + 1, |kind| 2 * most_keys(kind) + 1);
        if deepest > most {
            run.breaks(BOUNDED, format!("`{queue}` held {deepest} entries; there are keys for {most}"));
        }
    }
    let handlers = 3 * run.handlers.len();
    let most = 60 + 8 * run.places().len() + handlers;
    if run.most_tasks > most {
        run.breaks(BOUNDED, format!("{} tasks at a time; {most} would do", run.most_tasks));
    }
    // Who was never harmed was never started again.
    let struck = run.rig.faults.struck();
    if run.schedule.calm && (!struck.is_empty() || struck.iter().any(|(_, fault)| *fault != Fault::None)) {
        run.breaks(BOUNDED, format!("a calm run had faults: {struck:?}"));
    }
}

/// One handler's calls against the source's history.
fn history(run: &Run, handled: &Handled) -> Vec<String> {
    let of = run.at(handled.place);
    let mut how = Vec::new();
    let mut seen: BTreeMap<String, Arc<Object>> = BTreeMap::new();
    let calls = handled.recorder.calls();
    for (index, (at, call)) in calls.iter().enumerate() {
        let (old, new) = match call {
            Call::Add { object, .. } => (None, Some(object)),
            Call::Update { old, new } => (Some(old), Some(new)),
            Call::Delete { object, .. } => (Some(object), None),
        };
        let key = old.or(new).unwrap().key().to_string();
        run.trace.note(&format!("{of} {:?} {call:?}", at.elapsed()));
        let held = seen.get(&key);
        let same = match (held, old) {
            (None, None) => true,
            (Some(held), Some(old)) => held.is_same_version(old),
            _ => false,
        };
        if !same {
            how.push(format!("{of}: call {index} is {call:?}, last seen was {held:?}"));
        }
        if let (Some(old), Some(new)) = (old, new)
            && (old.uid() != new.uid() || revision(old) >= revision(new))
        {
            how.push(format!("{of}: call {index} is {call:?}: not one object going forward"));
        }
        let created = |object: &Object| run.created.get(object.uid().unwrap()).copied();
        match call {
            Call::Add { object, initial: true } => {
                let told = lists(run, handled.place).into_iter().chain([handled.since]).max();
                if told < created(object) {
                    how.push(format!("{of}: {object:?} is said to be initial, but came after every list"));
                }
            }
            Call::Delete { object, tombstone } => {
                // Deleted and created again is shown as both, one after the other.
                let replaced = matches!(calls.get(index + 1), Some((_, next @ Call::Add { .. })) if on(next) == key);
                let deletes =
                    run.told.lock().deletes.get(&(handled.place.kind.resource_type(), object.key().clone())).cloned();
                let was_told = deletes.into_iter().flatten().any(|told| Some(told) >= created(object) && told <= *at);
                let was_listed =
                    lists(run, handled.place).into_iter().any(|told| Some(told) >= created(object) && told <= *at);
                if !replaced && (if *tombstone { !was_listed } else { !was_told }) {
                    how.push(format!("{of}: {call:?}, told by the source: {was_told}, listed since: {was_listed}"));
                }
            }
            _ => {}
        }
        match new {
            Some(new) => drop(seen.insert(key, new.clone())),
            None => drop(seen.remove(&key)),
        }
    }
    let truth = run.truth(handled.place);
    let is_truth = truth.len() == seen.len()
        && truth
            .iter()
            .all(|object| seen.get(&object.key().to_string()).is_some_and(|seen| seen.is_same_version(object)));
    if handled.live && !is_truth {
        how.push(format!("{of}: a handler has seen {:?}, the source holds {truth:?}", seen.values()));
    }
    how
}

fn on(call: &Call) -> String {
    match call {
        Call::Add { object, .. } | Call::Update { new: object, .. } | Call::Delete { object, .. } => {
            object.key().to_string()
        }
    }
}

fn lists(run: &Run, place: Place) -> Vec<Instant> {
    let of = (SOURCES[place.source].into(), place.kind.resource_type());
    run.told.lock().lists.get(&of).cloned().unwrap_or_default()
}

fn revision(object: &Object) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}
