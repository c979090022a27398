//! One route: what it matches, and where it leads. Appended to a virtual host's encoding as bytes.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryHostPredicate;
use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::{ClusterWeight, cluster_weight};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, QueryParameterMatcher, RedirectAction, RetryPolicy, Route as Entry,
    RouteAction as Forward, RouteMatch, WeightedCluster,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, StringMatcher, string_matcher::MatchPattern,
};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use envoy_types::util::pack_any;
use tidegate_actors::id::Name;

use super::header::{Edits, edits, matcher, regex, then};
use super::{duration, number};
use crate::model::{
    Backend, HeaderEdit, Match, Mirror, PathMatch, PathRewrite, Redirect, Route, RouteAction, RouteFilters, Timeouts,
};

/// The cluster that never exists: what is sent to it is answered 500.
const NOWHERE: &str = "~nowhere";

/// Translates a route of a virtual host with this domain.
pub fn route(model: &Route, domain: &str) -> Entry {
    let mut request = edits(&model.filters.request);
    let response = edits(&model.filters.response);
    let host = request.host.take();
    // A request passes its rule's filters and then its backend's; an answer passes them the other way. Envoy edits both
    // in the answer's order. So where both have edits of requests, each backend gets the rule's too, and the route none.
    let own = |backends: &[Backend]| backends.iter().any(|backend| backend.filters.request != HeaderEdit::default());
    let outer = match &model.action {
        RouteAction::Forward { backends, .. } if own(backends) => {
            request = Edits::default();
            model.filters.request.clone()
        }
        _ => HeaderEdit::default(),
    };
    let action = match &model.action {
        RouteAction::Forward { backends, .. } if backends.iter().all(|backend| backend.cluster.is_none()) => {
            respond(500)
        }
        RouteAction::Forward { backends, mirrors, path_rewrite, host_rewrite, timeouts } => {
            let host = host_rewrite.as_ref().map(|rewrite| &rewrite.0).or(host.as_ref());
            Action::Route(Forward {
                cluster_not_found_response_code: if backends.iter().any(|backend| backend.cluster.is_none()) {
                    ClusterNotFoundResponseCode::InternalServerError.into()
                } else {
                    ClusterNotFoundResponseCode::ServiceUnavailable.into()
                },
                cluster_specifier: Some(destination(backends, &outer)),
                host_rewrite_specifier: host.map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_string())),
                request_mirror_policies: mirrors.iter().map(mirror).collect(),
                ..limits(timeouts, path(path_rewrite.as_ref(), &model.matching.path))
            })
        }
        RouteAction::Redirect(redirect) => Action::Redirect(redirection(redirect, &model.matching.path, domain)),
        RouteAction::Respond { status, .. } => respond(*status),
    };
    Entry {
        name: model.name.to_string(),
        r#match: Some(matching(&model.matching)),
        action: Some(action),
        request_headers_to_add: request.add,
        request_headers_to_remove: request.remove,
        response_headers_to_add: response.add,
        response_headers_to_remove: response.remove,
        ..Entry::default()
    }
}

/// What every virtual host retries, so that an endpoint which goes away between its removal from the Service
/// and its removal here costs no request: only what certainly never reached a backend.
pub fn retries() -> RetryPolicy {
    RetryPolicy {
        retry_on: "connect-failure,refused-stream,reset-before-request".to_owned(),
        num_retries: number(3),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack_any(PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: 5,
        ..RetryPolicy::default()
    }
}

fn respond(status: u16) -> Action {
    Action::DirectResponse(DirectResponseAction { status: status.into(), ..DirectResponseAction::default() })
}

fn matching(model: &Match) -> RouteMatch {
    let path = match &model.path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Prefix(prefix) if is_root(prefix) => PathSpecifier::Prefix("/".to_owned()),
        PathMatch::Prefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.trim_end_matches('/').to_owned()),
        PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
    };
    let method = model.method.as_ref().map(|method| HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(method.to_string())),
            ignore_case: false,
        })),
        ..HeaderMatcher::default()
    });
    let headers = model.headers.iter().map(|(name, value)| HeaderMatcher {
        name: name.to_string(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher(value))),
        ..HeaderMatcher::default()
    });
    let query = model.query.iter().map(|(name, value)| QueryParameterMatcher {
        name: name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(matcher(value))),
    });
    RouteMatch {
        path_specifier: Some(path),
        headers: method.into_iter().chain(headers).collect(),
        query_parameters: query.collect(),
        ..RouteMatch::default()
    }
}

/// One backend is a cluster; several, or one with edits of its own, are weighted clusters. `outer` are edits of
/// requests that come before each backend's own.
fn destination(backends: &[Backend], outer: &HeaderEdit) -> ClusterSpecifier {
    if let [Backend { cluster: Some(cluster), filters, .. }] = backends
        && *filters == RouteFilters::default()
    {
        return ClusterSpecifier::Cluster(cluster.to_string());
    }
    let clusters = backends.iter().map(|backend| {
        let request = edits(&then(outer, &backend.filters.request));
        let response = edits(&backend.filters.response);
        ClusterWeight {
            name: backend.cluster.as_ref().map_or_else(|| NOWHERE.to_owned(), ToString::to_string),
            weight: number(backend.weight),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            host_rewrite_specifier: request
                .host
                .map(|host| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_string())),
            ..ClusterWeight::default()
        }
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: clusters.collect(), ..WeightedCluster::default() })
}

