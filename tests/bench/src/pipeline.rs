//! The whole path of a change in one thread: bytes in, encoded delta resources out. No actors, no network.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tidegate::correlate::{self, Outputs, Settings};
use tidegate::publish::step::{Steps, model_taps};
use tidegate::publish::xds::{self, LocalClient, Sent, XdsPublisher};
use tidegate::resource::types;
use tidegate_actors::correlation::{Graph, OutputBuffer, OutputPort};
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::{Decoder, Transform};
use tidegate_actors::problem::Problems;

use crate::gateway_world::Manifest;

/// What this thread has worked so far. On a machine that others use as well, only this tells what a short piece of
/// work costs.
pub fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The stages of the path.
pub const STAGES: [&str; 4] = ["decode", "correlate", "encode", "respond"];

/// What came of a change.
pub struct Outcome {
    /// What was sent, in order.
    pub sent: Vec<Sent>,
    /// What each stage worked.
    pub stages: [Duration; STAGES.len()],
}

impl Outcome {
    /// All stages together.
    pub fn worked(&self) -> Duration {
        self.stages.iter().sum()
    }

    /// How many resources were sent or removed.
    pub fn outputs(&self) -> usize {
        self.sent.iter().map(|sent| sent.resources.len() + sent.removed.len()).sum()
    }
}

/// See the module.
pub struct Pipeline {
    decoders: Vec<Decoder>,
    types: Vec<ResourceType>,
    graph: Graph,
    outputs: Outputs,
    port: OutputPort,
    steps: Steps,
    xds: XdsPublisher,
    client: LocalClient,
    problems: Problems,
    version: u64,
    first: Vec<Sent>,
}

impl Pipeline {
    /// A path with these objects in it, and a client that has all that became of them.
    ///
    /// # Panics
    /// When something is wrong with the objects.
    pub fn new(manifests: &[Manifest]) -> Self {
        Self::bound(manifests, Ipv4Addr::LOCALHOST)
    }

    /// The same, with its listeners bound to an address.
    ///
    /// # Panics
    /// When something is wrong with the objects.
    pub fn bound(manifests: &[Manifest], bind: Ipv4Addr) -> Self {
        let source: Name = "bench".into();
        let settings = Settings { sources: vec![source.clone()], bind: bind.into(), ..Settings::default() };
        let (env, problems) = (Env::system(), Problems::default());
        let mut graph = Graph::new(&env, &problems);
        let outputs = correlate::build(&mut graph, &settings);
        let types = vec![
            types::gateway_class(),
            types::gateway(),
            types::http_route(),
            types::reference_grant(),
            types::service(),
            types::endpoint_slice(),
            types::secret(),
        ];
        let decoder = |of: &ResourceType| Decoder::new(source.clone(), of.clone()).with_transform(Transform::LEAN);
        let xds = XdsPublisher::new(xds::Options::default(), problems.clone(), env.clone());
        let mut pipeline = Self {
            decoders: types.iter().map(decoder).collect(),
            types,
            port: OutputPort::new("xds", &env, OutputBuffer::default()),
            graph,
            outputs,
            steps: Steps::default(),
            client: LocalClient::new(&xds),
            xds,
            problems: problems.clone(),
            version: 1,
            first: Vec::new(),
        };
        for manifest in manifests {
            pipeline.feed(manifest);
        }
        pipeline.graph.commit(1, None);
        pipeline.graph.connect(pipeline.port.clone(), model_taps(&pipeline.outputs), 1);
        pipeline.publish();
        pipeline.first = pipeline.respond();
        let problems = pipeline.problems.list();
        assert!(problems.is_empty(), "the world has problems: {problems:#?}");
        pipeline
    }

    /// All that the client was sent at first, once.
    pub fn take_first(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.first)
    }

    /// One object changes.
    pub fn change(&mut self, manifest: &Manifest) -> Outcome {
        self.version += 1;
        let begun = worked();
        self.feed(manifest);
        let decoded = worked();
        self.graph.commit(self.version, None);
        let correlated = worked();
        self.publish();
        let encoded = worked();
        let sent = self.respond();
        let responded = worked();
        let stages = [decoded - begun, correlated - decoded, encoded - correlated, responded - encoded];
        Outcome { sent, stages }
    }

    fn feed(&mut self, manifest: &Manifest) {
        let of = |of: &ResourceType| of.group() == manifest.group && of.kind() == manifest.kind;
        let at = self.types.iter().position(of).unwrap_or_else(|| panic!("nobody reads {}", manifest.kind));
        let object = self.decoders[at].decode(&manifest.json).unwrap_or_else(|error| panic!("{error}"));
        let object = Arc::new(object);
        self.graph.feed(&self.types[at], object.key(), Some(&object));
    }

    fn publish(&mut self) {
        if let Some(batch) = self.port.receive(OutputBuffer::begin) {
            let update = self.steps.step(&batch, &self.outputs);
            self.xds.apply(&update);
            self.port.receive(OutputBuffer::commit);
        }
    }

    fn respond(&mut self) -> Vec<Sent> {
        self.client.catch_up().unwrap_or_else(|violation| panic!("{violation}"))
    }
}
