//! A real Envoy: it boots from us, follows every kind of change, and what it rejects harms nothing else.

use std::sync::Arc;
use std::time::Duration;

use tidegate::model::{
    AppProtocol, Backend as ModelBackend, Cluster, HeaderEdit, HostRewrite, Matcher, Mirror, PathMatch, PathRewrite,
    Redirect, Route, RouteAction, RouteFilters, Timeouts,
};
use tidegate::publish::xds::Options;

use crate::Server;
use crate::envoy::{Answer, Backend, Envoy, get, get_tls, get_until};
use crate::model::*;
use crate::ports::free_port;

const PROTOCOLS: [&str; 2] = ["DELTA_GRPC", "GRPC"];

struct Setup {
    server: Server,
    envoy: Envoy,
    port: u16,
}

/// Envoy with one listener and the host a.example.com, which goes to the backend `a`.
async fn start(protocol: &str, a: &Backend) -> Setup {
    let server = Server::start().await;
    let port = free_port();
    let host = mk_host(&mk_table(port), "a.example.com", [mk_route_to("a")]);
    server.apply(Update::to(1).listener(mk_http_listener(port, &["public"])).service("a", &[a.address]).host(host));
    let envoy = Envoy::start(server.address, "one", protocol);
    let answer = get_until(port, "a.example.com", "/x", |answer| answer.status == 200).await;
    assert!(answer.unwrap().body.starts_with("a\nGET /x"), "{}", envoy.log());
    Setup { server, envoy, port }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn every_kind_of_change_is_live() {
    for protocol in PROTOCOLS {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        let Setup { server, envoy, port } = start(protocol, &a).await;
        let table = mk_table(port);
        let is = |name: &'static str| move |answer: &Answer| answer.body.starts_with(name);

        // A host, and a Service that nobody knew, in one step; its first answer is not an error.
        let host = mk_host(&table, "b.example.com", [mk_route_to("b")]);
        server.apply(Update::to(2).service("b", &[b.address]).host(host));
        let answer = get_until(port, "B.example.com:1234", "/", |answer| answer.status != 404).await.unwrap();
        assert!(answer.body.starts_with("b\n"), "{protocol}: {answer:?} {}", envoy.log());

        // A route, more specific than the other.
        let route = mk_route("more", PathMatch::Prefix("/b".into()), mk_forward("b"));
        server.apply(Update::to(3).host(mk_host(&table, "a.example.com", [route, mk_route_to("a")])));
        get_until(port, "a.example.com", "/b/c", is("b")).await.unwrap();
        assert!(get(port, "a.example.com", "/bc").await.body.starts_with("a\n"), "a prefix is whole elements");

        // Endpoints.
        server.apply(Update::to(4).endpoints(mk_endpoints("a", &[b.address])));
        get_until(port, "a.example.com", "/", is("b")).await.unwrap();

        // Another listener with a table of its own, and one without any host.
        let (second, empty) = (free_port(), free_port());
        let host = mk_host(&mk_table(second), "*", [mk_route_to("b")]);
        let update = Update::to(5).listener(mk_http_listener(second, &["public"])).host(host);
        server.apply(update.listener(mk_http_listener(empty, &["public"])));
        get_until(second, "any.where", "/", is("b")).await.unwrap();
        get_until(empty, "any.where", "/", |answer| answer.status == 404).await.unwrap();

        // Things go: a host, then a listener with its host and Service.
        server.apply(Update::to(6).no_host(&table, "b.example.com"));
        get_until(port, "b.example.com", "/", |answer| answer.status == 404).await.unwrap();
        server.apply(Update::to(7).no_listener(second).no_host(&mk_table(second), "*"));
        get_until(second, "any.where", "/", |answer| answer.status == 0).await.unwrap();
        let host = mk_host(&table, "a.example.com", [mk_route_to("a")]);
        server.apply(Update::to(8).no_service("b").service("a", &[a.address]).host(host));
        get_until(port, "a.example.com", "/b", is("a")).await.unwrap();
        server.until("all is confirmed", |server| server.publisher.clients()[0].live_version == 8).await;
        assert_eq!(server.problems(), []);

        // And a listener comes back under the name that it had.
        let host = mk_host(&mk_table(second), "*", [mk_route_to("a")]);
        server.apply(Update::to(9).listener(mk_http_listener(second, &["public"])).host(host));
        get_until(second, "any.where", "/", is("a")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn what_envoy_rejects_is_held_back_and_everything_else_is_served() {
    for protocol in PROTOCOLS {
        let a = Backend::start("a").await;
        let Setup { server, envoy, port } = start(protocol, &a).await;
        let table = mk_table(port);
        let other = mk_table(free_port());
        let good = |version| mk_host(&table, &format!("v{version}.example.com"), [mk_route_to("a")]);
        // An unbalanced bracket, smuggled past the validation that would have caught it. In state of the world a
        // host is part of its table, so the good change is in another one.
        let delta = protocol == "DELTA_GRPC";
        let broken = |table, domain: &str| {
            let worse = mk_route("worse", PathMatch::Regex("(unclosed".into()), mk_forward("a"));
            mk_host(table, domain, [worse, mk_route_to("a")])
        };
        let bad = broken(if delta { &table } else { &other }, "bad.example.com");
        let second = other.rsplit(':').next().unwrap().parse().unwrap();
        let mut update = Update::to(2).listener(mk_http_listener(second, &["public"]));
        for n in 0..5 {
            update = update.host(good(n));
        }
        server.apply(update.host(bad));
        for n in 0..5 {
            let host = format!("v{n}.example.com");
            get_until(port, &host, "/", |answer| answer.status == 200).await.unwrap();
        }
        server.until("the culprit is named", |server| !server.problems().is_empty()).await;
        let problems = server.problems();
        assert!(problems.iter().all(|(scope, _, _)| scope == "xds/one"), "{problems:?}");
        assert!(problems.iter().any(|(_, object, _)| object == "worse"), "{problems:?}");
        assert!(problems[0].2.contains("missing )"), "{problems:?} {}", envoy.log());

        // What comes later is not held up, and the object heals when it is mended.
        server.apply(Update::to(3).host(good(9)));
        get_until(port, "v9.example.com", "/", |answer| answer.status == 200).await.unwrap();
        let (port, table) = if delta { (port, &table) } else { (second, &other) };
        server.apply(Update::to(4).host(mk_host(table, "bad.example.com", [mk_route_to("a")])));
        get_until(port, "bad.example.com", "/", |answer| answer.status == 200).await.unwrap();
        server.until("the problem is gone", |server| server.problems().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn certificates_are_served_by_name_rotated_and_a_bad_one_harms_itself_alone() {
    for protocol in PROTOCOLS {
        let a = Backend::start("a").await;
        let Setup { server, envoy, .. } = start(protocol, &a).await;
        let port = free_port();
        let mk = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            rcgen::generate_simple_self_signed(names).unwrap()
        };
        let (one, two, wild) = (mk(&["one.example.com"]), mk(&["one.example.com"]), mk(&["*.wild.example.com"]));
        let secret = |name, certified: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            mk_secret(name, &certified.cert.pem(), &certified.signing_key.serialize_pem())
        };
        let mut listener = mk_http_listener(port, &["public"]);
        listener.chains = vec![
            mk_https_chain("public", "one", &["one.example.com"], &["one"]),
            mk_https_chain("public", "wild", &["*.wild.example.com"], &["wild"]),
        ];
        let hosts = [("one", "one.example.com"), ("wild", "*.wild.example.com")].map(|(name, domain)| {
            let table = format!("https/{SOURCE}/infra/public/{name}").into();
            mk_host(&table, domain, [mk_route_to("a")])
        });
        let [first, second] = hosts;
        let update = Update::to(2).listener(listener).host(first).host(second);
        server.apply(update.secret(secret("one", &one)).secret(secret("wild", &wild)));
        let until = async |port: u16, host: &'static str, trusted: String| {
            let end = std::time::Instant::now() + crate::envoy::DEADLINE;
            loop {
                let answer = get_tls(port, host, "/", &trusted).await;
                if answer.status == 200 {
                    return;
                }
                assert!(std::time::Instant::now() < end, "{protocol} {host}: {answer:?} {}", envoy.log());
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        until(port, "one.example.com", one.cert.pem()).await;
        until(port, "x.wild.example.com", wild.cert.pem()).await;

        server.apply(Update::to(3).secret(secret("one", &two)));
        until(port, "one.example.com", two.cert.pem()).await;

        // A key that does not belong to its certificate, together with a good rotation back.
        let bad = mk_secret("wild", &wild.cert.pem(), &one.signing_key.serialize_pem());
        server.apply(Update::to(4).secret(bad).secret(secret("one", &one)));
        until(port, "one.example.com", one.cert.pem()).await;
        server.until("the culprit is named", |server| !server.problems().is_empty()).await;
        let problems = server.problems();
        assert_eq!((problems[0].1.as_str(), problems.len()), ("wild", 1), "{problems:?}");
        assert!(!problems[0].2.contains("PRIVATE KEY"));
        assert_eq!(get_tls(port, "x.wild.example.com", "/", &wild.cert.pem()).await.status, 200, "the old one serves");
        // A new listener with it gets the old one too.
        let third = free_port();
        let mut listener = mk_http_listener(third, &["public"]);
        listener.chains = vec![mk_https_chain("public", "wild", &["*.wild.example.com"], &["wild"])];
        server.apply(Update::to(5).listener(listener));
        until(third, "x.wild.example.com", wild.cert.pem()).await;
        server.apply(Update::to(6).secret(secret("wild", &wild)));
        server.until("the problem is gone", |server| server.problems().is_empty()).await;
    }
}

/// Keeps asking until told to stop; what was not answered 200.
async fn hammer(port: u16, host: &'static str, stop: tokio_util::sync::CancellationToken) -> (usize, Vec<Answer>) {
    let (mut asked, mut failed) = (0, Vec::new());
    while !stop.is_cancelled() {
        let answer = get(port, host, "/").await;
        asked += 1;
        if answer.status != 200 {
            failed.push(answer);
        }
    }
    (asked, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn routes_move_between_services_that_come_and_go_without_a_failed_request() {
    for protocol in PROTOCOLS {
        let a = Backend::start("a").await;
        let Setup { mut server, envoy, port } = start(protocol, &a).await;
        let table = mk_table(port);
        let stop = tokio_util::sync::CancellationToken::new();
        let asking = tokio::spawn(hammer(port, "a.example.com", stop.clone()));
        // One step each time: a new Service, all routes to it, the old one gone.
        let step = |version: u64| {
            let service = |version: u64| if version == 1 { "a".to_owned() } else { format!("s{version}") };
            let (old, new) = (service(version - 1), service(version));
            let host = mk_host(&table, "a.example.com", [mk_route_to(&new)]);
            Update::to(version).service(&new, &[a.address]).no_service(&old).host(host)
        };
        for version in 2..40 {
            server.apply(step(version));
            if version % 3 == 0 {
                server.until("it is live", |server| server.publisher.clients()[0].live_version == version).await;
            }
        }
        // The control plane goes, and comes back: with the next step taken meanwhile, for a delta client. In state
        // of the world the first list of clusters is the whole truth, and what it leaves out is gone at once.
        let back = if protocol == "DELTA_GRPC" { 40 } else { 39 };
        let address = server.address;
        server.stop.cancel();
        (&mut server.run).await.unwrap().unwrap();
        let listener = mk_http_listener(port, &["public"]);
        let options = Options { tcp: Some(address), ..Options::default() };
        let server = Server::with(options).await;
        server.apply(step(back).listener(listener));
        server
            .until("it is live again", |server| {
                server.publisher.clients().first().is_some_and(|client| {
                    client.live_version == back
                        && client.types.iter().any(|state| state.kind == "rds" && !state.in_flight)
                })
            })
            .await;
        server.apply(step(41));
        server.until("it is live", |server| server.publisher.clients()[0].live_version == 41).await;
        stop.cancel();
        let (asked, failed) = asking.await.unwrap();
        assert!(failed.is_empty(), "{protocol}: {} of {asked} failed: {failed:?} {}", failed.len(), envoy.log());
        assert!(asked > 20, "{asked} requests");
        assert_eq!(server.problems(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn paths_are_rewritten_as_the_gateway_api_wants_it() {
    let a = Backend::start("a").await;
    let Setup { server, envoy, port } = start("DELTA_GRPC", &a).await;
    let table = mk_table(port);
    let long = format!("/{}", "long.".repeat(60));
    let rewrite = |prefix: &str, replacement: &str| {
        let mut action = mk_forward("a");
        if let RouteAction::Forward { path_rewrite, .. } = &mut action {
            *path_rewrite = Some(PathRewrite::Prefix(replacement.into()));
        }
        mk_route(&prefix.replace('/', "-"), PathMatch::Prefix(prefix.into()), action)
    };
    let mut full = mk_forward("a");
    if let RouteAction::Forward { path_rewrite, .. } = &mut full {
        *path_rewrite = Some(PathRewrite::Full("/whole".into()));
    }
    let redirect = |path: Option<PathRewrite>| {
        let port = None;
        RouteAction::Redirect(Redirect { scheme: Some("https".into()), host: None, port, path, status: 301 })
    };
    let root = || Some(PathRewrite::Prefix("/".into()));
    let routes = [
        rewrite("/foo", "/xyz"),
        rewrite("/slash", "/xyz/"),
        rewrite("/gone", "/"),
        rewrite(&long, "/"),
        mk_route("full", PathMatch::Prefix("/full".into()), full),
        mk_route("plain", PathMatch::Prefix("/plain".into()), redirect(None)),
        mk_route("moved", PathMatch::Prefix("/moved".into()), redirect(root())),
    ];
    server.apply(Update::to(2).host(mk_host(&table, "a.example.com", routes)));
    server.apply(Update::to(3).host(mk_host(&table, "*", [rewrite("/", "/xyz")])));
    server.until("it is live", |server| server.publisher.clients()[0].live_version == 3).await;
    assert_eq!(server.problems(), [], "{}", envoy.log());
    let long_and_more = format!("{long}/bar?q=1");
    get_until(port, "other", "/bar", |answer| answer.status == 200).await.unwrap();
    for (host, path, wanted) in [
        ("a.example.com", "/foo/bar", "/xyz/bar"),
        ("a.example.com", "/foo", "/xyz"),
        ("a.example.com", "/foo/", "/xyz/"),
        ("a.example.com", "/slash/bar", "/xyz/bar"),
        ("a.example.com", "/gone/bar", "/bar"),
        ("a.example.com", "/gone", "/"),
        ("a.example.com", "/gone/", "/"),
        ("a.example.com", &long_and_more, "/bar?q=1"),
        ("a.example.com", "/full/bar?q=1", "/whole?q=1"),
        ("other", "/bar", "/xyz/bar"),
    ] {
        let answer = get(port, host, path).await;
        assert!(answer.body.starts_with(&format!("a\nGET {wanted} HTTP")), "{path}: {answer:?}");
    }
    for (host, path, wanted) in [
        ("a.example.com:8080", "/plain/x?q=1", "https://a.example.com/plain/x?q=1"),
        ("a.example.com", "/moved/x", "https://a.example.com/x"),
        ("a.example.com", "/moved", "https://a.example.com/"),
    ] {
        let answer = get(port, host, path).await;
        assert_eq!((answer.status, answer.location()), (301, Some(wanted)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn every_feature_of_a_route_is_accepted_and_works() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let Setup { server, envoy, port } = start("DELTA_GRPC", &a).await;
    let table = mk_table(port);
    let backend = |service: Option<&str>, weight| ModelBackend {
        cluster: service.map(mk_cluster_id),
        weight,
        filters: RouteFilters::default(),
    };
    let to = |backends: Vec<ModelBackend>| RouteAction::Forward {
        backends,
        mirrors: vec![Mirror { cluster: mk_cluster_id("b"), fraction: (100, 100) }],
        path_rewrite: None,
        host_rewrite: Some(HostRewrite("inner.example.com".into())),
        timeouts: Timeouts { request: Some(Duration::from_secs(9)), backend_request: Some(Duration::from_secs(3)) },
    };
    let mut own = backend(Some("a"), 1);
    own.filters.request.set = vec![("x-own".into(), "100%".into())];
    let mut edited = Route::clone(&mk_route("edited", PathMatch::Prefix("/edited".into()), to(vec![own])).1);
    edited.filters.request =
        HeaderEdit { set: vec![("x-set".into(), "1".into())], add: vec![], remove: vec!["x-gone".into()] };
    edited.filters.response.add = vec![("x-answer".into(), "2".into())];
    let mut picky = Route::clone(&mk_route("picky", PathMatch::Regex("/p[ai]th".into()), mk_forward("a")).1);
    picky.matching.method = Some("GET".into());
    picky.matching.query = vec![("q".into(), Matcher::Regex("[0-9]+".into()))];
    picky.matching.headers = vec![("host".into(), Matcher::Regex(".*".into()))];
    let keyed = |model: Route| (mk_route(&model.name, model.matching.path.clone(), mk_forward("a")).0, Arc::new(model));
    let nothing = RouteAction::Respond { status: 404, reason: "nothing there".to_owned() };
    let routes = [
        keyed(edited),
        keyed(picky),
        mk_route("half", PathMatch::Prefix("/half".into()), to(vec![backend(Some("a"), 1), backend(None, 1)])),
        mk_route("broken", PathMatch::Prefix("/broken".into()), to(vec![backend(None, 1)])),
        mk_route("nothing", PathMatch::Exact("/nothing".into()), nothing),
        mk_route("unready", PathMatch::Exact("/unready".into()), mk_forward("empty")),
    ];
    let h2c = Cluster { protocol: AppProtocol::H2c, ..mk_cluster("h2c") };
    let services = Update::to(2).service("b", &[b.address]).service("empty", &[]).cluster(h2c);
    server.apply(services.host(mk_host(&table, "*.example.com", routes)));
    server.until("it is live", |server| server.publisher.clients()[0].live_version == 2).await;
    assert_eq!(server.problems(), [], "{}", envoy.log());

    // Envoy's main thread confirms before its workers have it.
    let answer = get_until(port, "x.y.example.com", "/edited", |answer| answer.status == 200).await.unwrap();
    for wanted in ["a\nGET /edited", "host: inner.example.com", "x-own: 100%\n", "x-set: 1"] {
        assert!(answer.body.replace('\r', "").contains(wanted), "{wanted}: {answer:?}");
    }
    assert!(answer.head.contains("x-answer: 2"), "{answer:?}");
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(get(port, "b.example.com", "/half").await.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&500), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 500].contains(status)), "{statuses:?}");
    for (path, status) in [
        ("/path?q=7", 200),
        ("/path?q=x", 404),
        ("/longer/path?q=7", 404),
        ("/broken", 500),
        ("/nothing", 404),
        ("/unready", 503),
    ] {
        assert_eq!(get(port, "b.example.com", path).await.status, status, "{path}");
    }
    // Copies are sent without waiting for them.
    let end = std::time::Instant::now() + crate::envoy::DEADLINE;
    while b.asked() < 5 {
        assert!(std::time::Instant::now() < end, "mirrored {} times", b.asked());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_request_passes_its_routes_edits_and_then_its_backends_and_an_answer_the_other_way() {
    for protocol in PROTOCOLS {
        let a = Backend::start("a").await;
        let Setup { server, envoy, port } = start(protocol, &a).await;
        let mut action = mk_forward("a");
        let RouteAction::Forward { backends, .. } = &mut action else { panic!("{action:?}") };
        backends[0].filters.request.set = vec![("x-set".into(), "backend".into())];
        backends[0].filters.request.add = vec![("x-gone".into(), "backend".into())];
        backends[0].filters.response.set = vec![("x-answer".into(), "backend".into())];
        let mut route = Route::clone(&mk_route("edited", PathMatch::Prefix("/edited".into()), action).1);
        route.filters.request.set = vec![("x-set".into(), "route".into()), ("x-route".into(), "route".into())];
        route.filters.request.remove = vec!["x-gone".into()];
        route.filters.response.set = vec![("x-answer".into(), "route".into())];
        let (precedence, _) = mk_route("edited", PathMatch::Prefix("/edited".into()), mk_forward("a"));
        let host = mk_host(&mk_table(port), "b.example.com", [(precedence, Arc::new(route))]);
        server.apply(Update::to(2).host(host));
        let answer = get_until(port, "b.example.com", "/edited", |answer| answer.status == 200).await.unwrap();
        for wanted in ["x-set: backend", "x-gone: backend", "x-route: route"] {
            assert!(answer.body.contains(wanted), "{protocol} {wanted}: {answer:?} {}", envoy.log());
        }
        assert!(!answer.body.contains("x-set: route"), "{protocol}: {answer:?}");
        assert!(answer.head.contains("x-answer: route") && !answer.head.contains("x-answer: backend"), "{answer:?}");
    }
}
