//! Conditions on requests and rewrites of paths: what the model means, against what Envoy is told.
//!
//! Oracle: an expression that the check lets through compiles within the limits that proxies are given, and reaches Envoy
//! as it was written; a request matches the route that Envoy is sent, read as Envoy's documentation reads it, exactly
//! if it matches the model, read as the Gateway API's does; a path comes out as the Gateway API says.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteAction as Forward, RouteMatch, VirtualHost};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Message as _;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use tidegate::model::{
    Backend, Match, Matcher, PathMatch, PathRewrite, Precedence, Route, RouteAction, RouteFilters, Timeouts,
};
use tidegate::publish::xds::{Kind, Options, XdsPublisher};
use tidegate::resource::regex::check;
use tidegate_actors::problem::Problems;
use tidegate_actors::testing;

use crate::input::Input;
use crate::models::{Update, mk_cluster_id, mk_forward, mk_host, mk_http_listener, mk_route, mk_table};

/// A request, as far as conditions look at it.
struct Asked<'a> {
    path: &'a str,
    header: &'a str,
    query: &'a str,
}

/// Two bytes of choices, then up to zero bytes: an expression, a path, a header's value, a replacement.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(2048)]);
    let (form, rewrite) = (input.byte(), input.byte());
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let mut parts = text.split('\0');
    let pattern = parts.next().unwrap_or_default();
    // What can stand in a request's first line, and in a header.
    let visible = |text: &str| text.chars().filter(|c| c.is_ascii_graphic() && !"?#".contains(*c)).collect::<String>();
    let path = format!("/{}", visible(parts.next().unwrap_or_default()));
    let header: String = parts.next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let header = &*header;
    let replacement = visible(parts.next().unwrap_or_default());
    let compiled = match check(pattern) {
        Ok(()) => Some(compile(pattern)),
        Err(reason) => {
            assert!(!reason.is_empty());
            None
        }
    };
    let value = |regex: bool, text: &str| match regex && compiled.is_some() {
        true => Matcher::Regex(pattern.into()),
        false => Matcher::Exact(text.into()),
    };
    // As views have them: absolute, and a prefix without a slash at its end.
    let literal = format!("/{}", visible(pattern).trim_matches('/'));
    let matching = Match {
        path: match form % 3 {
            0 => PathMatch::Prefix(literal.clone().into()),
            1 => PathMatch::Exact(literal.clone().into()),
            _ if compiled.is_some() => PathMatch::Regex(pattern.into()),
            _ => PathMatch::Prefix("/".into()),
        },
        method: None,
        headers: if form & 8 == 0 { Vec::new() } else { vec![("x-a".into(), value(form & 16 != 0, header))] },
        query: if form & 32 == 0 { Vec::new() } else { vec![("q".into(), value(form & 64 != 0, header))] },
    };
    let rewrite = match rewrite % 4 {
        0 | 1 if !matches!(matching.path, PathMatch::Prefix(_)) => None,
        0 => Some(PathRewrite::Prefix(format!("/{}", replacement.trim_matches('/')).into())),
        1 => Some(PathRewrite::Prefix("/".into())),
        2 => Some(PathRewrite::Full(format!("/{replacement}").into())),
        _ => None,
    };
    let route = Route { matching, action: forward(rewrite.clone()), ..plain() };
    let (told, action) = translate(&route);
    let longer = format!("{literal}{path}");
    for path in [&*path, &literal, &longer, &format!("{literal}/"), &format!("{literal}x")] {
        for (header, query) in [(header, header), ("", ""), (path, path)] {
            let asked = Asked { path, header, query };
            let expected = meant(&route.matching, &asked, compiled.as_ref());
            let matches = envoy_matches(&told, &asked, pattern, compiled.as_ref());
            assert_eq!(matches, expected, "{path:?} {header:?}: {:?} as {told:?}", route.matching);
            if expected && let Some(rewrite) = &rewrite {
                let found = envoy_rewrites(&told, &action, path);
                assert_eq!(one_slash(&found), one_slash(&rewritten(rewrite, &route.matching.path, path)), "{path:?}");
            }
        }
    }
}

/// As RE2 with the program size that proxies must allow: bytes, in linear time.
fn compile(pattern: &str) -> Regex {
    let whole = format!("^(?:{pattern})$");
    let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(4 << 20)).hybrid_cache_capacity(1 << 20);
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let compiled = Regex::builder().configure(config).syntax(syntax).build(&whole);
    compiled.unwrap_or_else(|error| panic!("let through, and does not compile: {pattern:?}: {error}"))
}

/// RE2 matches the whole of it; `$` is no end of a line, unless the expression itself says so.
fn is_all(regex: &Regex, text: &str) -> bool {
    regex.find(text).is_some_and(|found| found.start() == 0 && found.end() == text.len())
}

fn plain() -> Route {
    Arc::unwrap_or_clone(mk_route("r", PathMatch::Prefix("/".into()), mk_forward("a")).1)
}

fn forward(path_rewrite: Option<PathRewrite>) -> RouteAction {
    let backend = Backend { cluster: Some(mk_cluster_id("a")), weight: 1, filters: RouteFilters::default() };
    let timeouts = Timeouts { request: Some(Duration::from_secs(1)), backend_request: None };
    RouteAction::Forward { backends: vec![backend], mirrors: Vec::new(), path_rewrite, host_rewrite: None, timeouts }
}

