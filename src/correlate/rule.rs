//! One rule of a route, translated: what happens to the requests that it matches.
//!
//! Laws: it never fails; a rule that cannot be used answers 500, a destination that cannot be used has its share
//! answered 500; whatever is wrong comes back beside the action.

use tidegate_actors::id::Name;

use super::status::reason;
use crate::model::{
    Backend, ClusterId, HeaderEdit, HostRewrite, Match, Matcher, Mirror, PathMatch, PathRewrite, Redirect, RouteAction,
    RouteFilters, Timeouts,
};
use crate::resource::field;
use crate::resource::gateway::ObjectReference;
use crate::resource::http_route::{
    Filter, HeaderEdits, PathChange, PathTest, Redirect as RedirectFilter, RouteMatch, Rule, ValueTest,
};

/// What translating a rule reads.
pub trait Backends {
    /// The cluster of a destination, or why there is none.
    fn cluster(&mut self, to: &ObjectReference, port: Option<u16>) -> Result<ClusterId, RefProblem>;
}

/// Why a reference of a route is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct RefProblem {
    /// The reason of the condition `ResolvedRefs`.
    pub reason: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// A translated rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// What happens; a redirect is still without the port that depends on the listener.
    pub action: RouteAction,
    /// Header edits.
    pub filters: RouteFilters,
    /// The port that a redirect names itself.
    pub redirect_port: Option<u16>,
    /// Broken references.
    pub problems: Vec<RefProblem>,
    /// Why the rule cannot be used, if so.
    pub invalid: Option<String>,
}

impl Translated {
    /// The action on a listener. Only redirects differ: the port of `Location` is the rule's own, or the one that
    /// goes with the rule's scheme, or else the listener's; it is left out where the scheme says it already.
    pub fn action_on(&self, listener_port: u16, secure: bool) -> RouteAction {
        let RouteAction::Redirect(redirect) = &self.action else { return self.action.clone() };
        let well_known = |scheme: &str| if scheme == "https" { 443 } else { 80 };
        let scheme = redirect.scheme.as_deref().unwrap_or(if secure { "https" } else { "http" });
        let implied = if redirect.scheme.is_some() { well_known(scheme) } else { listener_port };
        let port = self.redirect_port.unwrap_or(implied);
        RouteAction::Redirect(Redirect { port: (port != well_known(scheme)).then_some(port), ..redirect.clone() })
    }

    /// Whether the action is the same on all listeners.
    pub fn is_the_same_everywhere(&self) -> bool {
        !matches!(self.action, RouteAction::Redirect(_))
    }

    /// The clusters that it sends requests to.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterId> {
        let (backends, mirrors) = match &self.action {
            RouteAction::Forward { backends, mirrors, .. } => (&**backends, &**mirrors),
            _ => (&[][..], &[][..]),
        };
        backends.iter().filter_map(|b| b.cluster.as_ref()).chain(mirrors.iter().map(|mirror| &mirror.cluster))
    }
}

/// Translates a rule.
pub fn translate(rule: &Rule, world: &mut impl Backends) -> Translated {
    let mut problems = Vec::new();
    let (backends, wants_backends) = backends(rule, world, &mut problems);
    let mirrors = mirrors(rule, world, &mut problems);
    let mut translated = Translated {
        action: RouteAction::Respond { status: 500, reason: String::new() },
        filters: headers(&rule.filters),
        redirect_port: None,
        problems,
        invalid: None,
    };
    if !rule.unsupported().is_empty() {
        let reasons: Vec<String> = rule.unsupported().iter().map(field::spell).collect();
        let reasons = reasons.join("; ");
        translated.action = RouteAction::Respond { status: 500, reason: format!("the rule is invalid: {reasons}") };
        translated.filters = RouteFilters::default();
        translated.invalid = Some(reasons);
        return translated;
    }
    let redirect = rule.filters.iter().find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some(&**redirect),
        _ => None,
    });
    if let Some(filter) = redirect {
        translated.redirect_port = filter.port;
        translated.action = RouteAction::Redirect(redirect_to(filter));
        return translated;
    }
    let reason = match (wants_backends, backends.iter().any(|backend| backend.cluster.is_some())) {
        (_, true) => {
            translated.action = forward(rule, backends, mirrors);
            return translated;
        }
        (false, _) => "the rule has no backend with a weight above 0",
        (true, false) => "no backend of the rule can be used",
    };
    translated.action = RouteAction::Respond { status: 500, reason: reason.to_owned() };
    translated
}

