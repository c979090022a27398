//! How requests are routed: route configurations, virtual hosts, routes in order of precedence.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tidegate_actors::id::{Name, ObjectRef};

use super::{ClusterId, GatewayId, Policies, Seq};

/// A routing table's name: one for all HTTP on a socket (`http/127.0.0.1:8080`), one for each HTTPS Gateway
/// listener (`https/source/infra/public/web`). A virtual host's full name is this, a slash, and its domain,
/// so that it never contains a slash that is not ours: see [`VirtualHostId`].
pub type RouteConfigId = Name;

/// A virtual host: one domain of one routing table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct VirtualHostId {
    /// The routing table.
    pub route_config: RouteConfigId,
    /// Lower case: `a.example.com`, `*.example.com`, or `*`.
    pub domain: Name,
}

/// `route_config/domain`.
impl fmt::Display for VirtualHostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.route_config, self.domain)
    }
}

/// All routes of one domain, of the one Gateway listener that is most specific for it. It may have none:
/// requests for it are then answered 404 and do not fall through to a wider domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualHost {
    /// Its identity.
    pub id: VirtualHostId,
    /// The Gateway that owns it.
    pub gateway: GatewayId,
    /// In order of precedence.
    pub routes: Seq<Precedence, Route>,
    /// What applies to all of it.
    pub policies: Policies,
}

/// Where a route stands among those of its virtual host: smaller comes first. Gateway API, HTTPRouteRule
/// `matches`: exact path, then regex (implementation-specific there; ours: before prefixes, since behind them a
/// catch-all would hide every regex), then longest prefix, then method, most headers, most query parameters; ties go to
/// the oldest object, then `namespace/name`, then rule and match order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Precedence {
    /// 0 exact, 1 regex, 2 prefix.
    pub path_kind: u8,
    /// Characters of the path, longest first.
    pub path_len: Reverse<u32>,
    /// With a method first.
    pub method: Reverse<bool>,
    /// Number of header matches, most first.
    pub headers: Reverse<u16>,
    /// Number of query parameter matches, most first.
    pub query: Reverse<u16>,
    /// Creation time in seconds, oldest first; objects without one come last.
    pub created: i64,
    /// `namespace/name` as one string, since the specification compares it as one; then the source.
    pub object: (Name, Name),
    /// Index of the rule.
    pub rule: u16,
    /// Index of the match in the rule.
    pub matching: u16,
}

/// One match with what is done to requests that satisfy it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// Readable and stable: `namespace/name/rule/match`.
    pub name: Name,
    /// What it matches.
    pub matching: Match,
    /// What happens.
    pub action: RouteAction,
    /// Edits on the way.
    pub filters: RouteFilters,
    /// What applies to it.
    pub policies: Policies,
    /// The route object.
    #[serde(skip)]
    pub origin: ObjectRef,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Match {
    /// On the path, without the query.
    pub path: PathMatch,
    /// On the method.
    pub method: Option<Name>,
    /// On headers; names in lower case.
    pub headers: Vec<(Name, Matcher)>,
    /// On query parameters.
    pub query: Vec<(Name, Matcher)>,
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(Name),
    /// Whole path elements from the start, without a trailing slash; `/` matches all paths.
    Prefix(Name),
    /// RE2, the whole path.
    Regex(Name),
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Matcher {
    /// The whole value.
    Exact(Name),
    /// RE2, the whole value.
    Regex(Name),
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum RouteAction {
    /// It goes to one of these, by weight. Weights sum to more than 0. An invalid backend's share is answered 500.
    Forward {
        /// With a weight above 0.
        backends: Vec<Backend>,
        /// Copies, answers ignored.
        mirrors: Vec<Mirror>,
        /// The path is rewritten.
        path_rewrite: Option<PathRewrite>,
        /// The Host header is rewritten.
        host_rewrite: Option<HostRewrite>,
        /// Limits.
        timeouts: Timeouts,
    },
    /// It is redirected.
    Redirect(Redirect),
    /// It is answered with this status and nothing else: 500 for what is broken, 404 for nothing there.
    Respond {
        /// HTTP status.
        status: u16,
        /// Why, for people who read the model; never sent to clients.
        reason: String,
    },
}

/// One weighted destination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// `None`: the reference is broken, its share is answered 500.
    pub cluster: Option<ClusterId>,
    /// Above 0.
    pub weight: u32,
    /// Edits for this destination alone.
    pub filters: RouteFilters,
}

/// A share of requests copied to another cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirror {
    /// Where to.
    pub cluster: ClusterId,
    /// Numerator and denominator; (100, 100) is all.
    pub fraction: (u32, u32),
}

/// How the path changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PathRewrite {
    /// The whole path; the query stays.
    Full(Name),
    /// The matched prefix (given by the match, which is then a [`PathMatch::Prefix`]) becomes this.
    Prefix(Name),
}

/// How the Host header changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostRewrite(pub Name);

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Redirect {
    /// `http` or `https`; the request's if absent.
    pub scheme: Option<Name>,
    /// The request's if absent.
    pub host: Option<Name>,
    /// Already decided by the specification's rules for `port`, `scheme` and the listener; absent: none is written.
    pub port: Option<u16>,
    /// The request's if absent.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Header edits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteFilters {
    /// On the request.
    pub request: HeaderEdit,
    /// On the response.
    pub response: HeaderEdit,
}

/// Edits of one message's headers, applied in the order set, add, remove; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeaderEdit {
    /// Replaced or added.
    pub set: Vec<(Name, Name)>,
    /// Added beside what is there.
    pub add: Vec<(Name, Name)>,
    /// Removed.
    pub remove: Vec<Name>,
}

/// Limits in time; `None` is the proxy's default of none, zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timeouts {
    /// From the last byte of the request to the end of the response.
    pub request: Option<Duration>,
    /// For one attempt at a backend.
    pub backend_request: Option<Duration>,
}
