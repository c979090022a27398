//! The actor that runs a graph: it drains the stores' ports, commits, and hands differences to the outputs.
//!
//! Laws: nothing leaves before the gate is open (every required type synced or known to be absent); what is
//! waiting in all ports at a nudge is one commit; a restarted actor rebuilds the graph from the stores, and its
//! outputs get one full batch instead of what it lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::graph::Graph;
use super::input::{Input, InputKey, StorePort, Subscribe, missing};
use super::output::{OutputBuffer, OutputPort, Taps};
use crate::changes::Changes;
use crate::env::Env;
use crate::id::{Name, ResourceType};
use crate::informer::{Informer, InformerError, InformerFactory, RegisterOptions};
use crate::port::Port;
use crate::problem::Problems;
use crate::store::Subscription;
use crate::supervisor::ChildSpec;

/// Names what is still missing before anything may be published; empty when nothing is.
pub type Gate = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// A graph with its inputs and outputs, as an actor that can be restarted at any time. `H` holds the handles of
/// the collections, as the build function returns them. Cheap to clone.
pub struct Correlation<H> {
    shared: Arc<Shared<H>>,
}

impl<H> Clone for Correlation<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

type Build<H> = Box<dyn Fn(&mut Graph) -> H + Send + Sync>;
type TapsOf<H> = Arc<dyn Fn(&H) -> Taps + Send + Sync>;

struct Shared<H> {
    name: String,
    env: Env,
    problems: Problems,
    build: Build<H>,
    handles: H,
    resource_types: Vec<ResourceType>,
    /// `None`: it asks its inputs.
    gate: Option<Gate>,
    version: AtomicU64,
    /// The gate opens once: what it waited for is in the stores, which a restart of this actor leaves alone.
    opened: AtomicBool,
    wiring: Mutex<Wiring<H>>,
}

struct Wiring<H> {
    inputs: BTreeMap<InputKey, Input>,
    outputs: BTreeMap<String, (OutputPort, TapsOf<H>)>,
    actor: Option<ActorRef<Message>>,
}

