//! Routes: what each part of the model becomes.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::route::v3::redirect_action::PathRewriteSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RedirectAction, Route as Entry, RouteAction as Forward};

use crate::model::{
    Backend, HeaderEdit, HostRewrite, Matcher, Mirror, PathMatch, PathRewrite, Redirect, Route, RouteAction,
    RouteFilters, Timeouts,
};
use crate::publish::xds::encode::route::route;
use crate::publish::xds::testing::*;

const DOMAIN: &str = "a.example.com";

fn mk(path: PathMatch, action: RouteAction) -> Route {
    Route::clone(&mk_route("r", path, action).1)
}

fn mk_backend(service: Option<&str>, weight: u32) -> Backend {
    Backend { cluster: service.map(mk_cluster_id), weight, filters: RouteFilters::default() }
}

fn mk_weighted(backends: Vec<Backend>) -> RouteAction {
    let RouteAction::Forward { mirrors, path_rewrite, host_rewrite, timeouts, .. } = mk_forward("a") else {
        unreachable!()
    };
    RouteAction::Forward { backends, mirrors, path_rewrite, host_rewrite, timeouts }
}

fn mk_rewrite(rewrite: PathRewrite) -> RouteAction {
    let RouteAction::Forward { backends, mirrors, host_rewrite, timeouts, .. } = mk_forward("a") else {
        unreachable!()
    };
    RouteAction::Forward { backends, mirrors, path_rewrite: Some(rewrite), host_rewrite, timeouts }
}

fn mk_redirect() -> Redirect {
    Redirect { scheme: None, host: None, port: None, path: None, status: 302 }
}

fn forward(entry: Entry) -> Forward {
    match entry.action {
        Some(Action::Route(forward)) => forward,
        other => panic!("{other:?}"),
    }
}

fn redirect(entry: Entry) -> RedirectAction {
    match entry.action {
        Some(Action::Redirect(redirect)) => redirect,
        other => panic!("{other:?}"),
    }
}

