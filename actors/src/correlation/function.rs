//! A function node: one pure function over the inputs of a collection, each input's look-ups recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::collection::{Collection, Key, Value};
use super::ctx::Ctx;
use super::graph::{Node, World, panic_text};
use super::watch::{Dep, Reader};
use crate::env::Fault;
use crate::problem::{Problem, Serving};
use crate::{Map, Set};

/// What the scopes of problems begin with that say that a function cannot compute with an input.
pub(crate) const PROBLEMS: &str = "correlation/";

/// What a function returns: any number of keyed outputs, or why this input is quarantined.
pub(super) type Outcome<K, V> = Result<Vec<(K, V)>, String>;

pub(super) struct FunctionNode<K, V, OK, O, F> {
    pub name: String,
    pub input: Collection<K, V>,
    pub output: Collection<OK, O>,
    pub function: F,
    pub inputs: Inputs<K, O>,
}

/// What is remembered of the inputs. Inputs and outputs are named by their numbers in their collections; a number is
/// another key's only in a later commit than the one that removed its key, of which each node hears.
pub(super) struct Inputs<K, O> {
    /// The last run of each input, by its number.
    runs: Vec<Run>,
    /// Whose an output is, by the output's number: its input's number, if it has one.
    owners: Vec<Option<u32>>,
    /// Outputs that more than one input put out: the smallest input's value is the one that counts, whatever the
    /// history. Uncontested ones are not here.
    contested: Map<u32, BTreeMap<K, (u32, Arc<O>)>>,
    /// Inputs with a standing problem, so that a good run of any other need not spell out a scope and a key to take
    /// nothing back.
    quarantined: Set<u32>,
}

/// One run of one input: what it looked at, and the numbers of what it put out, both sorted.
#[derive(Default)]
struct Run {
    deps: Box<[Dep]>,
    outputs: Box<[u32]>,
}

impl<K: Key, O> Inputs<K, O> {
    pub fn new() -> Self {
        let (contested, quarantined) = (Map::default(), Set::default());
        Self { runs: Vec::new(), owners: Vec::new(), contested, quarantined }
    }

    fn run(&mut self, number: u32) -> &mut Run {
        at(&mut self.runs, number)
    }

    fn owner(&mut self, output: u32) -> &mut Option<u32> {
        at(&mut self.owners, output)
    }
}

/// What a list holds at a number; it grows as need be.
fn at<T: Default>(list: &mut Vec<T>, number: u32) -> &mut T {
    let at = number as usize;
    if list.len() <= at {
        list.resize_with(at + 1, T::default);
    }
    &mut list[at]
}

