//! A small world with everything that a graph can do: routes that use backends by grant. Three resource types, one
//! of which grants something; objects that do not parse, panic, or are refused.
//!
//! Invariant: nothing here knows a schedule, a fault or a law.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use tidegate_actors::correlation::{Collection, Graph, View};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::object::Object;
use tidegate_actors::problem::{FieldError, Problems};
use tidegate_actors::testing::ProbeTaps;

/// A resource type of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Route,
    Backend,
    Grant,
}

pub const KINDS: [Kind; 3] = [Kind::Route, Kind::Backend, Kind::Grant];

impl Kind {
    pub fn resource_type(self) -> ResourceType {
        let (kind, plural) = match self {
            Self::Route => ("Route", "routes"),
            Self::Backend => ("Backend", "backends"),
            Self::Grant => ("Grant", "grants"),
        };
        ResourceType::new("laws.test", "v1", kind, plural, Scope::Namespaced)
    }

    /// The path of its type below a source's supervisor.
    pub fn path(self) -> String {
        self.resource_type().plural_and_group()
    }
}

/// What an object says. `n` grows with each change that a view can see.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Spec {
    pub n: u64,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub backend: String,
    #[serde(default)]
    pub rank: u64,
}

/// Ranks that are poison.
pub const REFUSED_BY_PARSE: u64 = 13;
pub const PANICS_IN_PARSE: u64 = 14;
pub const PANICS_IN_FUNCTION: u64 = 66;
pub const REFUSED_BY_FUNCTION: u64 = 67;

impl Spec {
    pub fn body(&self, noise: u64) -> String {
        let Self { n, host, backend, rank } = self;
        let spec = format!(r#"{{"n":{n},"host":"{host}","backend":"{backend}","rank":{rank}}}"#);
        format!(r#""spec":{spec},"noise":{noise}"#)
    }

    /// No view can be made of it.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.rank, REFUSED_BY_PARSE | PANICS_IN_PARSE)
    }

    /// A view can be made of it, but a function fails on it, one way or, unless it is granted, the other.
    pub fn is_explosive(&self) -> bool {
        matches!(self.rank, PANICS_IN_FUNCTION | REFUSED_BY_FUNCTION)
    }
}

/// What an object of any kind says; poison is not refused.
pub fn spec_of(object: &Object) -> Spec {
    #[derive(Deserialize)]
    struct Whole {
        spec: Spec,
    }
    serde_json::from_slice::<Whole>(object.raw()).unwrap().spec
}

/// One version of one instance of an object, as outputs show it.
pub fn version_of(object: &Object) -> String {
    format!("{}@{}", object.uid().unwrap(), spec_of(object).n)
}

#[derive(PartialEq)]
struct Read {
    id: String,
    spec: Spec,
}

fn read(object: &Object) -> Result<Read, Vec<FieldError>> {
    let spec = spec_of(object);
    assert!(spec.rank != PANICS_IN_PARSE, "unreadable");
    if spec.rank == REFUSED_BY_PARSE {
        return Err(vec![FieldError::new("spec.rank", "must not be 13")]);
    }
    Ok(Read { id: version_of(object), spec })
}

macro_rules! view {
    ($name:ident, $closed:expr) => {
        #[derive(PartialEq)]
        struct $name(Read);

        impl View for $name {
            const FAILS_CLOSED: bool = $closed;

            fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
                read(object).map(Self)
            }
        }
    };
}

view!(Route, false);
view!(Backend, false);
view!(Grant, true);

type Texts<K> = Collection<K, String>;

/// The collections that are published.
#[derive(Clone, Copy)]
pub struct Handles {
    badges: Texts<ObjectKey>,
    users: Texts<ObjectKey>,
    fragile: Texts<String>,
    lists: Texts<String>,
    all: Texts<ObjectKey>,
}