impl<H: Send + Sync + 'static> Correlation<H> {
    /// A correlation over informers: it publishes as soon as each resource type that it reads has been connected with
    /// [`add_informer`](Self::add_informer), and all of them are complete or known not to exist. Of a type that
    /// several sources have, connect all before they sync. `build` is as for [`new`](Self::new).
    pub fn over_informers(
        name: &str,
        env: &Env,
        problems: &Problems,
        build: impl Fn(&mut Graph) -> H + Send + Sync + 'static,
    ) -> Self {
        Self::with_gate(name, env, problems, None, build)
    }

    /// A correlation with a gate of its owner's. `build` declares the graph; it runs now, to learn the handles and the resource
    /// types, and again at each start of the actor, and must do the same each time.
    pub fn new(
        name: &str,
        env: &Env,
        problems: &Problems,
        gate: Gate,
        build: impl Fn(&mut Graph) -> H + Send + Sync + 'static,
    ) -> Self {
        Self::with_gate(name, env, problems, Some(gate), build)
    }

    fn with_gate(
        name: &str,
        env: &Env,
        problems: &Problems,
        gate: Option<Gate>,
        build: impl Fn(&mut Graph) -> H + Send + Sync + 'static,
    ) -> Self {
        let mut graph = Graph::new(env, problems);
        let handles = build(&mut graph);
        let mut resource_types: Vec<_> = graph.resource_types().cloned().collect();
        resource_types.sort();
        let wiring = Wiring { inputs: BTreeMap::new(), outputs: BTreeMap::new(), actor: None };
        let shared = Shared {
            name: name.to_owned(),
            env: env.clone(),
            problems: problems.clone(),
            build: Box::new(build),
            handles,
            resource_types,
            gate,
            version: AtomicU64::new(0),
            opened: AtomicBool::new(false),
            wiring: Mutex::new(wiring),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The handles of its collections.
    pub fn handles(&self) -> &H {
        &self.shared.handles
    }

    /// The resource types that it reads, sorted.
    pub fn resource_types(&self) -> &[ResourceType] {
        &self.shared.resource_types
    }

    /// The version of the last commit that something may have been published of; 0 before the first.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::SeqCst)
    }

    /// Reads what an informer holds, and follows it.
    pub fn add_informer(&self, informer: &Informer) {
        let key = (informer.resource_type().clone(), informer.source().clone());
        let input = Input::of_informer(self.port_of(&key), informer);
        self.add(key, input);
    }

    /// Registers every type that it reads at a source, and follows them.
    ///
    /// # Errors
    /// As [`InformerFactory::register`].
    pub async fn follow(&self, factory: &InformerFactory, source: &str) -> Result<(), InformerError> {
        for resource_type in self.resource_types() {
            self.add_informer(&factory.register(source, resource_type.clone(), RegisterOptions::default()).await?);
        }
        Ok(())
    }

    /// Reads a store: one resource type of one source. Whoever owns the gate says when it is complete.
    pub fn add_input(&self, resource_type: &ResourceType, source: &Name, subscribe: Subscribe) {
        let key = (resource_type.clone(), source.clone());
        let input = Input::of_store(self.port_of(&key), subscribe);
        self.add(key, input);
    }

    fn port_of(&self, (resource_type, source): &InputKey) -> StorePort {
        let name = format!("{}/{source}/{resource_type}", self.shared.name);
        Port::new(name, &self.shared.env, Changes::default())
    }

    fn add(&self, key: InputKey, input: Input) {
        self.shared.wiring.lock().inputs.insert(key.clone(), input);
        self.tell(Message::AddInput(key));
    }

    /// Stops reading a store; what it held is removed.
    pub fn remove_input(&self, resource_type: &ResourceType, source: &Name) {
        let key = (resource_type.clone(), source.clone());
        if self.shared.wiring.lock().inputs.remove(&key).is_some() {
            self.tell(Message::RemoveInput(key));
        }
    }

    /// A port that gets the differences of some collections, by name; made once, kept over restarts of both ends.
    pub fn output(&self, name: &str, taps: impl Fn(&H) -> Taps + Send + Sync + 'static) -> OutputPort {
        let full_name = format!("{}/{name}", self.shared.name);
        let port = OutputPort::new(full_name, &self.shared.env, OutputBuffer::default());
        let declared = (port.clone(), Arc::new(taps) as TapsOf<H>);
        self.shared.wiring.lock().outputs.insert(name.to_owned(), declared);
        self.resync(name);
        port
    }

    /// How much waits for an output, or is being worked on by its consumer; 0 of one that nobody declared.
    pub fn waiting(&self, output: &str) -> usize {
        let port = self.shared.wiring.lock().outputs.get(output).map(|(port, _)| port.clone());
        port.map_or(0, |port| port.depth())
    }

    /// Sends a full batch to an output: for a consumer that lost what it had.
    pub fn resync(&self, output: &str) {
        self.tell(Message::Resync(output.to_owned()));
    }

    /// Names what is still missing before anything is published; empty when nothing is.
    pub fn missing(&self) -> Vec<String> {
        match &self.shared.gate {
            Some(gate) => gate(),
            None => missing(&self.shared.resource_types, &self.shared.wiring.lock().inputs),
        }
    }

    /// Closes the gate again: the next start of the actor publishes nothing before everything is there that its
    /// inputs then need. For a change of inputs while the actor is stopped.
    pub fn close_gate(&self) {
        self.shared.opened.store(false, Ordering::SeqCst);
    }

    /// Looks at the gate again, because a type has synced or is known to be absent.
    pub fn check_gate(&self) {
        self.tell(Message::Nudge);
    }

    /// What the supervisor starts.
    pub fn spec(&self, child: &str) -> ChildSpec {
        let this = self.clone();
        ChildSpec::actor(child, move || (CorrelationActor(this.clone()), ()))
    }

    fn tell(&self, message: Message) {
        let actor = self.shared.wiring.lock().actor.clone();
        if let Some(actor) = actor {
            // An actor that is gone is started again, and reads the wiring when it is.
            let _ = actor.cast(message);
        }
    }
}

struct CorrelationActor<H>(Correlation<H>);

enum Message {
    Nudge,
    AddInput(InputKey),
    RemoveInput(InputKey),
    Resync(String),
}

struct Running {
    graph: Graph,
    inputs: BTreeMap<InputKey, Reading>,
    open: bool,
}

/// An input that is read, for as long as this lives.
struct Reading {
    port: StorePort,
    _subscription: Subscription,
    _settling: JoinSet<()>,
}

