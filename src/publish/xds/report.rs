//! What a client's session tells the rest of the world: metrics, and problems on the objects that it rejects.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::id::Name;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tokio::time::Instant;

use super::kind::Kind;
use super::resource::Resource;
use super::session::Event;

/// So many objects are named as possible causes of one rejection.
const MAX_OBJECTS: usize = 16;

/// One client's voice. Takes everything back when it is dropped: what an absent client thinks is not known.
pub struct Report {
    problems: Problems,
    scope: String,
    client: u64,
    standing: BTreeMap<(Kind, Name), usize>,
}

impl Report {
    /// For a client with this number, of this node.
    pub fn new(problems: Problems, node: &str, client: u64) -> Self {
        Self { problems, scope: format!("xds/{node}"), client, standing: BTreeMap::new() }
    }

    /// A response of so many bytes went out.
    pub fn pushed(kind: Kind, bytes: usize) {
        metrics::counter!("tidegate_xds_pushes_total", "type" => kind.label()).increment(1);
        metrics::counter!("tidegate_xds_bytes_total", "type" => kind.label()).increment(bytes as u64);
    }

    /// Something happened.
    pub fn tell(&mut self, event: Event, now: Instant) {
        match event {
            Event::Acked { kind, since } => {
                metrics::counter!("tidegate_xds_acks_total", "type" => kind.label()).increment(1);
                if let Some(since) = since {
                    let took = now.saturating_duration_since(since);
                    metrics::histogram!("tidegate_xds_event_to_ack_seconds", "type" => kind.label()).record(took);
                }
            }
            Event::Nacked { kind } => {
                metrics::counter!("tidegate_xds_nacks_total", "type" => kind.label()).increment(1);
            }
            Event::Held { resource, good, reason } => self.hold(&resource, good, &reason),
            Event::Healed { kind, name } => self.heal(kind, &name),
        }
    }

    fn hold(&mut self, resource: &Arc<Resource>, good: Option<Arc<Resource>>, reason: &str) {
        let (kind, name) = (resource.kind, &resource.name);
        self.heal(kind, name);
        let mut objects: Vec<_> = resource.suspects(good.as_deref()).into_iter().map(Some).collect();
        objects.truncate(MAX_OBJECTS);
        if objects.is_empty() {
            objects.push(None);
        }
        let node = self.scope.trim_start_matches("xds/");
        tracing::warn!(node, kind = %kind, name = %name, reason, "a proxy rejects a resource; it is held back");
        for (at, object) in objects.iter().enumerate() {
            let problem = Problem {
                place: String::new(),
                object: object.clone(),
                field: String::new(),
                reason: format!("the proxy {node} rejects {kind} {name}: {reason}"),
                serving: if good.is_some() { Serving::LastGood } else { Serving::Nothing },
            };
            self.problems.set(&self.scope, &self.id(kind, name, at), problem);
        }
        self.standing.insert((kind, name.clone()), objects.len());
        metrics::gauge!("tidegate_xds_held_back").increment(1);
    }

    fn heal(&mut self, kind: Kind, name: &Name) {
        if let Some(count) = self.standing.remove(&(kind, name.clone())) {
            for at in 0..count {
                self.problems.clear(&self.scope, &self.id(kind, name, at));
            }
            metrics::gauge!("tidegate_xds_held_back").decrement(1);
        }
    }

    fn id(&self, kind: Kind, name: &Name, at: usize) -> String {
        format!("{}/{kind}/{name}/{at}", self.client)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        while let Some(((kind, name), _)) = self.standing.first_key_value() {
            let (kind, name) = (*kind, name.clone());
            self.heal(kind, &name);
        }
    }
}
