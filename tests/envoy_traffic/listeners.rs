//! Listeners: TLS with SNI and several certificates, who may attach, addresses, and listeners that come and go.

use std::net::SocketAddr;

use http::Request;
use http_body_util::Full;

use crate::support::envoy::{PATIENCE, eventually, send};
use crate::support::gateway::{Setup, who};
use crate::support::manifests::{
    mk_class, mk_file, mk_gateway, mk_http_listener, mk_https_listener, mk_namespace, mk_route_at, mk_route_to,
    mk_secret, mk_service_in,
};
use crate::support::tls::Authority;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn each_name_is_shown_its_own_certificate_and_asked_for_its_own_routes() {
    let mut setup = Setup::new();
    setup.services(&["one", "two"]).await;
    let authority = Authority::new();
    let (exact, wild) = (authority.issue(&["a.example.test"]), authority.issue(&["*.example.test"]));
    let port = setup.https.port();
    let listeners = [
        mk_https_listener("exact", port, "a.example.test", &["exact"]),
        mk_https_listener("wild", port, "*.example.test", &["wild"]),
    ];
    let at = |section: &str| format!("[{{ name: public, sectionName: {section} }}]");
    setup.write(
        "all.yaml",
        &mk_file(&[
            mk_class(),
            mk_gateway("public", &listeners.concat()),
            mk_secret("exact", &exact.pem, &exact.key),
            mk_secret("wild", &wild.pem, &wild.key),
            mk_route_at("apps", "one", &at("exact"), &[], "- backendRefs: [{ name: one, port: 80 }]"),
            mk_route_at("apps", "two", &at("wild"), &[], "- backendRefs: [{ name: two, port: 80 }]"),
        ]),
    );
    let gateway = setup.start().await;
    let https = gateway.setup.https;
    for (host, certificate, backend) in
        [("a.example.test", &exact, "one"), ("b.example.test", &wild, "two"), ("a.example.test", &exact, "one")]
    {
        let answer = authority.get(https, host, "/").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.certificate == certificate.der, "{host} was shown another certificate");
        assert!(answer.text.contains(&format!("x-echo-backend: {backend}")), "{}", answer.text);
        assert!(answer.text.contains(r#""x-forwarded-proto":"https""#), "{}", answer.text);
    }
    // A name that no listener has is not served with somebody's certificate.
    let refused = authority.get(https, "other.test", "/").await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_listener_may_have_several_certificates_and_a_renewed_one_is_shown_at_once() {
    let mut setup = Setup::new();
    setup.services(&["one"]).await;
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let listener = mk_https_listener("https", setup.https.port(), "", &["first", "second"]);
    setup.write("gateway.yaml", &mk_file(&[mk_class(), mk_gateway("public", &listener)]));
    setup.write("first.yaml", &mk_secret("first", &first.pem, &first.key));
    setup.write("second.yaml", &mk_secret("second", &second.pem, &second.key));
    setup.write("route.yaml", &mk_route_to("one", &[], "one"));
    let gateway = setup.start().await;
    let https = gateway.setup.https;
    for (host, certificate) in [("a.test", &first), ("b.test", &second)] {
        let answer = authority.get(https, host, "/").await.unwrap();
        assert!(answer.status == 200 && answer.certificate == certificate.der, "{host}: {answer:?}");
    }

    let renewed = authority.issue(&["b.test"]);
    gateway.setup.write("second.yaml", &mk_secret("second", &renewed.pem, &renewed.key));

    let attempt = || async {
        let answer = authority.get(https, "b.test", "/").await?;
        if answer.certificate == renewed.der { Ok(()) } else { Err("the old one is shown".to_owned()) }
    };
    eventually("the renewed certificate is shown", PATIENCE, attempt).await;
    assert!(authority.get(https, "a.test", "/").await.unwrap().certificate == first.der);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_broken_certificate_closes_its_listener_alone() {
    let mut setup = Setup::new();
    setup.services(&["one"]).await;
    let authority = Authority::new();
    let (good, other) = (authority.issue(&["good.test"]), authority.issue(&["bad.test"]));
    let port = setup.https.port();
    let listeners = [
        mk_http_listener("http", setup.http.port(), ""),
        mk_https_listener("good", port, "good.test", &["good"]),
        mk_https_listener("bad", port, "bad.test", &["bad"]),
    ];
    setup.write("gateway.yaml", &mk_file(&[mk_class(), mk_gateway("public", &listeners.concat())]));
    setup.write("good.yaml", &mk_secret("good", &good.pem, &good.key));
    // The key of another certificate.
    setup.write("bad.yaml", &mk_secret("bad", &other.pem, &good.key));
    setup.write("route.yaml", &mk_route_to("one", &[], "one"));
    let gateway = setup.start().await;
    let https = gateway.setup.https;
    assert_eq!(gateway.who("a.test", "/").await, "one");
    assert_eq!(authority.get(https, "good.test", "/").await.unwrap().status, 200);
    assert!(authority.get(https, "bad.test", "/").await.is_err());

    gateway.setup.write("bad.yaml", &mk_secret("bad", &other.pem, &other.key));

    let mended = || async { authority.get(https, "bad.test", "/").await.map(|answer| assert_eq!(answer.status, 200)) };
    eventually("the mended listener answers", PATIENCE, mended).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn only_routes_of_allowed_namespaces_attach() {
    let mut setup = Setup::new();
    let [chosen, every, same] = crate::support::ports::free_ports();
    let selector = "allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { team: a } } } }";
    let listeners = [
        mk_http_listener("chosen", chosen, selector),
        mk_http_listener("every", every, "allowedRoutes: { namespaces: { from: All } }"),
        mk_http_listener("same", same, ""),
    ];
    let mut documents = vec![
        mk_class(),
        mk_gateway("public", &listeners.concat()),
        mk_namespace("apps", ""),
        mk_namespace("team-a", "team: a"),
        mk_namespace("team-b", "team: b"),
    ];
    let parent = "[{ name: public, namespace: apps }]";
    for namespace in ["apps", "team-a", "team-b"] {
        let address = setup.backend(namespace).await;
        let rule = "- backendRefs: [{ name: backend, port: 80 }]";
        documents.push(mk_service_in(namespace, "backend", &[address]));
        documents.push(mk_route_at(namespace, "route", parent, &[&format!("{namespace}.test")], rule));
    }
    setup.write("all.yaml", &mk_file(&documents));
    let gateway = setup.start().await;
    let ask = |port: u16, host: &'static str| async move {
        let request = Request::get("/").header("host", host).body(Full::default()).unwrap();
        who(&send(SocketAddr::from(([127, 0, 0, 1], port)), request).await.unwrap())
    };
    for (port, attached) in [(chosen, &["team-a"][..]), (every, &["apps", "team-a", "team-b"]), (same, &["apps"])] {
        for (namespace, host) in [("apps", "apps.test"), ("team-a", "team-a.test"), ("team-b", "team-b.test")] {
            let expected = if attached.contains(&namespace) { namespace } else { "404" };
            assert_eq!(ask(port, host).await, expected, "{host} on {port}, where {attached:?} are attached");
        }
    }

    // A label decides, and is followed.
    let all = mk_file(&documents).replace("team: b", "team: a");
    gateway.setup.write("all.yaml", &all);
    let attempt = || async {
        let seen = ask(chosen, "team-b.test").await;
        if seen == "team-b" { Ok(()) } else { Err(seen) }
    };
    eventually("the route of a namespace with a new label attaches", PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn gateways_bind_their_own_addresses_and_listeners_come_and_go() {
    let mut setup = Setup::new();
    setup.services(&["one"]).await;
    let port = setup.http.port();
    let addressed = |address: &str, port: u16| {
        let gateway = mk_gateway("public", &mk_http_listener("http", port, ""));
        let addresses = format!("gatewayClassName: tidegate\n  addresses: [{{ type: IPAddress, value: {address} }}]");
        mk_file(&[mk_class(), gateway.replace("gatewayClassName: tidegate", &addresses)])
    };
    setup.write("gateway.yaml", &addressed("127.0.0.2", port));
    setup.write("route.yaml", &mk_route_to("one", &[], "one"));
    let gateway = setup.start().await;
    let ask = |address: SocketAddr| async move {
        let request = Request::get("/").header("host", "a.test").body(Full::default()).unwrap();
        send(address, request).await.map(|answer| who(&answer))
    };
    let (second, first) = (SocketAddr::from(([127, 0, 0, 2], port)), SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(ask(second).await.as_deref(), Ok("one"));
    assert!(ask(first).await.is_err());

    let moved = crate::support::ports::free_port();
    gateway.setup.write("gateway.yaml", &addressed("127.0.0.1", moved));

    let first = SocketAddr::from(([127, 0, 0, 1], moved));
    eventually("the new listener answers", PATIENCE, || ask(first)).await;
    let closed = || async { ask(second).await.map_or(Ok(()), Err) };
    eventually("the old listener is closed", PATIENCE, closed).await;
}