/// The one route of the one virtual host, as Envoy is sent it.
fn translate(route: &Route) -> (RouteMatch, Forward) {
    let place: Precedence = mk_route("r", PathMatch::Prefix("/".into()), mk_forward("a")).0;
    let host = mk_host(&mk_table(80), "a.example.com", [(place, Arc::new(route.clone()))]);
    let publisher = XdsPublisher::new(Options::default(), Problems::default(), testing::env(1).0);
    publisher.apply(&Update::to(1).listener(mk_http_listener(80, &["public"])).service("a", &[]).host(host).0);
    let of_host = |name: &str| name.ends_with("a.example.com");
    let mut resources = publisher.resources().into_iter();
    let found = resources.find(|resource| resource.kind == Kind::VirtualHost && of_host(&resource.name));
    let host = VirtualHost::decode(found.expect("the host is published").body).expect("we encoded it");
    let route = host.routes.into_iter().next().expect("it has the route");
    match route.action {
        Some(Action::Route(action)) => (route.r#match.expect("a route matches something"), action),
        other => panic!("it forwards: {other:?}"),
    }
}

/// The Gateway API's words.
fn meant(matching: &Match, asked: &Asked<'_>, regex: Option<&Regex>) -> bool {
    let holds = |matcher: &Matcher, value: &str| match matcher {
        Matcher::Exact(text) => **text == *value,
        Matcher::Regex(_) => regex.is_some_and(|regex| is_all(regex, value)),
    };
    let path = match &matching.path {
        PathMatch::Exact(path) => **path == *asked.path,
        PathMatch::Regex(_) => regex.is_some_and(|regex| is_all(regex, asked.path)),
        // Element by element.
        PathMatch::Prefix(prefix) => {
            let wanted: Vec<&str> = prefix.trim_end_matches('/').split('/').collect();
            let given: Vec<&str> = asked.path.split('/').collect();
            given.starts_with(&wanted)
        }
    };
    path && matching.headers.iter().all(|(_, matcher)| holds(matcher, asked.header))
        && matching.query.iter().all(|(_, matcher)| holds(matcher, asked.query))
}

/// Envoy's words.
fn envoy_matches(told: &RouteMatch, asked: &Asked<'_>, pattern: &str, regex: Option<&Regex>) -> bool {
    let holds = |matcher: &StringMatcher, value: &str| holds(matcher, value, pattern, regex);
    let path = match told.path_specifier.as_ref().expect("every route has one") {
        PathSpecifier::Path(path) => path == asked.path,
        PathSpecifier::Prefix(prefix) => asked.path.starts_with(&**prefix),
        PathSpecifier::PathSeparatedPrefix(prefix) => {
            assert!(prefix.len() > 1 && prefix.starts_with('/') && !prefix.ends_with('/'), "Envoy refuses {prefix:?}");
            let rest = asked.path.strip_prefix(&**prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathSpecifier::SafeRegex(told) => {
            assert_eq!(told.regex, pattern, "as it was written");
            is_all(regex.expect("it was let through"), asked.path)
        }
        other => panic!("nobody asked for {other:?}"),
    };
    let headers = told.headers.iter().all(|header| match header.header_match_specifier.as_ref() {
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => !header.invert_match && holds(matcher, asked.header),
        other => panic!("nobody asked for {other:?}"),
    });
    let query = told.query_parameters.iter().all(|query| match query.query_parameter_match_specifier.as_ref() {
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => holds(matcher, asked.query),
        other => panic!("nobody asked for {other:?}"),
    });
    path && headers && query
}

fn holds(matcher: &StringMatcher, value: &str, pattern: &str, regex: Option<&Regex>) -> bool {
    assert!(!matcher.ignore_case);
    match matcher.match_pattern.as_ref() {
        Some(MatchPattern::Exact(text)) => text == value,
        Some(MatchPattern::SafeRegex(told)) => {
            assert_eq!(told.regex, pattern, "as it was written");
            is_all(regex.expect("it was let through"), value)
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

/// What the Gateway API says becomes of a path.
fn rewritten(rewrite: &PathRewrite, matched: &PathMatch, path: &str) -> String {
    match (rewrite, matched) {
        (PathRewrite::Prefix(replacement), PathMatch::Prefix(prefix)) => {
            let rest = path.strip_prefix(prefix.trim_end_matches('/')).expect("it matched");
            let replaced = format!("{}{rest}", replacement.trim_end_matches('/'));
            if replaced.is_empty() { "/".to_owned() } else { replaced }
        }
        (PathRewrite::Full(path), _) => path.to_string(),
        other => panic!("views do not have {other:?}"),
    }
}

/// What Envoy makes of it.
fn envoy_rewrites(told: &RouteMatch, action: &Forward, path: &str) -> String {
    if let Some(regex) = &action.regex_rewrite {
        assert!(action.prefix_rewrite.is_empty(), "Envoy takes one of them");
        let pattern = regex.pattern.as_ref().expect("there is a pattern").regex.clone();
        let config = Regex::config().utf8_empty(false);
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let compiled = Regex::builder().configure(config).syntax(syntax).build(&pattern).expect("it compiles");
        let found = compiled.find(path).expect("what matched the route matches here");
        let substitution = regex.substitution.replace("\\\\", "\\");
        return format!("{}{substitution}{}", &path[..found.start()], &path[found.end()..]);
    }
    if action.prefix_rewrite.is_empty() {
        return path.to_owned();
    }
    let prefix = match told.path_specifier.as_ref() {
        Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => prefix,
        other => panic!("a prefix is replaced where there is one: {other:?}"),
    };
    format!("{}{}", action.prefix_rewrite, path.strip_prefix(&**prefix).expect("it matched"))
}

/// How many slashes a path begins with, the specification leaves open.
fn one_slash(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}