#[ractor::async_trait]
impl<H: Send + Sync + 'static> Actor for CorrelationActor<H> {
    type Msg = Message;
    type State = Running;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Running, ActorProcessingErr> {
        let shared = &self.0.shared;
        let mut graph = Graph::new(&shared.env, &shared.problems);
        (shared.build)(&mut graph);
        graph.clear_problems();
        let mut running = Running { graph, inputs: BTreeMap::new(), open: false };
        let keys: Vec<InputKey> = {
            let mut wiring = shared.wiring.lock();
            wiring.actor = Some(myself.clone());
            wiring.inputs.keys().cloned().collect()
        };
        for key in keys {
            self.add_input(&myself, &mut running, key);
        }
        // Even without any object the gate may be open.
        myself.cast(Message::Nudge)?;
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Nudge => self.commit(running),
            Message::AddInput(key) => {
                self.add_input(&myself, running, key);
                self.commit(running);
            }
            Message::RemoveInput(key) => self.remove_input(running, &key),
            Message::Resync(output) => self.resync(running, &output),
        }
        Ok(())
    }
}

impl<H: Send + Sync + 'static> CorrelationActor<H> {
    fn add_input(&self, myself: &ActorRef<Message>, running: &mut Running, key: InputKey) {
        let Some(input) = self.0.shared.wiring.lock().inputs.get(&key).cloned() else { return };
        if let Some(before) = running.inputs.remove(&key) {
            // What the new store does not hold is gone; what it does comes again below, in the same commit.
            before.port.disconnect();
            running.graph.forget_source(&key.0, &key.1);
        }
        let port = input.port.clone();
        port.receive(Changes::clear);
        let subscription = (input.subscribe)(port.clone());
        let myself = myself.clone();
        let nudge = move || {
            // It fails only when the actor is gone; its successor subscribes anew.
            let _ = myself.cast(Message::Nudge);
        };
        port.connect(Arc::new(nudge.clone()));
        let settling = input.when_settled(nudge);
        running.inputs.insert(key, Reading { port, _subscription: subscription, _settling: settling });
    }

    fn remove_input(&self, running: &mut Running, key: &InputKey) {
        let Some(reading) = running.inputs.remove(key) else { return };
        reading.port.disconnect();
        running.graph.forget_source(&key.0, &key.1);
        self.commit(running);
    }

    fn commit(&self, running: &mut Running) {
        let shared = &self.0.shared;
        // Asked before the ports are drained: what it calls synced is then in the ports already.
        let mut open = shared.opened.load(Ordering::SeqCst) || self.0.missing().is_empty();
        if open && !running.open {
            // An input whose store is complete may wait in our mailbox still, to be connected.
            open = shared.wiring.lock().inputs.keys().all(|key| running.inputs.contains_key(key));
        }
        let mut since: Option<Instant> = None;
        for ((resource_type, _), Reading { port, .. }) in &running.inputs {
            while let Some(batch) = port.receive(Changes::begin) {
                since = since.into_iter().chain(port.take_since()).min();
                for (key, change) in batch.iter() {
                    let (old, new) = (change.old.as_deref(), change.new.as_ref());
                    if old.zip(new).is_some_and(|(old, new)| old.uid() != new.uid()) {
                        running.graph.feed(resource_type, key, None);
                    }
                    running.graph.feed(resource_type, key, new);
                }
                port.receive(Changes::commit);
            }
        }
        let version = self.0.version() + 1;
        let stats = running.graph.commit(version, since);
        if stats.changed > 0 {
            tracing::debug!(correlation = %shared.name, version, runs = stats.runs, changed = stats.changed, "commit");
        }
        if open && (stats.changed > 0 || !running.open) {
            shared.version.store(version, Ordering::SeqCst);
        }
        if open && !running.open {
            running.open = true;
            shared.opened.store(true, Ordering::SeqCst);
            let outputs: Vec<String> = shared.wiring.lock().outputs.keys().cloned().collect();
            for output in outputs {
                self.resync(running, &output);
            }
        }
    }

    fn resync(&self, running: &mut Running, output: &str) {
        if !running.open {
            return;
        }
        let declared = self.0.shared.wiring.lock().outputs.get(output).cloned();
        if let Some((port, taps)) = declared {
            let taps = taps(&self.0.shared.handles);
            running.graph.connect(port, taps, self.0.version());
        }
    }
}
