//! A history of changes through the graph that computes only what they touch, against a graph that sees the end of it.
//!
//! Oracle: whatever came before, and however it was split into commits, model, conditions and problems are those of a
//! computation from scratch, and proxies are sent, byte by byte, what they would be sent then.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::correlate::{self, Outputs, Settings};
use tidegate::publish::step::{Steps, model_taps, whole};
use tidegate::publish::xds::{Options, XdsPublisher};
use tidegate_actors::correlation::{Graph, OutputBuffer, OutputPort};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ResourceType};
use tidegate_actors::object::Decoder;
use tidegate_actors::problem::Problems;
use tidegate_actors::testing;

use crate::input::Input;
use crate::world::{Edit, SOURCES, any_edit, class};

struct Rig {
    env: Env,
    graph: Graph,
    outputs: Outputs,
    problems: Problems,
    version: u64,
}

/// Edits, and now and then a commit.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(256)]);
    let mut lived = Rig::new();
    let port = OutputPort::new("xds", &lived.env, OutputBuffer::default());
    let mut steps = Steps::default();
    let sent = XdsPublisher::new(Options::default(), Problems::default(), lived.env.clone());
    let mut last: BTreeMap<(ResourceType, ObjectKey), Edit> = BTreeMap::new();
    let first = class();
    lived.feed(&first);
    last.insert((first.resource_type.clone(), key(&first)), first);
    lived.commit();
    lived.graph.connect(port.clone(), model_taps(&lived.outputs), 1);
    let mut publish = |lived: &Rig| {
        if let Some(batch) = port.receive(OutputBuffer::begin) {
            sent.apply(&steps.step(&batch, &lived.outputs));
            port.receive(OutputBuffer::commit);
        }
    };
    publish(&lived);
    while !input.is_empty() {
        if input.below(4) == 3 {
            lived.commit();
            if input.flag() {
                publish(&lived);
            }
            continue;
        }
        let edit = any_edit(&mut input);
        lived.feed(&edit);
        last.insert((edit.resource_type.clone(), key(&edit)), edit);
    }
    lived.commit();
    publish(&lived);

    let mut fresh = Rig::new();
    for edit in last.values() {
        fresh.feed(edit);
    }
    fresh.commit();
    let (found, expected) = (lived.everything(), fresh.everything());
    for (what, expected) in expected {
        assert_eq!(found[what], expected, "{what}");
    }
    let from_scratch = XdsPublisher::new(Options::default(), Problems::default(), fresh.env.clone());
    from_scratch.apply(&whole(&fresh.graph, &fresh.outputs, 1));
    assert_eq!(resources(&sent), resources(&from_scratch));
}

fn key(edit: &Edit) -> ObjectKey {
    match edit.namespace {
        Some(namespace) => ObjectKey::namespaced(edit.source, namespace, &edit.name),
        None => ObjectKey::cluster(edit.source, &edit.name),
    }
}

fn resources(publisher: &XdsPublisher) -> Vec<(String, String, bytes::Bytes)> {
    let all = publisher.resources().into_iter();
    all.map(|resource| (format!("{} {}", resource.kind, resource.name), resource.version, resource.body)).collect()
}

impl Rig {
    fn new() -> Self {
        let ((env, _), problems) = (testing::env(1), Problems::default());
        let mut graph = Graph::new(&env, &problems);
        let settings = Settings { sources: SOURCES.map(Into::into).to_vec(), ..Settings::default() };
        let outputs = correlate::build(&mut graph, &settings);
        Self { env, graph, outputs, problems, version: 0 }
    }

    fn feed(&mut self, edit: &Edit) {
        let object = edit.object.as_ref().map(|object| {
            let decoder = Decoder::new(edit.source.into(), edit.resource_type.clone());
            Arc::new(decoder.decode(object.to_string()).expect("all shapes are good"))
        });
        self.graph.feed(&edit.resource_type, &key(edit), object.as_ref());
    }

    fn commit(&mut self) {
        self.version += 1;
        self.graph.commit(self.version, None);
    }

    fn everything(&self) -> BTreeMap<&'static str, Vec<String>> {
        let (graph, outputs) = (&self.graph, &self.outputs);
        let problems = self.problems.list().into_iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect();
        let hosts = graph.list(outputs.virtual_hosts);
        let hosts = hosts.iter().map(|(id, host)| {
            let routes: Vec<_> = host.routes.iter().collect();
            format!("{id} {:?} {routes:?}", host.gateway)
        });
        BTreeMap::from([
            ("listeners", graph.list(outputs.listeners).iter().map(|entry| format!("{entry:?}")).collect()),
            ("virtual hosts", hosts.collect()),
            ("clusters", graph.list(outputs.clusters).iter().map(|entry| format!("{entry:?}")).collect()),
            ("endpoints", graph.list(outputs.endpoints).iter().map(|entry| format!("{entry:?}")).collect()),
            ("secrets", graph.list(outputs.secrets).iter().map(|entry| format!("{entry:?}")).collect()),
            ("statuses", graph.list(outputs.statuses).iter().map(|entry| format!("{entry:?}")).collect()),
            ("problems", problems),
        ])
    }
}