pub fn build(graph: &mut Graph) -> Handles {
    let routes = graph.source::<Route>(&Kind::Route.resource_type());
    let backends = graph.source::<Backend>(&Kind::Backend.resource_type());
    let grants = graph.source::<Grant>(&Kind::Grant.resource_type());
    let by_host = graph.index(routes, |_, route: &Route| vec![route.0.spec.host.clone()]);
    let by_backend = graph.index(routes, |_, route: &Route| vec![route.0.spec.backend.clone()]);
    let granting = graph.index(grants, |_, grant: &Grant| vec![grant.0.spec.backend.clone()]);

    let badges = graph.correlate("badges", routes, move |ctx, key, route| {
        let spec = &route.0.spec;
        let of = |source: &str| ObjectKey::namespaced(source, "n", &spec.backend);
        let backend = ctx.fetch(backends, &of(&key.source)).or_else(|| {
            let others = ["east", "west"].into_iter().filter(|source| **source != *key.source);
            others.into_iter().find_map(|source| ctx.fetch(backends, &of(source)))
        });
        let backend = backend.map_or_else(|| "-".to_owned(), |backend| backend.0.id.clone());
        let grants = ctx.fetch_by(granting, &spec.backend);
        let grants: Vec<&str> = grants.iter().map(|(_, grant)| &*grant.0.id).collect();
        let peers = ctx.count(by_host, &spec.host);
        vec![(key.clone(), format!("{} {} peers {peers} backend {backend} by {grants:?}", route.0.id, spec.host))]
    });
    let users = graph.correlate("users", backends, move |ctx, key, backend| {
        let users = ctx.fetch_by(by_backend, &String::from(&*key.name));
        let users: Vec<&str> = users.iter().map(|(_, route)| &*route.0.id).collect();
        vec![(key.clone(), format!("{} used by {users:?}", backend.0.id))]
    });
    // Routes of one host contend for it; the ranks make outputs come and go.
    let fragile = graph.try_correlate("fragile", routes, move |ctx, _, route| {
        let spec = &route.0.spec;
        assert!(spec.rank != PANICS_IN_FUNCTION, "explodes");
        if spec.rank == REFUSED_BY_FUNCTION && ctx.count(granting, &spec.backend) == 0 {
            return Err("is refused".to_owned());
        }
        let id = &route.0.id;
        Ok(vec![(spec.host.clone(), id.clone()), (format!("{}-{}", spec.host, spec.rank), id.clone())])
    });
    let rosters = graph.group("rosters", routes, |key, route: &Route| {
        let spec = &route.0.spec;
        (spec.host.clone(), (spec.rank, key.clone()), Arc::new(route.0.id.clone()))
    });
    let lists = graph.correlate("lists", rosters, |_, host, roster| {
        let ids: Vec<&str> = roster.iter().map(|(_, id)| &***id).collect();
        vec![(host.clone(), ids.join(" "))]
    });
    let special = graph.correlate("special", routes, |_, key, route| {
        let special = route.0.spec.rank < 4;
        special.then(|| (key.clone(), format!("{} special", route.0.id))).into_iter().collect()
    });
    // On another function's outputs.
    let plain = graph.correlate("plain", badges, |_, key, badge: &Arc<String>| {
        vec![(key.clone(), format!("{} plain", badge.split(' ').next().unwrap_or_default()))]
    });
    let all = graph.union("all", &[special, plain]);
    Handles { badges, users, fragile, lists, all }
}

pub fn taps(handles: &Handles) -> ProbeTaps {
    let taps = ProbeTaps::default().tap("badges", handles.badges).tap("users", handles.users);
    taps.tap("fragile", handles.fragile).tap("lists", handles.lists).tap("all", handles.all)
}

/// Everything that is published of some objects, computed from nothing.
pub fn from_scratch<'a>(env: &Env, objects: impl Iterator<Item = &'a Arc<Object>>) -> BTreeMap<String, String> {
    let env = Env { faults: None, ..env.clone() };
    let mut graph = Graph::new(&env, &Problems::default());
    let handles = build(&mut graph);
    for object in objects {
        graph.feed(object.resource_type(), object.key(), Some(object));
    }
    graph.commit(1, None);
    let mut all = BTreeMap::new();
    for (name, texts) in [("badges", handles.badges), ("users", handles.users), ("all", handles.all)] {
        all.extend(graph.list(texts).into_iter().map(|(k, v)| (format!("{name}/{k:?}"), format!("{v:?}"))));
    }
    for (name, texts) in [("fragile", handles.fragile), ("lists", handles.lists)] {
        all.extend(graph.list(texts).into_iter().map(|(k, v)| (format!("{name}/{k:?}"), format!("{v:?}"))));
    }
    all
}

/// How many keys all published collections can hold, for a number of routes, backends and hosts.
pub fn most_outputs(routes: usize, backends: usize, hosts: &BTreeSet<&str>) -> usize {
    let ranks = 8;
    3 * routes + backends + hosts.len() * (2 + ranks)
}
