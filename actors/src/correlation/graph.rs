//! The graph: nodes in the order of their declaration, and commits that run through them once.

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::collection::{AnyCollection, Collection, Key, State, Value};
use super::ctx::Ctx;
use super::function::{FunctionNode, Inputs, Outcome};
use super::group::{GroupNode, Place};
use super::index::Index;
use super::output::{Output, OutputPort, Taps};
use super::report::ReportNode;
use super::union::UnionNode;
use super::view::{ErrorsNode, View, ViewError, ViewNode};
use crate::Map;
use crate::env::Env;
use crate::id::{Name, ObjectKey, ObjectRef, ResourceType};
use crate::object::Object;
use crate::problem::{Problem, Problems};
use crate::seq::Seq;

/// What runs when something before it changed. It writes the collection that has its own number.
pub(super) trait Node: Send {
    fn has_work(&self, world: &World) -> bool;

    /// A raw object for whichever view node wants the type.
    fn feed(&mut self, _resource_type: &ResourceType, _key: &ObjectKey, _object: Option<&Arc<Object>>) {}

    /// Where it reports problems, if it does.
    fn problem_scope(&self) -> Option<String> {
        None
    }

    /// Where to say which objects cannot be read, if it is a view.
    fn tell_errors(&mut self, _to: Collection<ObjectKey, ViewError>) {}

    /// Removes all objects of a source, if it is a view.
    fn forget_source(&mut self, _world: &World, _source: &Name) {}

    /// Runs what changed and the inputs that are dirty; says how many inputs it ran.
    fn run(&mut self, world: &World, dirty: Vec<u32>) -> usize;
}

/// All collections, and what nodes need of the outside.
pub(super) struct World {
    collections: Vec<RefCell<Box<dyn AnyCollection>>>,
    pub env: Env,
    pub problems: Problems,
    /// The resource type of the collections that are views.
    types: Map<u32, ResourceType>,
}

impl World {
    /// Works on one collection. Nodes never hold two at once, so a borrow can't fail.
    pub fn with<K: Key, V: Value, R>(&self, of: Collection<K, V>, work: impl FnOnce(&mut State<K, V>) -> R) -> R {
        let mut state = self.collections[of.id as usize].borrow_mut();
        let state = state.as_any().downcast_mut::<State<K, V>>();
        // The handle was made with the collection, with these very types.
        #[allow(clippy::expect_used)]
        work(state.expect("a collection handle has its collection's types"))
    }

    /// The object behind a key of a view, for reports.
    pub fn object_of(&self, collection: u32, key: &dyn Any) -> Option<ObjectRef> {
        let key = key.downcast_ref::<ObjectKey>()?.clone();
        Some(ObjectRef { resource_type: self.types.get(&collection)?.clone(), key })
    }

    pub fn erased(&self, id: u32) -> RefMut<'_, Box<dyn AnyCollection>> {
        self.collections[id as usize].borrow_mut()
    }
}

/// What one commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Inputs that ran, over all nodes.
    pub runs: usize,
    /// Collections in which something is different now.
    pub changed: usize,
}

/// A graph of collections. See the module `correlation`.
pub struct Graph {
    world: World,
    nodes: Vec<Box<dyn Node>>,
    names: Vec<String>,
    counters: Vec<(metrics::Counter, metrics::Histogram)>,
    dirty: Vec<Vec<u32>>,
    fed: Map<ResourceType, Vec<u32>>,
    outputs: Vec<Output>,
}

impl Graph {
    /// An empty graph.
    pub fn new(env: &Env, problems: &Problems) -> Self {
        let (env, problems) = (env.clone(), problems.clone());
        let world = World { collections: Vec::new(), env, problems, types: Map::default() };
        Self {
            world,
            nodes: Vec::new(),
            names: Vec::new(),
            counters: Vec::new(),
            dirty: Vec::new(),
            fed: Map::default(),
            outputs: Vec::new(),
        }
    }

