//! HTTPRoute: hosts, rules, and where they attach. What makes the object unusable as a whole is an error of
//! the view; a rule that we cannot do stays in the view and says why.
//!
//! There are many routes, so that a view is small: its lists have no spare room, what a rule seldom has is apart, and
//! what rules of one route have in common is held once.

mod filter;
mod matching;
mod raw;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidegate_actors::id::Name;

pub use filter::{Filter, HeaderEdits, PathChange, Redirect, RequestMirror, UrlRewrite};
pub use matching::{PathTest, RouteMatch, ValueTest};

use super::field::{Checks, FieldError, from_json};
use super::format;
use super::gateway::{ObjectReference, RawReference};
use super::meta::Kind;
use super::shared::shared;
use super::types::GATEWAY_GROUP;

/// What we read of an HTTPRoute.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRoute {
    /// Where it attaches, in the order of the spec.
    pub parents: Box<[ParentRef]>,
    /// Its hosts; all if empty.
    pub hostnames: Box<[Name]>,
    /// At least one.
    pub rules: Box<[Rule]>,
}

/// A reference to what a route attaches to; status repeats it as it stands in the spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Group.
    pub group: Name,
    /// Kind.
    pub kind: Name,
    /// Namespace; the route's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Name.
    pub name: Name,
    /// One listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<Name>,
    /// All listeners on a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A rule of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Any of these; `None` for one that we cannot do. Never empty.
    pub matches: Box<[Option<RouteMatch>]>,
    /// In the order of the spec.
    pub filters: Arc<[Filter]>,
    /// Weighted destinations.
    pub backends: Arc<[BackendRef]>,
    /// What few rules have.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rare {
    request_timeout: Option<Duration>,
    backend_timeout: Option<Duration>,
    unsupported: Vec<FieldError>,
}

impl Rule {
    /// Limit for the request with its answer; zero for none.
    pub fn request_timeout(&self) -> Option<Duration> {
        self.rare.as_ref()?.request_timeout
    }

    /// Limit for one attempt; zero for none.
    pub fn backend_timeout(&self) -> Option<Duration> {
        self.rare.as_ref()?.backend_timeout
    }

    /// Why the rule cannot be used, if it cannot.
    pub fn unsupported(&self) -> &[FieldError] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unsupported)
    }
}

/// A weighted destination.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendRef {
    /// What it is.
    pub target: ObjectReference,
    /// Port of the Service.
    pub port: Option<u16>,
    /// From 0 to 1,000,000.
    pub weight: u32,
    /// Edits of the headers for this destination.
    pub filters: Box<[Filter]>,
}

impl Kind for HttpRoute {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let raw::Route { spec } = from_json(raw, checks)?;
        Some(checks.field("spec", |c| {
            let parents = c.each("parentRefs", 32, spec.parent_refs.unwrap_or_default(), parent);
            c.field("parentRefs", |c| distinct(c, &parents));
            let hostname = |c: &mut Checks, text| format::hostname(c, text);
            let rules = spec.rules.unwrap_or_else(|| vec![raw::Rule::default()]);
            c.field("rules", |c| {
                c.ensure(!rules.is_empty(), "must have at least one rule");
                let total: usize = rules.iter().map(|rule| rule.matches.as_ref().map_or(1, Vec::len)).sum();
                c.ensure(total <= 128, "must have at most 128 matches over all rules");
            });
            let hostnames = c.each("hostnames", 16, spec.hostnames.unwrap_or_default(), hostname);
            let mut rules = c.each("rules", 16, rules, rule);
            share(&mut rules);
            Self { parents: parents.into(), hostnames: hostnames.into(), rules: rules.into() }
        }))
    }
}

impl HttpRoute {
    /// The references to parents that are well formed, of an object that may otherwise be broken; each once.
    pub fn parents_of(raw: &[u8]) -> Vec<ParentRef> {
        let Ok(raw::Loose { spec: raw::LooseSpec { parent_refs } }) = serde_json::from_slice(raw) else {
            return Vec::new();
        };
        let mut parents: Vec<ParentRef> = Vec::new();
        for value in parent_refs {
            let mut checks = Checks::default();
            let Ok(read) = serde_json::from_value(value) else { continue };
            let read = parent(&mut checks, read);
            if checks.errors.is_empty() && !parents.contains(&read) {
                parents.push(read);
            }
        }
        parents
    }
}

/// Equal lists of one route's rules become one.
fn share(rules: &mut [Rule]) {
    for at in 1..rules.len() {
        let (earlier, rest) = rules.split_at_mut(at);
        let Some(rule) = rest.first_mut() else { return };
        if let Some(same) = earlier.iter().find(|earlier| earlier.filters == rule.filters) {
            rule.filters = same.filters.clone();
        }
        if let Some(same) = earlier.iter().find(|earlier| earlier.backends == rule.backends) {
            rule.backends = same.backends.clone();
        }
    }
}

/// Of no items there is one list for all; otherwise of exactly as many as there are.
fn list<T>(items: Vec<T>) -> Arc<[T]> {
    if items.is_empty() { Arc::default() } else { items.into() }
}

