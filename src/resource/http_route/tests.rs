//! What the schema of an HTTPRoute allows, and what it does not.

use super::*;
use crate::resource::meta::check;

fn mk_route(rule: &str) -> String {
    format!(r#"{{"spec":{{"parentRefs":[{{"name":"web"}}],"rules":[{rule}]}}}}"#)
}

fn errors(route: &str) -> Vec<String> {
    check::<HttpRoute>(route.as_bytes()).iter().map(crate::resource::field::spell).collect()
}

fn read(route: &str) -> HttpRoute {
    let mut checks = Checks::default();
    let read = HttpRoute::read(route.as_bytes(), &mut checks).unwrap();
    assert_eq!(checks.errors, [], "{route}");
    read
}

#[test]
fn what_is_left_out_has_the_specifications_defaults() {
    let route = read(r#"{"spec":{"parentRefs":[{"name":"web"}]}}"#);
    let (headers, query) = Default::default();
    let prefix = RouteMatch { path: PathTest::Prefix("/".into()), method: None, headers, query };
    assert_eq!(route.rules.len(), 1);
    assert_eq!(*route.rules[0].matches, [Some(prefix.clone())]);
    assert_eq!((&*route.parents[0].group, &*route.parents[0].kind), ("gateway.networking.k8s.io", "Gateway"));
    let route = read(&mk_route(r#"{"matches":[],"backendRefs":[{"name":"echo","port":80}]}"#));
    assert_eq!(*route.rules[0].matches, [Some(prefix)]);
    let backend = &route.rules[0].backends[0];
    assert_eq!((&*backend.target.group, &*backend.target.kind, backend.weight), ("", "Service", 1));
}

#[test]
fn each_rule_of_the_schema_refuses_what_breaks_it() {
    let redirect = r#""filters":[{"type":"RequestRedirect","requestRedirect":{}}]"#;
    let prefix_rewrite = r#""filters":[{"type":"URLRewrite","urlRewrite":{"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/x"}}}]"#;
    let header = |name: &str, value: &str| {
        format!(
            r#"{{"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"set":[{{"name":"{name}","value":"{value}"}}]}}}}]}}"#
        )
    };
    let path = |kind: &str, value: &str| format!(r#"{{"matches":[{{"path":{{"type":"{kind}","value":"{value}"}}}}]}}"#);
    let cases: Vec<(String, &str)> = vec![
        (path("Exact", "a"), "spec.rules[0].matches[0].path.value: must start with a slash"),
        (path("PathPrefix", "/a//b"), "must not contain //"),
        (path("PathPrefix", "/a/./b"), "must not contain /./"),
        (path("PathPrefix", "/a%2Fb"), "must not contain %2F"),
        (path("Exact", "/a#b"), "must not contain #"),
        (path("Exact", "/a/.."), "must not end with /.."),
        (path("Exact", "/a b"), "has a character that is not allowed in a path"),
        (path("Exact", "/a%zz"), "has a character that is not allowed in a path"),
        (path("Exact", &format!("/{}", "a".repeat(1024))), "at most 1024 characters"),
        (path("RegularExpression", "(a"), "spec.rules[0].matches[0].path.value: is not a regular expression"),
        (path("Fuzzy", "/a"), "spec.rules[0].matches[0].path.type: must be Exact, PathPrefix or RegularExpression"),
        (r#"{"matches":[{"method":"get"}]}"#.into(), "spec.rules[0].matches[0].method"),
        (r#"{"matches":[{"headers":[{"name":"a:","value":"b"}]}]}"#.into(), "headers[0].name: must be an HTTP header name"),
        (r#"{"matches":[{"queryParams":[{"name":"a","value":""}]}]}"#.into(), "queryParams[0].value: must not be empty"),
        (format!("{{{redirect},\"backendRefs\":[{{\"name\":\"a\",\"port\":80}}]}}"), "spec.rules[0].backendRefs: must not be given together"),
        (format!("{{\"matches\":[{{\"path\":{{\"type\":\"Exact\",\"value\":\"/a\"}}}}],{prefix_rewrite}}}"), "spec.rules[0].matches: must be exactly one"),
        (format!("{{\"matches\":[{{}},{{}}],{prefix_rewrite}}}"), "spec.rules[0].matches: must be exactly one"),
        (r#"{"filters":[{"type":"URLRewrite"}]}"#.into(), "the settings of URLRewrite must be given"),
        (r#"{"filters":[{"type":"URLRewrite","urlRewrite":{},"requestRedirect":{}}]}"#.into(), "the settings of RequestRedirect must not be given"),
        (r#"{"filters":[{"type":"URLRewrite","urlRewrite":{}},{"type":"URLRewrite","urlRewrite":{}}]}"#.into(), "more than once"),
        (r#"{"filters":[{"type":"URLRewrite","urlRewrite":{}},{"type":"RequestRedirect","requestRedirect":{}}]}"#.into(), "must not stand together"),
        (header("a b", "c"), "set[0].name: must be an HTTP header name"),
        (header("a", "b\\u0000"), "set[0].value: must be a header value"),
        (r#"{"backendRefs":[{"name":"a"}]}"#.into(), "spec.rules[0].backendRefs[0].port: is required"),
        (r#"{"backendRefs":[{"name":"a","port":80,"weight":1000001}]}"#.into(), "backendRefs[0].weight: must be from 0"),
        (r#"{"backendRefs":[{"name":"a","port":65536}]}"#.into(), "backendRefs[0].port: must be a port"),
        (r#"{"timeouts":{"request":"1.5s"}}"#.into(), "spec.rules[0].timeouts.request: must be a duration"),
        (r#"{"timeouts":{"request":"1s","backendRequest":"2s"}}"#.into(), "timeouts.backendRequest: must not be longer"),
        (r#"{"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"a","port":1},"percent":101}}]}"#.into(), "must be a share"),
        (r#"{"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"a"}}}]}"#.into(), "requestMirror.backendRef.port: is required"),
    ];
    for (rule, expected) in cases {
        let found = errors(&mk_route(&rule));
        assert!(found.iter().any(|error| error.contains(expected)), "{rule}: {found:?}");
    }
}

#[test]
fn lists_have_the_schemas_bounds() {
    let many = |count: usize, item: &str| vec![item; count].join(",");
    assert!(errors(&mk_route(&many(17, "{}")))[0].contains("spec.rules: has 17 items"));
    let matches = |count| format!(r#"{{"matches":[{}]}}"#, many(count, "{}"));
    assert!(errors(&mk_route(&matches(65)))[0].contains("spec.rules[0].matches: has 65 items"));
    let three = [matches(64), matches(64), matches(1)].join(",");
    assert!(errors(&mk_route(&three))[0].contains("at most 128 matches"));
    assert_eq!(errors(&mk_route(&[matches(64), matches(64)].join(","))), Vec::<String>::new());
    assert!(errors(r#"{"spec":{"rules":[]}}"#)[0].contains("at least one rule"));
}

#[test]
fn references_to_one_parent_must_be_told_apart() {
    let route = |parents: &str| errors(&format!(r#"{{"spec":{{"parentRefs":[{parents}]}}}}"#));
    for parents in [
        r#"{"name":"a"},{"name":"a"}"#,
        r#"{"name":"a","sectionName":"x"},{"name":"a"}"#,
        r#"{"name":"a","sectionName":"x"},{"name":"a","sectionName":"x"}"#,
        r#"{"name":"a","sectionName":"x"},{"name":"a","port":80}"#,
    ] {
        assert!(route(parents).iter().any(|error| error.starts_with("spec.parentRefs[1]")), "{parents}");
    }
    for parents in [
        r#"{"name":"a","sectionName":"x"},{"name":"a","sectionName":"y"}"#,
        r#"{"name":"a"},{"name":"a","namespace":"b"}"#,
        r#"{"name":"a","sectionName":"x","port":80},{"name":"a","sectionName":"x","port":81}"#,
    ] {
        assert_eq!(route(parents), Vec::<String>::new(), "{parents}");
    }
}

#[test]
fn what_the_schema_knows_and_we_cannot_do_is_no_error_of_the_schema() {
    let route = mk_route(r#"{"filters":[{"type":"ExtensionRef","extensionRef":{"group":"g","kind":"K","name":"n"}}]}"#);
    assert_eq!(errors(&route), Vec::<String>::new());
    assert_eq!(read(&route).rules[0].unsupported().len(), 1);
}

#[test]
fn only_the_rule_with_an_unusable_part_is_marked() {
    let bad = r#"{"matches":[{"path":{"type":"RegularExpression","value":"[a"}},{"path":{"value":"/b"}}]}"#;
    let route = read(&mk_route(&format!("{bad},{{}}")));
    assert_eq!(route.rules[0].unsupported()[0].path, "spec.rules[0].matches[0].path.value");
    assert!(route.rules[0].matches[0].is_none() && route.rules[0].matches[1].is_some());
    assert!(route.rules[1].unsupported().is_empty());
}

#[test]
fn a_value_of_a_wrong_type_is_named_by_its_path() {
    assert_eq!(
        errors(&mk_route(r#"{"backendRefs":[{"name":"a","port":"80"}]}"#)),
        ["spec.rules[0].backendRefs[0].port: invalid type: string, expected i64"]
    );
}

#[test]
fn a_replacement_for_a_path_begins_with_a_slash_whoever_left_it_out() {
    let change = |filter: &str, settings: &str, kind: &str, field: &str, text: &str| {
        let path = format!(r#"{{"type":"{kind}","{field}":"{text}"}}"#);
        let route = mk_route(&format!(r#"{{"filters":[{{"type":"{filter}","{settings}":{{"path":{path}}}}}]}}"#));
        match &read(&route).rules[0].filters[0] {
            Filter::Rewrite(rewrite) => rewrite.path.clone(),
            Filter::Redirect(redirect) => redirect.path.clone(),
            other => panic!("{other:?}"),
        }
    };
    for (text, wanted) in [("a", "/a"), ("/a", "/a"), ("", "/"), (".example.net", "/.example.net")] {
        for (filter, settings) in [("URLRewrite", "urlRewrite"), ("RequestRedirect", "requestRedirect")] {
            let full = change(filter, settings, "ReplaceFullPath", "replaceFullPath", text);
            assert_eq!(full, Some(PathChange::Full(wanted.into())));
            let prefix = change(filter, settings, "ReplacePrefixMatch", "replacePrefixMatch", text);
            assert_eq!(prefix, Some(PathChange::Prefix(wanted.into())));
        }
    }
}

#[test]
fn equal_lists_of_a_routes_rules_are_held_once() {
    let rule = |header: &str, backend: &str| {
        format!(
            r#"{{"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"remove":["{header}"]}}}}],"backendRefs":[{{"name":"{backend}","port":80}}]}}"#
        )
    };
    let route = read(&mk_route(&[rule("a", "x"), rule("b", "x"), rule("a", "y")].join(",")));
    let [first, second, third] = &*route.rules else { panic!("{route:?}") };
    assert!(Arc::ptr_eq(&first.filters, &third.filters) && Arc::ptr_eq(&first.backends, &second.backends));
    assert_ne!(first.filters, second.filters);
    assert_ne!(first.backends, third.backends);
}

#[test]
fn what_few_rules_have_is_there_for_those_that_have_it() {
    let route = read(&mk_route(r#"{"timeouts":{"request":"2s","backendRequest":"1s"}},{}"#));
    let [timed, plain] = &*route.rules else { panic!("{route:?}") };
    assert_eq!(timed.request_timeout(), Some(Duration::from_secs(2)));
    assert_eq!(timed.backend_timeout(), Some(Duration::from_secs(1)));
    assert_eq!((plain.request_timeout(), plain.backend_timeout(), plain.unsupported()), (None, None, &[][..]));
}