fn mirror(model: &Mirror) -> RequestMirrorPolicy {
    let (numerator, denominator) = model.fraction;
    let fraction = match denominator {
        100 => FractionalPercent { numerator, denominator: DenominatorType::Hundred.into() },
        _ => FractionalPercent {
            numerator: u32::try_from(u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1)))
                .unwrap_or(u32::MAX),
            denominator: DenominatorType::Million.into(),
        },
    };
    RequestMirrorPolicy {
        cluster: model.cluster.to_string(),
        runtime_fraction: Some(RuntimeFractionalPercent { default_value: Some(fraction), ..Default::default() }),
        // A copy is the same request, its host included.
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    }
}

/// Time limits on top of an action. None means none: Envoy's own 15 s would cut streams that nobody limited.
fn limits(timeouts: &Timeouts, action: Forward) -> Forward {
    let limit = |timeout: Option<Duration>| timeout.filter(|timeout| !timeout.is_zero());
    Forward {
        timeout: Some(duration(limit(timeouts.request).unwrap_or_default())),
        retry_policy: limit(timeouts.backend_request)
            .map(|timeout| RetryPolicy { per_try_timeout: Some(duration(timeout)), ..retries() }),
        ..action
    }
}

/// How a path changes: the three ways that Envoy has.
enum Rewriting {
    None,
    Prefix(String),
    Regex(RegexMatchAndSubstitute),
}

fn rewriting(rewrite: Option<&PathRewrite>, matched: &PathMatch) -> Rewriting {
    match (rewrite, matched) {
        (None, _) => Rewriting::None,
        (Some(PathRewrite::Full(path)), _) => Rewriting::Regex(substitute("^/.*$".to_owned(), path)),
        (Some(PathRewrite::Prefix(replacement)), PathMatch::Prefix(prefix)) => match (is_root(prefix), replacement) {
            (true, replacement) if is_root(replacement) => Rewriting::None,
            // `/` matches without its slash being an element's end, so the replacement brings one.
            (true, replacement) => Rewriting::Prefix(format!("{}/", replacement.trim_end_matches('/'))),
            // Envoy would make `//bar` of `/foo/bar`, and cannot replace a prefix by nothing.
            (false, replacement) if is_root(replacement) => {
                let prefix = regex_syntax::escape(prefix.trim_end_matches('/'));
                Rewriting::Regex(substitute(format!("^{prefix}/*"), "/"))
            }
            (false, replacement) => Rewriting::Prefix(replacement.trim_end_matches('/').to_owned()),
        },
        // Refused by validation; without a prefix there is nothing to replace.
        (Some(PathRewrite::Prefix(_)), _) => Rewriting::None,
    }
}

fn substitute(pattern: String, replacement: &str) -> RegexMatchAndSubstitute {
    // A backslash in a replacement refers to a group, of which there are none here.
    RegexMatchAndSubstitute { pattern: Some(regex(&pattern)), substitution: replacement.replace('\\', "\\\\") }
}

fn path(rewrite: Option<&PathRewrite>, matched: &PathMatch) -> Forward {
    match rewriting(rewrite, matched) {
        Rewriting::None => Forward::default(),
        Rewriting::Prefix(prefix_rewrite) => Forward { prefix_rewrite, ..Forward::default() },
        Rewriting::Regex(regex) => Forward { regex_rewrite: Some(regex), ..Forward::default() },
    }
}

fn is_root(path: &str) -> bool {
    path.trim_end_matches('/').is_empty()
}

fn redirection(model: &Redirect, matched: &PathMatch, domain: &str) -> RedirectAction {
    // Envoy keeps the port of the request's Host header unless it writes the host or the port itself. A virtual
    // host of one domain knows its host; one of a wildcard can only name the scheme's own port.
    let own_host = || (!domain.starts_with('*') && model.port.is_none()).then(|| Name::from(domain));
    let host = model.host.clone().or_else(own_host);
    let scheme_port = || match (&host, model.scheme.as_deref()) {
        (None, Some("http")) => 80,
        (None, Some("https")) => 443,
        _ => 0,
    };
    RedirectAction {
        port_redirect: model.port.map_or_else(scheme_port, u32::from),
        host_redirect: host.as_deref().unwrap_or_default().to_owned(),
        response_code: match model.status {
            301 => RedirectResponseCode::MovedPermanently,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::Found,
        }
        .into(),
        scheme_rewrite_specifier: model
            .scheme
            .as_ref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_string())),
        path_rewrite_specifier: match (&model.path, rewriting(model.path.as_ref(), matched)) {
            (Some(PathRewrite::Full(path)), _) => Some(PathRewriteSpecifier::PathRedirect(path.to_string())),
            (_, Rewriting::None) => None,
            (_, Rewriting::Prefix(prefix)) => Some(PathRewriteSpecifier::PrefixRewrite(prefix)),
            (_, Rewriting::Regex(regex)) => Some(PathRewriteSpecifier::RegexRewrite(regex)),
        },
        ..RedirectAction::default()
    }
}

/// The clusters that a route sends requests to, copies included.
pub fn clusters(model: &Route) -> impl Iterator<Item = &crate::model::ClusterId> {
    let (backends, mirrors): (&[Backend], &[Mirror]) = match &model.action {
        RouteAction::Forward { backends, mirrors, .. } => (backends, mirrors),
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => (&[], &[]),
    };
    backends.iter().filter_map(|backend| backend.cluster.as_ref()).chain(mirrors.iter().map(|mirror| &mirror.cluster))
}