/// The destinations with a weight, and whether there are any.
fn backends(rule: &Rule, world: &mut impl Backends, problems: &mut Vec<RefProblem>) -> (Vec<Backend>, bool) {
    let mut backends = Vec::with_capacity(rule.backends.len());
    for backend in rule.backends.iter() {
        let cluster = world.cluster(&backend.target, backend.port);
        // A weight of 0 takes no traffic, but a broken reference is reported all the same.
        let cluster = cluster.map_err(|problem| problems.push(problem)).ok();
        if backend.weight > 0 {
            backends.push(Backend { cluster, weight: backend.weight, filters: headers(&backend.filters) });
        }
    }
    let any = !backends.is_empty();
    (backends, any)
}

fn mirrors(rule: &Rule, world: &mut impl Backends, problems: &mut Vec<RefProblem>) -> Vec<Mirror> {
    let mirrors = rule.filters.iter().filter_map(|filter| {
        let Filter::Mirror(mirror) = filter else { return None };
        // A mirror that cannot be used is left out, and the rest of the rule stays.
        let cluster = world.cluster(&mirror.target, mirror.port).map_err(|problem| problems.push(problem)).ok()?;
        (mirror.fraction.0 > 0).then_some(Mirror { cluster, fraction: mirror.fraction })
    });
    mirrors.collect()
}

fn forward(rule: &Rule, backends: Vec<Backend>, mirrors: Vec<Mirror>) -> RouteAction {
    let rewrite = rule.filters.iter().find_map(|filter| match filter {
        Filter::Rewrite(rewrite) => Some(rewrite),
        _ => None,
    });
    RouteAction::Forward {
        backends,
        mirrors,
        path_rewrite: rewrite.and_then(|rewrite| rewrite.path.as_ref()).map(path_rewrite),
        host_rewrite: rewrite.and_then(|rewrite| rewrite.hostname.clone()).map(HostRewrite),
        timeouts: Timeouts { request: rule.request_timeout(), backend_request: rule.backend_timeout() },
    }
}

fn redirect_to(filter: &RedirectFilter) -> Redirect {
    Redirect {
        scheme: filter.scheme.clone(),
        host: filter.hostname.clone(),
        port: None,
        path: filter.path.as_ref().map(path_rewrite),
        status: filter.status,
    }
}

fn path_rewrite(change: &PathChange) -> PathRewrite {
    match change {
        PathChange::Full(path) => PathRewrite::Full(path.clone()),
        PathChange::Prefix(path) => PathRewrite::Prefix(path.clone()),
    }
}

fn headers(filters: &[Filter]) -> RouteFilters {
    let edit = |edits: &HeaderEdits| HeaderEdit {
        set: edits.set.to_vec(),
        add: edits.add.to_vec(),
        remove: edits.remove.to_vec(),
    };
    let mut found = RouteFilters::default();
    for filter in filters {
        match filter {
            Filter::RequestHeaders(edits) => found.request = edit(edits),
            Filter::ResponseHeaders(edits) => found.response = edit(edits),
            _ => {}
        }
    }
    found
}

/// A match, as the model has it.
pub fn matching(of: &RouteMatch) -> Match {
    let path = match &of.path {
        PathTest::Exact(path) => PathMatch::Exact(path.clone()),
        PathTest::Prefix(path) => PathMatch::Prefix(path.clone()),
        PathTest::Regex(path) => PathMatch::Regex(path.clone()),
    };
    let values = |tests: &[(Name, ValueTest)]| {
        let test = |(name, test): &(Name, ValueTest)| match test {
            ValueTest::Exact(value) => (name.clone(), Matcher::Exact(value.clone())),
            ValueTest::Regex(value) => (name.clone(), Matcher::Regex(value.clone())),
        };
        tests.iter().map(test).collect()
    };
    Match { path, method: of.method.clone(), headers: values(&of.headers), query: values(&of.query) }
}

/// What is said of a destination that is not found.
pub fn not_found(to: &ObjectReference, namespace: &Name, port: Option<u16>) -> RefProblem {
    let port = port.map(|port| format!(" with the port {port}")).unwrap_or_default();
    let message = format!("there is no Service {namespace}/{}{port}", to.name);
    RefProblem { reason: reason::BACKEND_NOT_FOUND, message }
}
