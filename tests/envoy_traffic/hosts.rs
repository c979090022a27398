//! Host names: routes' and listeners', exact and wildcard, and no fall-through from the more specific to the wider.

use crate::support::gateway::{Setup, serve};
use crate::support::manifests::{
    mk_class, mk_file, mk_gateway, mk_http_listener, mk_route_at, mk_route_for, mk_route_to,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_exact_host_wins_over_a_wildcard_and_the_longer_wildcard_over_the_shorter() {
    let routes = [
        mk_route_to("exact", &["a.example.test"], "exact"),
        mk_route_to("wide", &["*.test"], "wide"),
        mk_route_to("narrow", &["*.example.test"], "narrow"),
        mk_route_to("all", &[], "all"),
    ];
    let gateway = serve(&["exact", "wide", "narrow", "all"], &routes).await;
    for (host, expected) in [
        ("a.example.test", "exact"),
        ("A.Example.TEST", "exact"),
        ("a.example.test:8080", "exact"),
        ("b.example.test", "narrow"),
        ("c.b.example.test", "narrow"),
        ("example.test", "wide"),
        ("other.org", "all"),
        ("127.0.0.1", "all"),
    ] {
        assert_eq!(gateway.who(host, "/").await, expected, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_exact_hosts_unmatched_path_does_not_fall_through_to_a_wildcard() {
    let only = "- matches: [{ path: { type: Exact, value: /only } }]\n  backendRefs: [{ name: exact, port: 80 }]";
    let routes = [mk_route_for("exact", &["a.example.test"], only), mk_route_to("wide", &["*.example.test"], "wide")];
    let gateway = serve(&["exact", "wide"], &routes).await;
    for (host, path, expected) in [
        ("a.example.test", "/only", "exact"),
        ("a.example.test", "/other", "404"),
        ("b.example.test", "/other", "wide"),
        ("b.example.test", "/only", "wide"),
    ] {
        assert_eq!(gateway.who(host, path).await, expected, "{host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_routes_hosts_are_cut_down_to_those_of_its_listener() {
    let mut setup = Setup::new();
    setup.services(&["one", "two"]).await;
    let port = setup.http.port();
    let listener = mk_http_listener("http", port, "hostname: '*.example.test'");
    let routes = [
        mk_route_to("part", &["a.example.test", "a.other.test"], "one"),
        mk_route_to("outside", &["b.other.test"], "two"),
        mk_route_to("rest", &[], "two"),
    ];
    setup.write("all.yaml", &mk_file(&[&[mk_class(), mk_gateway("public", &listener)][..], &routes].concat()));
    let gateway = setup.start().await;
    for (host, expected) in
        [("a.example.test", "one"), ("b.example.test", "two"), ("a.other.test", "404"), ("b.other.test", "404")]
    {
        assert_eq!(gateway.who(host, "/").await, expected, "{host}");
    }
    let accepted = gateway.condition("HTTPRoute", "outside", "/status/parents/0", "Accepted").await;
    assert_eq!(accepted, ("False".to_owned(), "NoMatchingListenerHostname".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_request_belongs_to_the_most_specific_listener_of_its_port_alone() {
    let mut setup = Setup::new();
    setup.services(&["all", "wild", "exact"]).await;
    let port = setup.http.port();
    let listeners = [
        mk_http_listener("all", port, ""),
        mk_http_listener("wild", port, "hostname: '*.example.test'"),
        mk_http_listener("exact", port, "hostname: a.example.test"),
    ];
    // Each route is attached to one listener, and has one path of its own.
    let routes = ["all", "wild", "exact"].map(|name| {
        let parent = format!("[{{ name: public, sectionName: {name} }}]");
        let rule = format!(
            "- matches: [{{ path: {{ type: PathPrefix, value: /{name} }} }}]\n  backendRefs: [{{ name: {name}, port: 80 }}]"
        );
        mk_route_at("apps", name, &parent, &[], &rule)
    });
    let gateway = mk_gateway("public", &listeners.concat());
    setup.write("all.yaml", &mk_file(&[&[mk_class(), gateway][..], &routes].concat()));
    let gateway = setup.start().await;
    for (host, own) in [("other.test", "all"), ("b.example.test", "wild"), ("a.example.test", "exact")] {
        for name in ["all", "wild", "exact"] {
            let expected = if name == own { name } else { "404" };
            assert_eq!(gateway.who(host, &format!("/{name}")).await, expected, "{host}/{name}");
        }
    }
}
