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
fn concerned(cache: &Cache, resource: &Resource, suspects: Vec<ObjectRef>) -> BTreeMap<ObjectRef, (Part, bool)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::rejections::spell;
    use crate::publish::xds::cache::View;
    use crate::publish::xds::scope::Scope;
    use crate::publish::xds::testing::*;

    struct Rig {
        cache: Cache,
        problems: Problems,
        rejections: Rejections,
    }

    impl Rig {
        fn new(update: &Update) -> Self {
            let mut cache = Cache::default();
            let step = cache.prepare(&update.0);
            cache.commit(step);
            Self { cache, problems: Problems::default(), rejections: Rejections::default() }
        }

        fn client(&self, node: &str, number: u64) -> Report {
            Report::new(self.problems.clone(), self.rejections.clone(), node, number)
        }

        fn reject(&self, client: &mut Report, kind: Kind, name: &str, good: bool) {
            let resource = self.cache.get(kind, name, &View { scope: Scope::All, inline: false }).unwrap();
            let good = good.then(|| resource.clone());
            let event = Event::Held { resource, good, reason: "bad".to_owned() };
            client.tell(event, Instant::now(), &self.cache);
        }

        /// What is said of an object, and of which part.
        fn said(&self, kind: &str, name: &str) -> Vec<(String, Part)> {
            let all = self.rejections.of(&mk_object(kind, name));
            all.iter().map(|of| (spell([of], true), of.part.clone())).collect()
        }
    }

    fn mk_listeners(name: &str) -> Part {
        Part::Listeners(BTreeSet::from([Name::from(name)]))
    }

    #[test]
    fn a_rejected_listener_is_told_on_the_gateways_that_share_it() {
        let rig = Rig::new(&Update::to(1).listener(mk_http_listener(80, &["one", "two"])));
        let mut client = rig.client("envoy", 1);
        rig.reject(&mut client, Kind::Listener, "127.0.0.1:80", false);
        let expected = "the proxy envoy rejects the listener 127.0.0.1:80: bad; nothing of it is served there";
        for gateway in ["one", "two"] {
            assert_eq!(rig.said("Gateway", gateway), [(expected.to_owned(), mk_listeners("http"))]);
        }
        client.tell(Event::Healed { kind: Kind::Listener, name: "127.0.0.1:80".into() }, Instant::now(), &rig.cache);
        assert!(rig.rejections.all().is_empty() && rig.problems.list().is_empty());
    }

    #[test]
    fn a_rejected_certificate_is_told_on_its_secret_and_on_the_listener_that_shows_it() {
        let chains = ["a", "b"].map(|name| mk_https_chain("public", name, &[], &[name]));
        let listener = crate::model::Listener { id: mk_listener_id(443), chains: chains.to_vec() };
        let rig = Rig::new(&Update::to(1).listener(listener).secret(mk_secret("a", "chain", "key")));
        let mut client = rig.client("envoy", 1);
        rig.reject(&mut client, Kind::Secret, "test/apps/a", true);
        let [(of_secret, part)] = &rig.said("Secret", "a")[..] else { panic!("one rejection of the Secret") };
        assert!(of_secret.contains("rejects the certificate test/apps/a: bad; what it accepted last"), "{of_secret}");
        assert_eq!(*part, Part::Whole);
        let of_gateway = rig.said("Gateway", "public");
        assert_eq!(of_gateway.len(), 1);
        assert_eq!(of_gateway[0].1, mk_listeners("a"), "and not its neighbour");
    }

    #[test]
    fn a_rejected_cluster_is_told_on_its_service_and_on_the_routes_that_lead_there() {
        let table = mk_table(80);
        let all = || crate::model::PathMatch::Prefix("/".into());
        let hosts = [("a.test", "one", "web"), ("b.test", "two", "other")];
        let hosts = hosts.map(|(host, route, to)| mk_host(&table, host, [mk_route(route, all(), mk_forward(to))]));
        let update = hosts.into_iter().fold(Update::to(1).service("web", &[]).service("other", &[]), Update::host);
        let rig = Rig::new(&update.listener(mk_http_listener(80, &["public"])));
        let mut clients = [rig.client("envoy", 1), rig.client("envoy", 2)];
        clients.iter_mut().for_each(|client| rig.reject(client, Kind::Cluster, "test/apps/web/80", false));
        assert_eq!(rig.said("Service", "web").len(), 2, "each client speaks for itself");
        assert_eq!(rig.said("HTTPRoute", "one").len(), 2);
        assert!(rig.said("HTTPRoute", "two").is_empty() && rig.said("Service", "other").is_empty());
        let [one, two] = clients;
        drop(one);
        assert_eq!(rig.said("HTTPRoute", "one").len(), 1);
        drop(two);
        assert!(rig.rejections.all().is_empty() && rig.problems.list().is_empty(), "what went says nothing any more");
    }
}
