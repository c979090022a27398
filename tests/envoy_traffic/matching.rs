//! Which route a request takes: path, header, query, method, and precedence over all routes of a listener.

use http::{Method, Request};

use crate::support::gateway::{Gateway, serve, who};
use crate::support::manifests::mk_route;

/// A rule that leads to the backend for a match in YAML's flow style.
fn mk_rule(backend: &str, matching: &str) -> String {
    format!("- matches: [{{ {matching} }}]\n  backendRefs: [{{ name: {backend}, port: 80 }}]\n")
}

/// A gateway whose one route has these rules, with a backend for each name.
async fn serve_rules(rules: &[(&str, &str)]) -> Gateway {
    let mut names: Vec<&str> = rules.iter().map(|(backend, _)| *backend).collect();
    names.sort_unstable();
    names.dedup();
    let rules: String = rules.iter().map(|(backend, matching)| mk_rule(backend, matching)).collect();
    serve(&names, &[mk_route("rules", &rules)]).await
}

async fn who_with(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> String {
    let request =
        headers.iter().fold(Request::get(path).header("host", "a.test"), |r, (name, value)| r.header(*name, *value));
    who(&gateway.ask(request).await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn paths_match_exactly_by_whole_elements_and_by_regex() {
    let gateway = serve_rules(&[
        ("exact", "path: { type: Exact, value: /one }"),
        ("prefix", "path: { type: PathPrefix, value: /two }"),
        ("slash", "path: { type: PathPrefix, value: /three/ }"),
        ("regex", "path: { type: RegularExpression, value: '/v[0-9]+/.*' }"),
    ])
    .await;
    for (path, expected) in [
        ("/one", "exact"),
        ("/one?query=1", "exact"),
        ("/one/", "404"),
        ("/one/more", "404"),
        ("/two", "prefix"),
        ("/two/", "prefix"),
        ("/two/deep/er", "prefix"),
        ("/twofold", "404"),
        ("/three", "slash"),
        ("/three/deep", "slash"),
        ("/v12/a", "regex"),
        ("/v/a", "404"),
        ("/x/v12/a", "404"),
        ("/ONE", "404"),
        ("/", "404"),
        ("/x/../two/a", "prefix"),
    ] {
        assert_eq!(gateway.who("a.test", path).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn headers_must_all_match_and_their_names_have_no_case() {
    let gateway = serve_rules(&[
        ("both", "headers: [{ name: X-One, value: a }, { name: x-two, value: b }]"),
        ("one", "headers: [{ name: X-One, value: a }]"),
        ("regex", "headers: [{ type: RegularExpression, name: x-version, value: 'v[12]' }]"),
        ("none", "path: { type: PathPrefix, value: / }"),
    ])
    .await;
    for (headers, expected) in [
        (&[][..], "none"),
        (&[("x-one", "a")], "one"),
        (&[("X-ONE", "a")], "one"),
        (&[("x-one", "A")], "none"),
        (&[("x-one", "a"), ("x-two", "b")], "both"),
        (&[("x-one", "a"), ("x-two", "c")], "one"),
        (&[("x-version", "v1")], "regex"),
        (&[("x-version", "v10")], "none"),
    ] {
        assert_eq!(who_with(&gateway, "/", headers).await, expected, "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn query_parameters_must_all_match() {
    let gateway = serve_rules(&[
        ("both", "queryParams: [{ name: animal, value: whale }, { name: size, value: big }]"),
        ("one", "queryParams: [{ name: animal, value: whale }]"),
        ("regex", "queryParams: [{ type: RegularExpression, name: id, value: '[0-9]+' }]"),
        ("none", "path: { type: PathPrefix, value: / }"),
    ])
    .await;
    for (path, expected) in [
        ("/", "none"),
        ("/?animal=whale", "one"),
        ("/?animal=whales", "none"),
        ("/?size=big&animal=whale", "both"),
        ("/deep?animal=whale&other=1", "one"),
        ("/?id=17", "regex"),
        ("/?id=17a", "none"),
    ] {
        assert_eq!(gateway.who("a.test", path).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn methods_match_and_the_rest_is_not_found() {
    let gateway = serve_rules(&[("reads", "method: GET"), ("writes", "method: POST")]).await;
    for (method, expected) in [(Method::GET, "reads"), (Method::POST, "writes"), (Method::DELETE, "404")] {
        let request = Request::builder().method(&method).uri("/").header("host", "a.test");
        assert_eq!(who(&gateway.ask(request).await), expected, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn the_most_specific_match_wins_over_all_routes_of_a_listener() {
    // Each in a route of its own, the least specific first.
    let rules = [
        ("root", "path: { type: PathPrefix, value: / }"),
        ("query", "path: { type: PathPrefix, value: / }, queryParams: [{ name: q, value: '1' }]"),
        ("header", "path: { type: PathPrefix, value: / }, headers: [{ name: h, value: '1' }]"),
        ("method", "path: { type: PathPrefix, value: / }, method: GET, headers: [{ name: m, value: '1' }]"),
        ("short", "path: { type: PathPrefix, value: /a }"),
        ("long", "path: { type: PathPrefix, value: /a/b }"),
        ("exact", "path: { type: Exact, value: /a/b }"),
    ];
    let names = rules.map(|(name, _)| name);
    let routes = rules.map(|(name, matching)| mk_route(name, &mk_rule(name, matching)));
    let gateway = serve(&names, &routes).await;
    for (path, headers, expected) in [
        ("/x", &[][..], "root"),
        ("/x?q=1", &[], "query"),
        ("/x", &[("h", "1")], "header"),
        ("/x?q=1", &[("h", "1")], "header"),
        ("/x", &[("h", "1"), ("m", "1")], "method"),
        ("/a", &[("h", "1")], "short"),
        ("/a/c", &[], "short"),
        ("/a/b/c", &[], "long"),
        ("/a/b", &[("h", "1")], "exact"),
    ] {
        assert_eq!(who_with(&gateway, path, headers).await, expected, "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn of_equal_matches_the_oldest_route_wins_then_the_first_name() {
    let dated = |name: &str, created: &str| {
        let route = mk_route(name, &mk_rule(name, "path: { type: PathPrefix, value: / }"));
        route.replace(
            &format!("name: {name}, namespace"),
            &format!("name: {name}, creationTimestamp: '{created}', namespace"),
        )
    };
    let (young, old) = (dated("a-young", "2026-05-01T00:00:00Z"), dated("b-old", "2026-04-01T00:00:00Z"));
    let twin = dated("c-twin", "2026-04-01T00:00:00Z");
    let gateway = serve(&["a-young", "b-old", "c-twin"], &[young, old, twin]).await;
    assert_eq!(gateway.who("a.test", "/").await, "b-old");

    gateway.setup.write("route-1.yaml", "");

    gateway.until_who("c-twin", "a.test", "/").await;
}
