//! EndpointSlices: ready, serving, terminating, several slices, named ports, both address families.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tidegate::demo::echo::EchoBackend;

use crate::support::envoy::{PATIENCE, eventually};
use crate::support::gateway::{Gateway, Setup, serve};
use crate::support::manifests::{
    mk_bare_service, mk_file, mk_http_gateway, mk_route, mk_route_to, mk_service, mk_slice_with,
};

/// Backends of one Service, by name, each with its conditions in YAML's flow style.
fn mk_slices(backends: &[(SocketAddr, &str)]) -> String {
    let slices = backends.iter().enumerate().map(|(at, (address, conditions))| {
        let endpoint = format!("- {{ addresses: [\"{}\"], conditions: {{ {conditions} }} }}", address.ip());
        mk_slice_with("apps", "pool", &format!("pool-{at}"), "IPv4", "http", address.port(), &endpoint)
    });
    mk_file(&slices.collect::<Vec<_>>())
}

/// A gateway before a Service of three backends.
async fn serve_pool(conditions: [&str; 3]) -> (Gateway, [SocketAddr; 3]) {
    let mut setup = Setup::new();
    let pool = [setup.backend("a").await, setup.backend("b").await, setup.backend("c").await];
    setup.write("service.yaml", &mk_bare_service("apps", "pool", "- { name: http, port: 80 }"));
    setup.write("slices.yaml", &mk_pool(&pool, conditions));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route_to("pool", &[], "pool"));
    (setup.start().await, pool)
}

fn mk_pool(pool: &[SocketAddr; 3], conditions: [&str; 3]) -> String {
    mk_slices(&[(pool[0], conditions[0]), (pool[1], conditions[1]), (pool[2], conditions[2])])
}

/// Who answers, of many requests.
async fn answering(gateway: &Gateway) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(gateway.who("a.test", "/").await);
    }
    seen
}

async fn until_answering(gateway: &Gateway, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    let attempt = || async {
        let seen = answering(gateway).await;
        if seen == expected { Ok(()) } else { Err(seen) }
    };
    eventually(&format!("{expected:?} answer"), PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn ready_endpoints_of_all_slices_share_the_requests_and_edits_are_followed() {
    let ready = "ready: true";
    let (gateway, pool) = serve_pool([ready, "", "ready: false"]).await;
    until_answering(&gateway, &["a", "b"]).await;

    gateway.setup.write("slices.yaml", &mk_pool(&pool, ["ready: false", ready, ready]));
    until_answering(&gateway, &["b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_endpoint_that_terminates_but_serves_is_used_only_when_none_is_ready() {
    let draining = "ready: false, serving: true, terminating: true";
    let gone = "ready: false, serving: false, terminating: true";
    let (gateway, pool) = serve_pool(["ready: true", draining, gone]).await;
    until_answering(&gateway, &["a"]).await;

    gateway.setup.write("slices.yaml", &mk_pool(&pool, [gone, draining, gone]));
    until_answering(&gateway, &["b"]).await;

    gateway.setup.write("slices.yaml", &mk_pool(&pool, [gone, gone, gone]));
    until_answering(&gateway, &["503"]).await;

    gateway.setup.write("slices.yaml", &mk_pool(&pool, [gone, gone, "ready: true"]));
    until_answering(&gateway, &["c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_service_without_endpoints_answers_503_and_its_neighbours_answer() {
    let empty =
        "- matches: [{ path: { type: PathPrefix, value: /empty } }]\n  backendRefs: [{ name: empty, port: 80 }]";
    let mut setup = Setup::new();
    setup.services(&["one"]).await;
    setup.write("empty.yaml", &mk_bare_service("apps", "empty", "- { name: http, port: 80 }"));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("routes.yaml", &mk_file(&[mk_route("empty", empty), mk_route_to("one", &[], "one")]));
    let gateway = setup.start().await;
    assert_eq!(gateway.who("a.test", "/empty").await, "503");
    assert_eq!(gateway.who("a.test", "/").await, "one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_services_ports_lead_to_the_slice_ports_of_their_names() {
    let mut setup = Setup::new();
    let (web, api) = (setup.backend("web").await, setup.backend("api").await);
    let service = mk_bare_service("apps", "both", "- { name: web, port: 80 }\n- { name: api, port: 8080 }");
    let slice = mk_slice_with("apps", "both", "both-1", "IPv4", "web", web.port(), "- { addresses: [127.0.0.1] }");
    let both_ports = format!("{{ name: web, port: {} }}, {{ name: api, port: {} }}", web.port(), api.port());
    let slice = slice.replace(&format!("{{ name: web, port: {} }}", web.port()), &both_ports);
    let rules = "
        - matches: [{ path: { type: PathPrefix, value: /api } }]
          backendRefs: [{ name: both, port: 8080 }]
        - backendRefs: [{ name: both, port: 80 }]";
    setup.write("all.yaml", &mk_file(&[service, slice, mk_route("both", rules)]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    let gateway = setup.start().await;
    assert_eq!(gateway.who("a.test", "/").await, "web");
    assert_eq!(gateway.who("a.test", "/api").await, "api");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn endpoints_of_both_address_families_answer() {
    let six = EchoBackend::start("six", "[::1]:0".parse().unwrap()).await.expect("this machine has an IPv6 loopback");
    let mut setup = Setup::new();
    let four = setup.backend("four").await;
    setup.write("service.yaml", &mk_service("pool", &[four, six.address()]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route_to("pool", &[], "pool"));
    let gateway = setup.start().await;
    until_answering(&gateway, &["four", "six"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_removed_route_is_gone_and_the_rest_stays() {
    let other = "- matches: [{ path: { type: PathPrefix, value: /other } }]\n  backendRefs: [{ name: two, port: 80 }]";
    let gateway = serve(&["one", "two"], &[mk_route_to("all", &[], "one"), mk_route("other", other)]).await;
    assert_eq!(gateway.who("a.test", "/other").await, "two");

    std::fs::remove_file(gateway.setup.manifests().join("route-1.yaml")).unwrap();

    gateway.until_who("one", "a.test", "/other").await;
}
