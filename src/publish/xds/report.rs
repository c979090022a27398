//! What a client's session tells the rest of the world: metrics, problems on the objects that it rejects, and to each
//! object that this concerns, that it is rejected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::problem::{Problem, Problems, Serving};
use tokio::time::Instant;

use super::cache::Cache;
use super::kind::Kind;
use super::resource::{Resource, Source};
use super::session::Event;
use crate::publish::rejections::{Part, Rejection, Rejections};

/// So many objects are named as possible causes of one rejection.
const MAX_OBJECTS: usize = 16;

/// One client's voice. Takes everything back when it is dropped: what an absent client thinks is not known.
pub struct Report {
    problems: Problems,
    rejections: Rejections,
    node: Name,
    scope: String,
    client: u64,
    standing: BTreeMap<(Kind, Name), Standing>,
}

/// What was said of one resource.
struct Standing {
    problems: usize,
    objects: BTreeSet<ObjectRef>,
}

impl Report {
    /// For a client with this number, of this node.
    pub fn new(problems: Problems, rejections: Rejections, node: &str, client: u64) -> Self {
        let scope = format!("xds/{node}");
        Self { problems, rejections, node: node.into(), scope, client, standing: BTreeMap::new() }
    }

    /// A response of so many bytes went out.
    pub fn pushed(kind: Kind, bytes: usize) {
        metrics::counter!("tidegate_xds_pushes_total", "type" => kind.label()).increment(1);
        metrics::counter!("tidegate_xds_bytes_total", "type" => kind.label()).increment(bytes as u64);
    }

    /// Something happened.
    pub fn tell(&mut self, event: Event, now: Instant, cache: &Cache) {
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
            Event::Held { resource, good, reason } => self.hold(cache, &resource, good, &reason),
            Event::Healed { kind, name } => self.heal(kind, &name),
        }
    }

    fn hold(&mut self, cache: &Cache, resource: &Arc<Resource>, good: Option<Arc<Resource>>, reason: &str) {
        let (kind, name) = (resource.kind, &resource.name);
        self.heal(kind, name);
        let suspects = resource.suspects(good.as_deref());
        let node = self.node.clone();
        tracing::warn!(%node, kind = %kind, name = %name, reason, "a proxy rejects a resource; it is held back");
        let mut objects: Vec<_> = suspects.iter().cloned().map(Some).take(MAX_OBJECTS).collect();
        if objects.is_empty() {
            objects.push(None);
        }
        let serving = if good.is_some() { Serving::LastGood } else { Serving::Nothing };
        for (at, object) in objects.iter().enumerate() {
            let problem = Problem {
                place: String::new(),
                object: object.clone(),
                field: String::new(),
                reason: format!("the proxy {node} rejects {kind} {name}: {reason}"),
                serving,
            };
            self.problems.set(&self.scope, &self.id(kind, name, at), problem);
        }
        let (what, reason) = (format!("{} {name}", noun(kind)), reason.to_owned());
        let rejection = Rejection { proxy: node, what, reason, serving, suspects: suspects.len(), part: Part::Whole };
        let concerned = concerned(cache, resource, suspects);
        let id = self.id(kind, name, 0);
        for (object, (part, suspect)) in &concerned {
            let suspects = if *suspect { rejection.suspects } else { 0 };
            self.rejections.set(object, &id, Rejection { suspects, part: part.clone(), ..rejection.clone() });
        }
        let standing = Standing { problems: objects.len(), objects: concerned.into_keys().collect() };
        self.standing.insert((kind, name.clone()), standing);
        metrics::gauge!("tidegate_xds_held_back").increment(1);
    }

    fn heal(&mut self, kind: Kind, name: &Name) {
        if let Some(Standing { problems, objects }) = self.standing.remove(&(kind, name.clone())) {
            for at in 0..problems {
                self.problems.clear(&self.scope, &self.id(kind, name, at));
            }
            let id = self.id(kind, name, 0);
            objects.iter().for_each(|object| self.rejections.clear(object, &id));
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

/// A type of resources as people call it.
fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "cluster",
        Kind::Endpoints => "endpoints",
        Kind::Secret => "certificate",
        Kind::Listener => "listener",
        Kind::RouteConfig => "routing table",
        Kind::VirtualHost => "virtual host",
    }
}

/// Which objects a rejected resource concerns: those that may be the cause, and those that it is there for; which part
/// of each; and whether it may be the cause.
fn concerned(
    cache: &Cache,
    resource: &Resource,
    suspects: Vec<ObjectRef>,
) -> BTreeMap<ObjectRef, (Part, bool)> {
    let mut all: BTreeMap<ObjectRef, (Part, bool)> = BTreeMap::new();
    let of_listeners = |listeners: Vec<(ObjectRef, Name)>, suspect: bool| {
        let mut parts: BTreeMap<ObjectRef, BTreeSet<Name>> = BTreeMap::new();
        for (gateway, name) in listeners {
            parts.entry(gateway).or_default().insert(name);
        }
        parts.into_iter().map(move |(gateway, names)| (gateway, (Part::Listeners(names), suspect)))
    };
    let attached = || Part::Gateways(resource.gateways.clone());
    match &resource.source {
        Source::Listener(listener) => {
            let listeners = listener.chains.iter().flat_map(|chain| chain.listeners.iter().cloned());
            all.extend(of_listeners(listeners.collect(), true));
        }
        Source::Secret(_) => all.extend(of_listeners(cache.listeners_with(&resource.name), false)),
        Source::Cluster(_) | Source::Endpoints(_) => {
            let routes = cache.objects_leading_to(&resource.name).into_iter();
            all.extend(routes.map(|route| (route, (attached(), false))));
        }
        Source::Host(_) | Source::Table(_) | Source::Fixed => {
            return suspects.into_iter().take(MAX_OBJECTS).map(|object| (object, (attached(), true))).collect();
        }
    }
    for object in suspects.into_iter().take(MAX_OBJECTS) {
        all.entry(object).or_insert((Part::Whole, true));
    }
    all
}
