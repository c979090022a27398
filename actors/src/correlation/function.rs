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

/// What a function returns: any number of keyed outputs, or why this input is quarantined.
pub(super) type Outcome<K, V> = Result<Vec<(K, V)>, String>;

pub(super) struct FunctionNode<K, V, OK, O, F> {
    pub name: String,
    pub input: Collection<K, V>,
    pub output: Collection<OK, O>,
    pub function: F,
    pub slots: Slots<K, OK>,
    /// Keys that more than one input put out: the smallest input's value is the one that counts, whatever the
    /// history. Uncontested keys are not here.
    pub contested: Map<OK, BTreeMap<K, Arc<O>>>,
    pub owners: Map<OK, K>,
    /// Inputs with a standing problem, so that a good run of any other need not spell out a scope and a key to take
    /// nothing back.
    pub quarantined: Set<u32>,
}

/// The inputs, numbered.
pub(super) struct Slots<K, OK> {
    numbers: Map<K, u32>,
    slots: Vec<Option<Slot<K, OK>>>,
    free: Vec<u32>,
}

struct Slot<K, OK> {
    key: K,
    deps: Vec<Dep>,
    outputs: Vec<OK>,
}

impl<K: Key, OK> Slots<K, OK> {
    pub fn new() -> Self {
        Self { numbers: Map::default(), slots: Vec::new(), free: Vec::new() }
    }

    fn number(&mut self, key: &K) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let slot = Some(Slot { key: key.clone(), deps: Vec::new(), outputs: Vec::new() });
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.numbers.insert(key.clone(), number);
        number
    }

    fn remove(&mut self, key: &K) -> Option<(u32, Slot<K, OK>)> {
        let number = self.numbers.remove(key)?;
        self.free.push(number);
        self.slots[number as usize].take().map(|slot| (number, slot))
    }
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
        let Some(slot) = self.slots.slots.get(number as usize).and_then(Option::as_ref) else { return };
        let key = slot.key.clone();
        let Some(value) = world.with(self.input, |state| state.get(&key).cloned()) else { return };
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
                deps.extend(self.slots.slots[number as usize].iter().flat_map(|slot| slot.deps.iter().copied()));
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
                self.quarantined.insert(number);
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
        (format!("correlation/{}", self.name), format!("{key:?}"))
    }

    /// Takes back that an input is quarantined, if it is.
    fn release(&mut self, world: &World, number: u32, key: &K) {
        if self.quarantined.remove(&number) {
            let (scope, id) = self.problem_of(key);
            world.problems.clear(&scope, &id);
        }
    }

    /// Makes the look-ups of the last run the ones that count.
    fn watch(&mut self, world: &World, number: u32, deps: Vec<Dep>) {
        let Some(slot) = &mut self.slots.slots[number as usize] else { return };
        if slot.deps == deps {
            return;
        }
        let reader = Reader { node: self.output.id, slot: number };
        let old = std::mem::replace(&mut slot.deps, deps.clone());
        for dep in deps.iter().filter(|dep| old.binary_search(dep).is_err()) {
            world.erased(dep.collection).watch_add(dep.lookup, dep.watch, reader);
        }
        for dep in old.iter().filter(|dep| deps.binary_search(dep).is_err()) {
            world.erased(dep.collection).watch_remove(dep.lookup, dep.watch, reader);
        }
    }

    /// Makes the outputs of the last run the ones that count.
    fn replace(&mut self, world: &World, number: u32, key: &K, outputs: Vec<(OK, O)>) {
        let outputs: BTreeMap<OK, Arc<O>> = outputs.into_iter().map(|(k, v)| (k, Arc::new(v))).collect();
        let keys = outputs.keys().cloned().collect();
        let Some(slot) = &mut self.slots.slots[number as usize] else { return };
        let old = std::mem::replace(&mut slot.outputs, keys);
        for gone in old.iter().filter(|key| !outputs.contains_key(key)) {
            self.put(world, key, gone, None);
        }
        for (output, value) in outputs {
            self.put(world, key, &output, Some(value));
        }
    }

    fn put(&mut self, world: &World, input: &K, output: &OK, value: Option<Arc<O>>) {
        let owner = self.owners.get(output);
        if owner.is_none_or(|owner| owner == input) && !self.contested.contains_key(output) {
            match &value {
                Some(_) if owner.is_none() => drop(self.owners.insert(output.clone(), input.clone())),
                Some(_) => {}
                None => drop(self.owners.remove(output)),
            }
            world.with(self.output, |state| state.set(output.clone(), value));
            return;
        }
        let first = owner.cloned();
        let claims = self.contested.entry(output.clone()).or_default();
        if let (true, Some(first)) = (claims.is_empty(), first) {
            let held = world.with(self.output, |state| state.get(output).cloned());
            claims.extend(held.map(|held| (first, held)));
        }
        match value {
            Some(value) => drop(claims.insert(input.clone(), value)),
            None => drop(claims.remove(input)),
        }
        let winner = claims.first_key_value().map(|(key, value)| (key.clone(), value.clone()));
        if claims.len() < 2 {
            self.contested.remove(output);
        }
        match &winner {
            Some((key, _)) => drop(self.owners.insert(output.clone(), key.clone())),
            None => drop(self.owners.remove(output)),
        }
        world.with(self.output, |state| state.set(output.clone(), winner.map(|(_, value)| value)));
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
        Some(format!("correlation/{}", self.name))
    }

    fn has_work(&self, world: &World) -> bool {
        world.erased(self.input.id).is_touched()
    }

    fn run(&mut self, world: &World, dirty: Vec<u32>) -> usize {
        let mut dirty: BTreeSet<u32> = dirty.into_iter().collect();
        let deltas: Vec<_> = world.with(self.input, |state| state.deltas().map(|d| (d.key, d.new.is_some())).collect());
        for (key, exists) in deltas {
            if exists {
                dirty.insert(self.slots.number(&key));
                continue;
            }
            let Some(number) = self.slots.numbers.get(&key).copied() else { continue };
            dirty.remove(&number);
            self.watch(world, number, Vec::new());
            if let Some((_, slot)) = self.slots.remove(&key) {
                self.release(world, number, &key);
                for output in &slot.outputs {
                    self.put(world, &key, output, None);
                }
            }
        }
        let runs = dirty.len();
        for number in dirty {
            self.run_one(world, number);
        }
        runs
    }
}