    /// A collection of views of all objects of a resource type, of every source. One type can have several views.
    pub fn source<V: View>(&mut self, resource_type: &ResourceType) -> Collection<ObjectKey, V> {
        self.fed.entry(resource_type.clone()).or_default().push(self.nodes.len() as u32);
        self.world.types.insert(self.nodes.len() as u32, resource_type.clone());
        let resource_type = resource_type.clone();
        self.add(format!("view/{resource_type}"), |output| ViewNode::new(output, resource_type))
    }

    /// The objects of a source's resource type that cannot be read now, for whoever tells them so. Declared once a
    /// type, after its [`source`](Self::source), of which the first counts; for a type without one it stays empty.
    pub fn source_errors(&mut self, resource_type: &ResourceType) -> Collection<ObjectKey, ViewError> {
        let errors = self.add(format!("errors/{resource_type}"), ErrorsNode);
        if let Some(first) = self.fed.get(resource_type).and_then(|nodes| nodes.first()) {
            self.nodes[*first as usize].tell_errors(errors);
        }
        errors
    }

    /// Reports what a pure function finds wrong with each value, under the scope `correlation/NAME`, for as long as
    /// the value is there. For warnings: it changes nothing in what is served.
    pub fn report<K: Key, V: Value>(
        &mut self,
        name: &str,
        input: Collection<K, V>,
        problems: impl Fn(&K, &V) -> Vec<Problem> + Send + 'static,
    ) {
        let scope = format!("correlation/{name}");
        self.add::<(), (), _>(name.to_owned(), |_| ReportNode { scope, input, problems });
    }

    /// An index over a collection. `extract` must be pure and cheap; it runs for each change.
    pub fn index<K: Key, V: Value, I: Key>(
        &mut self,
        collection: Collection<K, V>,
        extract: impl Fn(&K, &V) -> Vec<I> + Send + 'static,
    ) -> Index<K, V, I> {
        self.world.with(collection, |state| state.add_index(collection, extract))
    }

