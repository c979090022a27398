//! Where requests go: weights, broken references, other namespaces and their permission.

use std::collections::BTreeMap;

use crate::support::gateway::{Setup, serve};
use crate::support::manifests::{mk_grant, mk_http_gateway, mk_route, mk_service_in};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn weights_share_the_requests_out() {
    let rule = "- backendRefs:
          - { name: most, port: 80, weight: 7 }
          - { name: some, port: 80, weight: 3 }
          - { name: none, port: 80, weight: 0 }";
    let gateway = serve(&["most", "some", "none"], &[mk_route("weights", rule)]).await;
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..500 {
        *seen.entry(gateway.who("a.test", "/").await).or_default() += 1;
    }
    // 350 and 150 are expected; 10 is the standard deviation.
    assert!((300..=400).contains(&seen["most"]), "{seen:?}");
    assert_eq!(seen["most"] + seen["some"], 500, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_broken_backend_answers_500_for_exactly_its_share() {
    let rules = "
        - matches: [{ path: { type: PathPrefix, value: /missing } }]
          backendRefs: [{ name: missing, port: 80 }]
        - matches: [{ path: { type: PathPrefix, value: /port } }]
          backendRefs: [{ name: one, port: 81 }]
        - matches: [{ path: { type: PathPrefix, value: /kind } }]
          backendRefs: [{ kind: Bucket, group: storage.test, name: one, port: 80 }]
        - matches: [{ path: { type: PathPrefix, value: /none } }]
        - matches: [{ path: { type: PathPrefix, value: /half } }]
          backendRefs: [{ name: one, port: 80 }, { name: missing, port: 80 }]
        - backendRefs: [{ name: one, port: 80 }]";
    let gateway = serve(&["one"], &[mk_route("broken", rules)]).await;
    for (path, expected) in
        [("/missing", "500"), ("/port", "500"), ("/kind", "500"), ("/none", "500"), ("/", "one"), ("/missin", "one")]
    {
        assert_eq!(gateway.who("a.test", path).await, expected, "{path}");
    }
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..100 {
        *seen.entry(gateway.who("a.test", "/half").await).or_default() += 1;
    }
    // 50 each are expected; 5 is the standard deviation.
    assert!((25..=75).contains(&seen["500"]) && seen["one"] == 100 - seen["500"], "{seen:?}");
    let resolved = gateway.condition("HTTPRoute", "broken", "/status/parents/0", "ResolvedRefs").await;
    assert_eq!(resolved.0, "False", "{resolved:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_backend_that_comes_later_heals_its_route() {
    let rules = "- backendRefs: [{ name: late, port: 80 }]";
    let mut setup = Setup::new();
    let backend = setup.backend("late").await;
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route("early", rules));
    let gateway = setup.start().await;
    assert_eq!(gateway.who("a.test", "/").await, "500");

    gateway.setup.write("service.yaml", &mk_service_in("apps", "late", &[backend]));
    gateway.until_who("late", "a.test", "/").await;

    std::fs::remove_file(gateway.setup.manifests().join("service.yaml")).unwrap();
    gateway.until_who("500", "a.test", "/").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_backend_of_another_namespace_needs_its_permission() {
    let rules = "
        - matches: [{ path: { type: PathPrefix, value: /theirs } }]
          backendRefs: [{ name: theirs, namespace: other, port: 80 }]
        - backendRefs: [{ name: ours, port: 80 }]";
    let mut setup = Setup::new();
    setup.services(&["ours"]).await;
    let backend = setup.backend("theirs").await;
    setup.write("other.yaml", &mk_service_in("other", "theirs", &[backend]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route("crossing", rules));
    let gateway = setup.start().await;
    assert_eq!(gateway.who("a.test", "/theirs").await, "500");
    assert_eq!(gateway.who("a.test", "/").await, "ours");
    let resolved = gateway.condition("HTTPRoute", "crossing", "/status/parents/0", "ResolvedRefs").await;
    assert_eq!(resolved, ("False".to_owned(), "RefNotPermitted".to_owned()));

    gateway.setup.write("grant.yaml", &mk_grant("other"));
    gateway.until_who("theirs", "a.test", "/theirs").await;

    // It fails closed: a grant that is gone grants nothing.
    std::fs::remove_file(gateway.setup.manifests().join("grant.yaml")).unwrap();
    gateway.until_who("500", "a.test", "/theirs").await;
    assert_eq!(gateway.who("a.test", "/").await, "ours");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_route_that_does_not_parse_keeps_its_last_good_version_and_harms_no_other() {
    let route = |name: &str, path: &str| {
        let rule = format!(
            "- matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n  backendRefs: [{{ name: one, port: 80 }}]"
        );
        mk_route(name, &rule)
    };
    let gateway = serve(&["one"], &[route("first", "/first"), route("second", "/second")]).await;

    gateway.setup.write("route-0.yaml", &route("first", "/first").replace("backendRefs: [", "backendRefs: {"));
    gateway.setup.write("route-1.yaml", &route("second", "/moved"));

    gateway.until_who("one", "a.test", "/moved").await;
    assert_eq!(gateway.who("a.test", "/first").await, "one");
    let named = || gateway.app.problems.list().iter().any(|(_, problem)| problem.place.contains("route-0.yaml:"));
    let named = || std::future::ready(if named() { Ok(()) } else { Err("not named") });
    crate::support::envoy::eventually("the broken file is named", crate::support::envoy::PATIENCE, named).await;

    gateway.setup.write("route-0.yaml", &route("first", "/mended"));
    gateway.until_who("one", "a.test", "/mended").await;
    assert_eq!(gateway.who("a.test", "/first").await, "404");
}