fn parent(c: &mut Checks, raw: raw::ParentRef) -> ParentRef {
    let group = raw.group.unwrap_or_else(|| GATEWAY_GROUP.to_owned());
    let kind = raw.kind.unwrap_or_else(|| "Gateway".to_owned());
    ParentRef {
        group: c.field("group", |c| format::group(c, group)),
        kind: c.field("kind", |c| format::kind(c, kind)),
        namespace: c.field("namespace", |c| raw.namespace.map(|text| format::namespace(c, text))),
        // Many routes have one parent.
        name: c.field("name", |c| shared(&format::object_name(c, raw.name))),
        section_name: c.field("sectionName", |c| {
            raw.section_name.filter(|text| !text.is_empty()).map(|text| format::section_name(c, text))
        }),
        port: c.field("port", |c| raw.port.map(|number| format::port(c, number))),
    }
}

/// References to one parent must set the same fields, to different values.
fn distinct(c: &mut Checks, parents: &[ParentRef]) {
    for (at, one) in parents.iter().enumerate() {
        let same_parent = |other: &&ParentRef| {
            (&other.group, &other.kind, &other.namespace, &other.name)
                == (&one.group, &one.kind, &one.namespace, &one.name)
        };
        for other in parents[..at].iter().filter(same_parent) {
            let fields = |p: &ParentRef| (p.section_name.is_some(), p.port.is_some());
            let values = |p: &ParentRef| (p.section_name.clone(), p.port);
            let ok = fields(one) == fields(other) && values(one) != values(other);
            let reason = "refers to a parent that is named before; both need a sectionName or port, and different ones";
            c.index(at, |c| c.ensure(ok, reason));
        }
    }
}

fn rule(c: &mut Checks, raw: raw::Rule) -> Rule {
    let (unsupported, refused) = (c.unsupported.len(), c.refused.len());
    let raw_matches = raw.matches.filter(|matches| !matches.is_empty());
    let raw_matches = raw_matches.unwrap_or_else(|| vec![raw::Match::default()]);
    let matches = c.each("matches", 64, raw_matches, matching::read);
    let filters = c.some("filters", 16, raw.filters.unwrap_or_default(), filter::read);
    c.field("filters", |c| filter::compatible(c, &filters));
    let backends = c.each("backendRefs", 16, raw.backend_refs.unwrap_or_default(), backend);
    let is_redirect = |filter: &Filter| matches!(filter, Filter::Redirect(_));
    if !backends.is_empty() && filters.iter().any(is_redirect) {
        c.field("backendRefs", |c| c.error("must not be given together with a RequestRedirect filter"));
    }
    if filters.iter().any(Filter::replaces_prefix)
        && !matches!(&*matches, [None] | [Some(RouteMatch { path: PathTest::Prefix(_), .. })])
    {
        c.field("matches", |c| {
            c.error("must be exactly one, with a PathPrefix, where a filter has ReplacePrefixMatch")
        });
    }
    let timeouts = raw.timeouts.unwrap_or_default();
    let (request_timeout, backend_timeout) = c.field("timeouts", |c| {
        let read = |c: &mut Checks, text: &str| format::duration(c, text);
        let request = c.field("request", |c| timeouts.request.as_deref().map(|text| read(c, text)));
        let backend = c.field("backendRequest", |c| timeouts.backend_request.as_deref().map(|text| read(c, text)));
        if let (Some(request), Some(backend)) = (request, backend) {
            let ok = request.is_zero() || backend <= request;
            c.field("backendRequest", |c| c.ensure(ok, "must not be longer than request"));
        }
        (request, backend)
    });
    let unsupported = c.unsupported[unsupported..].iter().chain(&c.refused[refused..]).cloned().collect();
    let rare = Rare { request_timeout, backend_timeout, unsupported };
    let rare = (rare != Rare::default()).then(|| Box::new(rare));
    Rule { matches: matches.into(), filters: list(filters), backends: list(backends), rare }
}

fn backend(c: &mut Checks, raw: raw::Backend) -> BackendRef {
    let (target, port, weight, filters) = raw.split();
    let (target, port) = destination(c, target, port);
    let weight = c.field("weight", |c| match u32::try_from(weight.unwrap_or(1)) {
        Ok(weight) if weight <= 1_000_000 => weight,
        _ => {
            c.error("must be from 0 to 1000000");
            1
        }
    });
    let filters = c.some("filters", 16, filters, |c, raw| {
        let filter = filter::read(c, raw)?;
        if matches!(filter, Filter::RequestHeaders(_) | Filter::ResponseHeaders(_)) {
            return Some(filter);
        }
        c.refuse("is a filter that is supported for a rule, but not for one of its backends");
        None
    });
    c.field("filters", |c| filter::compatible(c, &filters));
    BackendRef { target, port, weight, filters: filters.into() }
}

/// What a backend or a mirror refers to.
fn destination(c: &mut Checks, target: RawReference, port: Option<i64>) -> (ObjectReference, Option<u16>) {
    let target = target.read(c, "", "Service");
    let port = c.field("port", |c| {
        let is_service = target.group.is_empty() && &*target.kind == "Service";
        c.ensure(port.is_some() || !is_service, "is required for a Service");
        port.map(|number| format::port(c, number))
    });
    (target, port)
}