    /// A collection of what a pure function makes of each input: any number of keyed outputs. Where two inputs
    /// put out one key, the smaller input's counts.
    pub fn correlate<K: Key, V: Value, OK: Key, O: Value>(
        &mut self,
        name: &str,
        input: Collection<K, V>,
        function: impl Fn(&mut Ctx<'_>, &K, &Arc<V>) -> Vec<(OK, O)> + Send + 'static,
    ) -> Collection<OK, O> {
        self.try_correlate(name, input, move |ctx, key, value| Ok(function(ctx, key, value)))
    }

    /// As [`correlate`](Self::correlate), for a function that may refuse an input: its last good outputs stay,
    /// and the reason is reported.
    pub fn try_correlate<K: Key, V: Value, OK: Key, O: Value>(
        &mut self,
        name: &str,
        input: Collection<K, V>,
        function: impl Fn(&mut Ctx<'_>, &K, &Arc<V>) -> Outcome<OK, O> + Send + 'static,
    ) -> Collection<OK, O> {
        self.add(name.to_owned(), |output| FunctionNode {
            name: name.to_owned(),
            input,
            output,
            function,
            inputs: Inputs::new(),
        })
    }

    /// The values of a collection as sorted sequences, one a group. `place` gives the group, the place in it
    /// (unique in the group) and what stands there; it must be pure and cheap.
    pub fn group<K: Key, V: Value, G: Key, O: Key, T: Value>(
        &mut self,
        name: &str,
        input: Collection<K, V>,
        place: impl Fn(&K, &V) -> Place<G, O, T> + Send + 'static,
    ) -> Collection<G, Seq<O, T>> {
        self.add(name.to_owned(), |output| GroupNode { input, output, place })
    }

    /// Several collections as one; where two hold a key, the first one's counts.
    pub fn union<K: Key, V: Value>(&mut self, name: &str, inputs: &[Collection<K, V>]) -> Collection<K, V> {
        self.add(name.to_owned(), |output| UnionNode { inputs: inputs.to_vec(), output })
    }

    fn add<K: Key, V: Value, N: Node + 'static>(
        &mut self,
        name: String,
        make: impl FnOnce(Collection<K, V>) -> N,
    ) -> Collection<K, V> {
        let output = Collection::new(self.nodes.len() as u32);
        self.world.collections.push(RefCell::new(Box::new(State::<K, V>::new())));
        self.nodes.push(Box::new(make(output)));
        let runs = metrics::counter!("tidegate_correlation_runs_total", "correlation" => name.clone());
        let time = metrics::histogram!("tidegate_correlation_seconds", "correlation" => name.clone());
        self.counters.push((runs, time));
        self.names.push(name);
        self.dirty.push(Vec::new());
        output
    }

    /// The resource types that it reads.
    pub fn resource_types(&self) -> impl Iterator<Item = &ResourceType> {
        self.fed.keys()
    }

    /// Hands a raw object (or its removal) to its view; it counts from the next commit on. Types that nobody
    /// reads are ignored.
    pub fn feed(&mut self, resource_type: &ResourceType, key: &ObjectKey, object: Option<&Arc<Object>>) {
        for node in self.fed.get(resource_type).into_iter().flatten() {
            self.nodes[*node as usize].feed(resource_type, key, object);
        }
    }

    /// Runs everything that was fed, as one change, and hands the differences to the outputs.
    pub fn commit(&mut self, version: u64, since: Option<Instant>) -> CommitStats {
        let mut stats = CommitStats::default();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let dirty = std::mem::take(&mut self.dirty[at]);
            if dirty.is_empty() && !node.has_work(&self.world) {
                continue;
            }
            let start = Instant::now();
            let runs = node.run(&self.world, dirty);
            stats.runs += runs;
            self.counters[at].0.increment(runs as u64);
            self.counters[at].1.record(start.elapsed().as_secs_f64());
            for reader in self.world.erased(at as u32).take_triggered() {
                self.dirty[reader.node as usize].push(reader.slot);
            }
        }
        for output in &self.outputs {
            output.commit(&self.world, version, since);
        }
        for collection in &self.world.collections {
            let mut collection = collection.borrow_mut();
            if collection.is_touched() {
                stats.changed += 1;
                collection.end_commit();
            }
        }
        stats
    }

    /// Takes back all problems that an earlier graph of the same nodes reported: this one knows nothing of them.
    pub(super) fn clear_problems(&self) {
        for scope in self.nodes.iter().filter_map(|node| node.problem_scope()) {
            self.world.problems.replace(&scope, []);
        }
    }

    /// Removes all objects of one source from a view; it counts from the next commit on.
    pub fn forget_source(&mut self, resource_type: &ResourceType, source: &Name) {
        for node in self.fed.get(resource_type).into_iter().flatten() {
            self.nodes[*node as usize].forget_source(&self.world, source);
        }
    }

    /// Adds a consumer of the outputs, or replaces the one whose port has the same name. It gets everything there
    /// is at once, as a full batch at `version`.
    pub fn connect(&mut self, port: OutputPort, taps: Taps, version: u64) {
        let output = Output { port, taps };
        output.replay(&self.world, version);
        self.outputs.retain(|held| held.name() != output.name());
        self.outputs.push(output);
    }

    /// The value of a key, for tests and read-only callers outside a run.
    pub fn get<K: Key, V: Value>(&self, collection: Collection<K, V>, key: &K) -> Option<Arc<V>> {
        self.world.with(collection, |state| state.get(key).cloned())
    }

    /// All values of a collection, sorted by key.
    pub fn list<K: Key, V: Value>(&self, collection: Collection<K, V>) -> Vec<(K, Arc<V>)> {
        let all = |state: &mut State<K, V>| state.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>();
        let mut all = self.world.with(collection, all);
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The sizes of all collections, by name, in the order of declaration.
    pub fn sizes(&self) -> Vec<(&str, usize)> {
        let sizes = self.world.collections.iter().map(|collection| collection.borrow().len());
        self.names.iter().map(String::as_str).zip(sizes).collect()
    }
}

/// The text of a panic, for reports.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