fn status(entry: &Entry) -> u32 {
    match &entry.action {
        Some(Action::DirectResponse(response)) => response.status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn prefixes_match_whole_elements_and_the_root_matches_everything() {
    let path = |path| route(&mk(path, mk_forward("a")), DOMAIN).r#match.unwrap().path_specifier.unwrap();
    assert_eq!(path(PathMatch::Prefix("/".into())), PathSpecifier::Prefix("/".into()));
    assert_eq!(path(PathMatch::Prefix("/foo".into())), PathSpecifier::PathSeparatedPrefix("/foo".into()));
    assert_eq!(path(PathMatch::Exact("/foo".into())), PathSpecifier::Path("/foo".into()));
    assert!(matches!(path(PathMatch::Regex("/f.*".into())), PathSpecifier::SafeRegex(regex) if regex.regex == "/f.*"));
}

#[test]
fn method_headers_and_query_must_all_match() {
    let mut model = mk(PathMatch::Prefix("/".into()), mk_forward("a"));
    model.matching.method = Some("GET".into());
    model.matching.headers = vec![("x-a".into(), Matcher::Exact("1".into()))];
    model.matching.query = vec![("q".into(), Matcher::Regex("a+".into()))];
    let matching = route(&model, DOMAIN).r#match.unwrap();
    let names: Vec<_> = matching.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, [":method", "x-a"]);
    assert_eq!(matching.query_parameters[0].name, "q");
}

#[test]
fn one_backend_is_a_cluster_and_no_timeout_is_none_instead_of_15_seconds() {
    let forward = forward(route(&mk(PathMatch::Prefix("/".into()), mk_forward("a")), DOMAIN));
    assert_eq!(forward.cluster_specifier, Some(ClusterSpecifier::Cluster("test/apps/a/80".into())));
    assert_eq!(forward.timeout.unwrap().seconds, 0);
    assert!(forward.retry_policy.is_none(), "the virtual host's applies");
}

#[test]
fn a_broken_backends_share_is_answered_500_and_so_is_everything_if_all_are_broken() {
    let some = mk_weighted(vec![mk_backend(Some("a"), 3), mk_backend(None, 1)]);
    let forward = forward(route(&mk(PathMatch::Prefix("/".into()), some), DOMAIN));
    assert_eq!(forward.cluster_not_found_response_code, i32::from(ClusterNotFoundResponseCode::InternalServerError));
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = forward.cluster_specifier else { panic!() };
    let shares: Vec<_> = weighted.clusters.iter().map(|c| (c.name.as_str(), c.weight.unwrap().value)).collect();
    assert_eq!(shares, [("test/apps/a/80", 3), ("~nowhere", 1)]);
    let none = mk_weighted(vec![mk_backend(None, 1), mk_backend(None, 2)]);
    assert_eq!(status(&route(&mk(PathMatch::Prefix("/".into()), none), DOMAIN)), 500);
}

#[test]
fn a_backend_with_edits_of_its_own_is_weighted_even_if_alone() {
    let mut backend = mk_backend(Some("a"), 1);
    backend.filters.request.set = vec![("x".into(), "1".into()), ("host".into(), "b".into())];
    let forward = forward(route(&mk(PathMatch::Prefix("/".into()), mk_weighted(vec![backend])), DOMAIN));
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = forward.cluster_specifier else { panic!() };
    assert_eq!(weighted.clusters[0].request_headers_to_add.len(), 1);
    assert!(weighted.clusters[0].host_rewrite_specifier.is_some());
}

#[test]
fn where_a_backend_edits_requests_it_gets_its_routes_edits_first_and_the_route_has_none() {
    let mut own = mk_backend(Some("a"), 1);
    own.filters.request.set = vec![("x-both".into(), "backend".into())];
    let mut model = mk(PathMatch::Exact("/".into()), mk_weighted(vec![own, mk_backend(Some("b"), 1)]));
    model.filters.request.set = vec![("x-both".into(), "route".into()), ("x-route".into(), "route".into())];
    model.filters.response.remove = vec!["x-answer".into()];
    let entry = route(&model, DOMAIN);
    assert!(entry.request_headers_to_add.is_empty());
    assert_eq!(entry.response_headers_to_remove, ["x-answer"], "answers pass the backend first, as Envoy has it");
    let Some(ClusterSpecifier::WeightedClusters(clusters)) = forward(entry).cluster_specifier else { panic!() };
    let sets = clusters.clusters.iter().map(|cluster| {
        let headers = cluster.request_headers_to_add.iter().map(|option| option.header.clone().unwrap());
        headers.map(|header| format!("{}={}", header.key, header.value)).collect::<Vec<_>>()
    });
    assert_eq!(sets.collect::<Vec<_>>(), [["x-route=route", "x-both=backend"], ["x-both=route", "x-route=route"]]);
}

#[test]
fn headers_are_set_added_removed_and_a_percent_sign_is_itself() {
    let mut model = mk(PathMatch::Prefix("/".into()), mk_forward("a"));
    model.filters.request = HeaderEdit {
        set: vec![("x-set".into(), "100%".into()), ("x-both".into(), "1".into())],
        add: vec![("x-add".into(), "2".into())],
        remove: vec!["x-both".into(), "x-gone".into()],
    };
    let entry = route(&model, DOMAIN);
    let added: Vec<_> = entry
        .request_headers_to_add
        .iter()
        .map(|option| (option.header.as_ref().unwrap(), option.append_action))
        .map(|(header, action)| (header.key.as_str(), header.value.as_str(), action))
        .collect();
    let set = HeaderAppendAction::OverwriteIfExistsOrAdd.into();
    let add = HeaderAppendAction::AppendIfExistsOrAdd.into();
    assert_eq!(added, [("x-set", "100%%", set), ("x-add", "2", add)]);
    assert_eq!(entry.request_headers_to_remove, ["x-both", "x-gone"]);
}

#[test]
fn setting_the_host_header_rewrites_the_host_since_envoy_takes_no_edit_of_it() {
    let mut model = mk(PathMatch::Prefix("/".into()), mk_forward("a"));
    model.filters.request.set = vec![("host".into(), "b.example.com".into())];
    let entry = route(&model, DOMAIN);
    assert!(entry.request_headers_to_add.is_empty());
    let literal = Some(HostRewriteSpecifier::HostRewriteLiteral("b.example.com".into()));
    assert_eq!(forward(entry).host_rewrite_specifier, literal);
}

#[test]
fn rewrites_mirrors_and_timeouts() {
    let action = RouteAction::Forward {
        backends: vec![mk_backend(Some("a"), 1)],
        mirrors: vec![
            Mirror { cluster: mk_cluster_id("m"), fraction: (10, 100) },
            Mirror { cluster: mk_cluster_id("n"), fraction: (1, 3) },
        ],
        path_rewrite: Some(PathRewrite::Full("/new\\1".into())),
        host_rewrite: Some(HostRewrite("b.example.com".into())),
        timeouts: Timeouts {
            request: Some(Duration::from_millis(1_500)),
            backend_request: Some(Duration::from_secs(1)),
        },
    };
    let forward = forward(route(&mk(PathMatch::Exact("/x".into()), action), DOMAIN));
    let rewrite = forward.regex_rewrite.unwrap();
    assert_eq!((rewrite.pattern.unwrap().regex.as_str(), rewrite.substitution.as_str()), ("^/.*$", "/new\\\\1"));
    let shares: Vec<_> = forward
        .request_mirror_policies
        .iter()
        .map(|mirror| mirror.runtime_fraction.as_ref().unwrap().default_value.unwrap())
        .map(|fraction| (fraction.numerator, fraction.denominator))
        .collect();
    assert_eq!(shares, [(10, 0), (333_333, 2)]);
    assert_eq!(forward.timeout.map(|t| (t.seconds, t.nanos)), Some((1, 500_000_000)));
    let retry = forward.retry_policy.unwrap();
    assert_eq!(retry.per_try_timeout.map(|t| t.seconds), Some(1));
    assert!(!retry.retry_on.is_empty(), "what every virtual host retries is retried here too");
}

#[test]
fn a_prefix_is_replaced_as_the_gateway_api_wants_it() {
    let rewrite = |prefix: &str, replacement: &str| {
        let action = mk_rewrite(PathRewrite::Prefix(replacement.into()));
        let forward = forward(route(&mk(PathMatch::Prefix(prefix.into()), action), DOMAIN));
        (forward.prefix_rewrite, forward.regex_rewrite.map(|r| (r.pattern.unwrap().regex, r.substitution)))
    };
    assert_eq!(rewrite("/foo", "/xyz"), ("/xyz".into(), None));
    assert_eq!(rewrite("/foo", "/xyz/"), ("/xyz".into(), None));
    assert_eq!(rewrite("/fo.o", "/"), (String::new(), Some(("^/fo\\.o/*".into(), "/".into()))));
    assert_eq!(rewrite("/foo", ""), (String::new(), Some(("^/foo/*".into(), "/".into()))));
    assert_eq!(rewrite("/", "/xyz"), ("/xyz/".into(), None));
    assert_eq!(rewrite("/", "/"), (String::new(), None));
}

#[test]
fn a_redirect_writes_no_port_unless_it_is_told_one() {
    let to = |model: Redirect, domain| {
        let redirect = redirect(route(&mk(PathMatch::Prefix("/".into()), RouteAction::Redirect(model)), domain));
        (redirect.host_redirect, redirect.port_redirect, redirect.response_code)
    };
    let https = Redirect { scheme: Some("https".into()), ..mk_redirect() };
    assert_eq!(to(https.clone(), DOMAIN), (DOMAIN.into(), 0, 1));
    assert_eq!(to(https, "*.example.com"), (String::new(), 443, 1), "the host is known to Envoy only");
    assert_eq!(to(Redirect { port: Some(8443), status: 308, ..mk_redirect() }, DOMAIN), (String::new(), 8443, 4));
    assert_eq!(to(Redirect { host: Some("b".into()), status: 301, ..mk_redirect() }, DOMAIN), ("b".into(), 0, 0));
}

#[test]
fn a_redirect_changes_its_path() {
    let path = |prefix: &str, rewrite| {
        let model = Redirect { path: Some(rewrite), ..mk_redirect() };
        redirect(route(&mk(PathMatch::Prefix(prefix.into()), RouteAction::Redirect(model)), DOMAIN))
            .path_rewrite_specifier
    };
    let full = path("/foo", PathRewrite::Full("/new".into()));
    assert_eq!(full, Some(PathRewriteSpecifier::PathRedirect("/new".into())));
    let prefix = path("/foo", PathRewrite::Prefix("/new/".into()));
    assert_eq!(prefix, Some(PathRewriteSpecifier::PrefixRewrite("/new".into())));
    assert!(matches!(path("/foo", PathRewrite::Prefix("/".into())), Some(PathRewriteSpecifier::RegexRewrite(_))));
    assert_eq!(path("/", PathRewrite::Prefix("/".into())), None);
}

#[test]
fn a_response_says_its_status_and_not_its_reason() {
    let action = RouteAction::Respond { status: 404, reason: "secret".into() };
    let entry = route(&mk(PathMatch::Prefix("/".into()), action), DOMAIN);
    assert_eq!(status(&entry), 404);
    assert!(!format!("{entry:?}").contains("secret"));
}