impl<K, V, OK, O, F> FunctionNode<K, V, OK, O, F>
where
    K: Key,
    V: Value,
    OK: Key,
    O: Value,
    F: Fn(&mut Ctx<'_>, &K, &Arc<V>) -> Outcome<OK, O> + Send + 'static,
{
    fn call(&self, ctx: &mut Ctx<'_>, world: &World, key: &K, value: &Arc<V>) -> Outcome<OK, O> {
        match world.env.fault(|| format!("correlate/{}", self.name)) {
            Fault::Error(reason) => return Err(reason),
            Fault::Panic(reason) => return Err(format!("panicked: {reason}")),
            _ => {}
        }
        let run = catch_unwind(AssertUnwindSafe(|| (self.function)(ctx, key, value)));
        run.unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))))
    }

    fn run_one(&mut self, world: &World, number: u32) {
        let entry =
            world.with(self.input, |state| state.entry(number).map(|(key, value)| (key.clone(), value.clone())));
        let Some((key, value)) = entry else { return };
        let mut ctx = Ctx::new(world, self.output.id);
        let outcome = self.call(&mut ctx, world, &key, &value);
        let mut deps = ctx.into_deps();
        let outputs = match outcome {
            Ok(outputs) => {
                self.release(world, number, &key);
                Some(outputs)
            }
            Err(reason) => {
                // What the last good run looked at stays watched, so that whatever changes there is tried again.
                deps.extend(&self.inputs.run(number).deps);
                deps.sort_unstable();
                deps.dedup();
                let (scope, id) = self.problem_of(&key);
                let problem = Problem {
                    place: id.clone(),
                    object: world.object_of(self.input.id, &key),
                    field: String::new(),
                    reason,
                    serving: Serving::LastGood,
                };
                self.inputs.quarantined.insert(number);
                if world.problems.set(&scope, &id, problem.clone()) {
                    tracing::warn!(correlation = %self.name, problem = %problem, "input quarantined");
                }
                None
            }
        };
        self.watch(world, number, deps);
        if let Some(outputs) = outputs {
            self.replace(world, number, &key, outputs);
        }
    }

    /// Scope and name of the problem that an input has when it is quarantined.
    fn problem_of(&self, key: &K) -> (String, String) {
        (format!("{PROBLEMS}{}", self.name), format!("{key:?}"))
    }

    /// Takes back that an input is quarantined, if it is.
    fn release(&mut self, world: &World, number: u32, key: &K) {
        if self.inputs.quarantined.remove(&number) {
            let (scope, id) = self.problem_of(key);
            world.problems.clear(&scope, &id);
        }
    }

    /// Makes the look-ups of the last run the ones that count.
    fn watch(&mut self, world: &World, number: u32, deps: Vec<Dep>) {
        let run = self.inputs.run(number);
        if *run.deps == *deps {
            return;
        }
        let reader = Reader { node: self.output.id, slot: number };
        let old = std::mem::replace(&mut run.deps, deps.into());
        for dep in run.deps.iter().filter(|dep| old.binary_search(dep).is_err()) {
            world.erased(dep.collection).watch_add(dep.lookup, dep.watch, reader);
        }
        for dep in old.iter().filter(|dep| run.deps.binary_search(dep).is_err()) {
            world.erased(dep.collection).watch_remove(dep.lookup, dep.watch, reader);
        }
    }

    /// Makes the outputs of the last run the ones that count.
    fn replace(&mut self, world: &World, number: u32, key: &K, mut outputs: Vec<(OK, O)>) {
        // Of two outputs of one key the last counts.
        outputs.sort_by(|a, b| a.0.cmp(&b.0));
        outputs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let numbers: Vec<u32> =
            world.with(self.output, |state| outputs.iter().map(|(key, _)| state.look_up(key).0).collect());
        let mut sorted: Box<[u32]> = numbers.clone().into();
        sorted.sort_unstable();
        let run = self.inputs.run(number);
        let old = if run.outputs == sorted { sorted } else { std::mem::replace(&mut run.outputs, sorted) };
        let gone = |inputs: &mut Inputs<K, O>, output: &u32| inputs.run(number).outputs.binary_search(output).is_err();
        for output in old {
            if gone(&mut self.inputs, &output) {
                self.put(world, number, key, output, None);
            }
        }
        for (output, (_, value)) in numbers.into_iter().zip(outputs) {
            self.put(world, number, key, output, Some(Arc::new(value)));
        }
    }

    /// Sets, or takes away, what an input puts out.
    fn put(&mut self, world: &World, input: u32, key: &K, output: u32, value: Option<Arc<O>>) {
        let first = *self.inputs.owner(output);
        if first.is_none_or(|owner| owner == input) && !self.inputs.contested.contains_key(&output) {
            *self.inputs.owner(output) = value.is_some().then_some(input);
            world.with(self.output, |state| state.set_at(output, value));
            return;
        }
        let claims = self.inputs.contested.entry(output).or_default();
        if let (true, Some(first)) = (claims.is_empty(), first) {
            let key = world.with(self.input, |state| state.key(first).cloned());
            let held = world.with(self.output, |state| state.entry(output).map(|(_, held)| held.clone()));
            claims.extend(key.zip(held).map(|(key, held)| (key, (first, held))));
        }
        match value {
            Some(value) => drop(claims.insert(key.clone(), (input, value))),
            None => drop(claims.remove(key)),
        }
        let winner = claims.first_key_value().map(|(_, winner)| winner.clone());
        if claims.len() < 2 {
            self.inputs.contested.remove(&output);
        }
        let (owner, value) = winner.unzip();
        *self.inputs.owner(output) = owner;
        world.with(self.output, |state| state.set_at(output, value));
    }
}

impl<K, V, OK, O, F> Node for FunctionNode<K, V, OK, O, F>
where
    K: Key,
    V: Value,
    OK: Key,
    O: Value,
    F: Fn(&mut Ctx<'_>, &K, &Arc<V>) -> Outcome<OK, O> + Send + 'static,
{
    fn problem_scope(&self) -> Option<String> {
        Some(format!("{PROBLEMS}{}", self.name))
    }

    fn has_work(&self, world: &World) -> bool {
        world.erased(self.input.id).is_touched()
    }

    fn run(&mut self, world: &World, dirty: Vec<u32>) -> usize {
        let mut dirty: BTreeSet<u32> = dirty.into_iter().collect();
        let mut gone = Vec::new();
        world.with(self.input, |state| {
            for delta in state.deltas() {
                if delta.new.is_some() {
                    dirty.insert(delta.number);
                } else {
                    gone.push((delta.number, delta.key));
                }
            }
        });
        for (number, key) in gone {
            dirty.remove(&number);
            self.watch(world, number, Vec::new());
            self.release(world, number, &key);
            for output in std::mem::take(&mut self.inputs.run(number).outputs) {
                self.put(world, number, &key, output, None);
            }
        }
        let runs = dirty.len();
        // Most functions put out one thing an input.
        world.with(self.output, |state| state.make_room(runs));
        for number in dirty {
            self.run_one(world, number);
        }
        runs
    }
}
