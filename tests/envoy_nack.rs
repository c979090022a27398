//! What a real Envoy rejects: that one resource is held back at its last good version, everything else goes live, the
//! object that caused it is named in the proxy's words, and mending it heals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/xds_model.rs"]
mod model;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tidegate::app::App;
use tidegate::demo::echo::{EchoBackend, RunningEcho};
use tidegate::model::PathMatch;
use tidegate::proxy::bootstrap::XdsAddress;
use tidegate::publish::xds::{Options, XdsPublisher, XdsServer};
use tidegate_actors::env::Env;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use model::{Update, mk_forward, mk_host, mk_http_listener, mk_https_chain, mk_route, mk_secret, mk_table};
use support::envoy::{PATIENCE, TestEnvoy, eventually, get, loopback};
use support::gateway::{Setup, who};
use support::manifests as yaml;
use support::ports::{free_port, free_ports};
use support::tls::Authority;

/// Waits until a backend (or a status) answers.
async fn until(address: SocketAddr, host: &str, path: &str, backend: &str) {
    let attempt = || async {
        let seen = who(&get(address, host, path).await?);
        if seen == backend { Ok(()) } else { Err(seen) }
    };
    eventually(&format!("{backend} answers {host}{path}"), PATIENCE, attempt).await;
}

/// Waits until a problem stands for a rejected resource, and there is no other of the kind.
async fn until_rejected(problems: &Problems) -> Problem {
    let attempt = || {
        let mut rejected =
            problems.list().into_iter().filter(|(scope, _)| scope.starts_with("xds/") && scope != "xds/check");
        let found = rejected.next().map(|(_, problem)| problem).ok_or_else(|| "no problem".to_owned());
        let others: Vec<_> = rejected.collect();
        std::future::ready(if others.is_empty() { found } else { Err(format!("more than one: {others:#?}")) })
    };
    eventually("a rejected resource is told", PATIENCE, attempt).await
}

async fn until_healed(problems: &Problems) {
    let attempt = || {
        let left = problems.list();
        std::future::ready(if left.is_empty() { Ok(()) } else { Err(left) })
    };
    eventually("nothing is wrong any more", PATIENCE, attempt).await;
}

/// The object that a problem names, as `Kind name`.
fn named(problem: &Problem) -> String {
    let object = problem.object.as_ref();
    object.map(|object| format!("{} {}", object.resource_type.kind(), object.key.name)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_listener_on_a_taken_port_is_held_back_alone_and_heals_when_it_moves() {
    let mut setup = Setup::new();
    setup.services(&["one", "two"]).await;
    let taken = TcpListener::bind(loopback(free_port())).unwrap();
    let listeners = |second: u16| {
        let listeners =
            [yaml::mk_http_listener("http", setup.http.port(), ""), yaml::mk_http_listener("second", second, "")];
        yaml::mk_file(&[yaml::mk_class(), yaml::mk_gateway("public", &listeners.concat())])
    };
    let (bad, free) = (listeners(taken.local_addr().unwrap().port()), free_port());
    let good = listeners(free);
    setup.write("gateway.yaml", &bad);
    setup.write("route.yaml", &yaml::mk_route_to("all", &[], "one"));
    let gateway = setup.start().await;

    assert_eq!(gateway.who("a.test", "/").await, "one");
    let problem = until_rejected(&gateway.app.problems).await;
    assert_eq!((named(&problem).as_str(), problem.serving), ("Gateway public", Serving::Nothing), "{problem}");
    assert!(problem.reason.contains("Address already in use"), "{problem}");

    // All else is followed meanwhile.
    gateway.setup.write("route.yaml", &yaml::mk_route_to("all", &[], "two"));
    gateway.until_who("two", "a.test", "/").await;

    gateway.setup.write("gateway.yaml", &good);
    until(loopback(free), "a.test", "/", "two").await;
    until_healed(&gateway.app.problems).await;
    assert_eq!(gateway.who("a.test", "/").await, "two");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_route_that_somebodys_own_envoy_rejects_is_held_back_alone_and_names_its_httproute() {
    let mut setup = Setup::new();
    setup.services(&["one", "two"]).await;
    let address = setup.http;
    let regex = |value: &str, backend: &str| {
        let rule = format!(
            "- matches: [{{ path: {{ type: RegularExpression, value: '{value}' }} }}]\n  backendRefs: [{{ name: {backend}, port: 80 }}]"
        );
        yaml::mk_route_for("regex", &["a.test"], &rule)
    };
    setup.write("gateway.yaml", &yaml::mk_http_gateway(address.port()));
    setup.write("regex.yaml", &regex("/v[0-9]+", "one"));
    setup.write("other.yaml", &yaml::mk_route_to("other", &["b.test"], "one"));
    let builder = tidegate::builder::Tidegate::builder();
    let app = App::start(&builder, &setup.config, &tidegate::app::Hooks::default(), Env::system()).await.unwrap();
    let xds = app.xds_address.unwrap();
    // It has smaller limits than the Envoys that we start.
    let envoy = TestEnvoy::start(XdsAddress::Tcp { host: xds.ip().to_string(), port: xds.port() }, |options| {
        options.max_regex_program = 50;
    });
    envoy.wait_live().await;
    until(address, "a.test", "/v1", "one").await;

    // A good change and a bad one, at once.
    setup.write("regex.yaml", &regex("/[a-z]{200}", "two"));
    setup.write("other.yaml", &yaml::mk_route_to("other", &["b.test"], "two"));
    until(address, "b.test", "/", "two").await;
    let problem = until_rejected(&app.problems).await;
    assert_eq!((named(&problem).as_str(), problem.serving), ("HTTPRoute regex", Serving::LastGood), "{problem}");
    assert!(problem.reason.contains("program size"), "{problem}");
    assert_eq!(who(&get(address, "a.test", "/v1").await.unwrap()), "one");

    // A new host beside the one that is held back.
    setup.write("third.yaml", &yaml::mk_route_to("third", &["c.test"], "two"));
    until(address, "c.test", "/", "two").await;
    assert_eq!(who(&get(address, "a.test", "/v1").await.unwrap()), "one");

    setup.write("regex.yaml", &regex("/w[0-9]+", "two"));
    until(address, "a.test", "/w1", "two").await;
    until_healed(&app.problems).await;
    app.supervisor.shutdown(PATIENCE).await;
}

/// An xDS server with an Envoy and two backends, for models that no manifest leads to.
struct Smuggler {
    publisher: XdsPublisher,
    /// The server's life.
    running: Option<(CancellationToken, JoinHandle<()>)>,
    problems: Problems,
    envoy: TestEnvoy,
    backends: [RunningEcho; 2],
}

async fn mk_smuggler() -> Smuggler {
    let problems = Problems::default();
    let port = free_port();
    let options = Options { tcp: Some(loopback(port)), drain: Duration::from_millis(100), ..Options::default() };
    let publisher = XdsPublisher::new(options, problems.clone(), Env::system());
    let envoy = TestEnvoy::start(XdsAddress::Tcp { host: "127.0.0.1".to_owned(), port }, |_| {});
    let backend = |name: &'static str| EchoBackend::start(name, loopback(0));
    let backends = [backend("one").await.unwrap(), backend("two").await.unwrap()];
    let mut smuggler = Smuggler { publisher, running: None, problems, envoy, backends };
    smuggler.serve_anew().await;
    smuggler
}

impl Drop for Smuggler {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.cancel();
        }
    }
}

impl Smuggler {
    /// Ends the server, if it runs, and starts it again: Envoy has to connect anew.
    async fn serve_anew(&mut self) {
        if let Some((stop, run)) = self.running.take() {
            stop.cancel();
            run.await.unwrap();
        }
        let (server, stop) = (XdsServer::bind(&self.publisher).await.unwrap(), CancellationToken::new());
        let run = server.run(stop.clone());
        self.running = Some((stop, tokio::spawn(async move { run.await.unwrap() })));
    }

    /// The first step of a model: both backends as Services.
    fn begin(&self) -> Update {
        let [one, two] = &self.backends;
        Update::to(1).service("one", &[one.address()]).service("two", &[two.address()])
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_rejected_virtual_host_leaves_those_of_the_same_response_alone() {
    let rig = mk_smuggler().await;
    let [port] = free_ports();
    let (table, address) = (mk_table(port), loopback(port));
    let host = |domain: &str, route: &str, path: PathMatch, backend: &str| {
        mk_host(&table, domain, [mk_route(route, path, mk_forward(backend))])
    };
    let all = || PathMatch::Prefix("/".into());
    let domains: Vec<String> = (0..20).map(|at| format!("good-{at:02}.test")).collect();
    let mut update =
        rig.begin().listener(mk_http_listener(port, &["public"])).host(host("good-10x.test", "bad", all(), "one"));
    for domain in &domains {
        update = update.host(host(domain, "good", all(), "one"));
    }
    rig.publisher.apply(&update.0);
    rig.envoy.wait_live().await;
    until(address, "good-10x.test", "/", "one").await;

    // Which Envoy is told of in one response, with the bad one in the middle.
    let mut update = Update::to(2).host(host("good-10x.test", "bad", PathMatch::Regex("(unclosed".into()), "two"));
    for domain in &domains {
        update = update.host(host(domain, "good", all(), "two"));
    }
    rig.publisher.apply(&update.0);

    for domain in &domains {
        until(address, domain, "/", "two").await;
    }
    assert_eq!(who(&get(address, "good-10x.test", "/").await.unwrap()), "one", "the last good version is kept");
    let problem = until_rejected(&rig.problems).await;
    assert_eq!((named(&problem).as_str(), problem.serving), ("HTTPRoute bad", Serving::LastGood), "{problem}");
    assert!(problem.reason.contains("(unclosed"), "{problem}");

    rig.publisher.apply(&Update::to(3).host(host("good-10x.test", "bad", all(), "two")).0);
    until(address, "good-10x.test", "/", "two").await;
    until_healed(&rig.problems).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_rejected_certificate_keeps_its_last_good_version_and_others_are_renewed() {
    let rig = mk_smuggler().await;
    let authority = Authority::new();
    let [port] = free_ports();
    let address = loopback(port);
    let chains = ["a", "b"].map(|name| mk_https_chain("public", name, &[&format!("{name}.test")], &[name]));
    let hosts = chains.each_ref().map(|chain| {
        mk_host(&chain.route_config, "*", [mk_route("all", PathMatch::Prefix("/".into()), mk_forward("one"))])
    });
    let [a, b] = [authority.issue(&["a.test"]), authority.issue(&["b.test"])];
    let listener = tidegate::model::Listener { id: model::mk_listener_id(port), chains: chains.to_vec() };
    let mut update = rig.begin().listener(listener);
    for host in hosts {
        update = update.host(host);
    }
    rig.publisher.apply(&update.secret(mk_secret("a", &a.pem, &a.key)).secret(mk_secret("b", &b.pem, &b.key)).0);
    rig.envoy.wait_live().await;
    let shown = async |host: &'static str| authority.get(address, host, "/").await.map(|answer| answer.certificate);
    assert!(shown("a.test").await.unwrap() == a.der && shown("b.test").await.unwrap() == b.der);

    // The key of `a` does not belong to its certificate; `b` is renewed in the same step.
    let renewed = authority.issue(&["b.test"]);
    let step = Update::to(2).secret(mk_secret("a", &a.pem, &b.key)).secret(mk_secret("b", &renewed.pem, &renewed.key));
    rig.publisher.apply(&step.0);

    let attempt = || async {
        let certificate = authority.get(address, "b.test", "/").await?.certificate;
        if certificate == renewed.der { Ok(()) } else { Err("the old one is shown".to_owned()) }
    };
    eventually("the renewed certificate is shown", PATIENCE, attempt).await;
    let problem = until_rejected(&rig.problems).await;
    assert_eq!((named(&problem).as_str(), problem.serving), ("Secret a", Serving::LastGood), "{problem}");
    let rejections = rig.publisher.rejections().all();
    let concerned: Vec<_> = rejections.keys().map(|object| object.resource_type.kind()).collect();
    assert_eq!(concerned, ["Gateway", "Secret"], "the listener that shows it is told, too");
    let told = rejections.values().flatten().map(|of| of.reason.clone()).chain([problem.to_string()]);
    for text in told {
        assert!(text.contains("KEY_VALUES_MISMATCH"), "Envoy's words are kept: {text}");
        let parts = b.key.lines().chain(["PRIVATE KEY"]).filter(|line| !line.starts_with("-----"));
        parts.for_each(|part| assert!(!text.contains(part), "{text}"));
    }
    assert!(shown("a.test").await.unwrap() == a.der, "the last good certificate is shown");

    let mended = authority.issue(&["a.test"]);
    rig.publisher.apply(&Update::to(3).secret(mk_secret("a", &mended.pem, &mended.key)).0);
    let attempt = || async {
        let certificate = authority.get(address, "a.test", "/").await?.certificate;
        if certificate == mended.der { Ok(()) } else { Err("the old one is shown".to_owned()) }
    };
    eventually("the mended certificate is shown", PATIENCE, attempt).await;
    until_healed(&rig.problems).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_certificate_that_was_never_good_is_told_again_by_an_envoy_that_reconnects() {
    let mut rig = mk_smuggler().await;
    let authority = Authority::new();
    let [port] = free_ports();
    let chain = mk_https_chain("public", "a", &["a.test"], &["a"]);
    let host = mk_host(&chain.route_config, "*", [mk_route("all", PathMatch::Prefix("/".into()), mk_forward("one"))]);
    let listener = tidegate::model::Listener { id: model::mk_listener_id(port), chains: vec![chain] };
    let [a, other] = [authority.issue(&["a.test"]), authority.issue(&["a.test"])];
    let bad = rig.begin().listener(listener).host(host).secret(mk_secret("a", &a.pem, &other.key));
    rig.publisher.apply(&bad.0);

    let mut streams = Vec::new();
    for _ in 0..3 {
        let problem = until_rejected(&rig.problems).await;
        assert_eq!((named(&problem).as_str(), problem.serving), ("Secret a", Serving::Nothing), "{problem}");
        let client = rig.publisher.clients().iter().map(|client| client.id).next_back();
        assert!(client.is_some() && !streams.contains(&client), "{client:?} after {streams:?}");
        streams.push(client);
        rig.serve_anew().await;
    }

    rig.publisher.apply(&Update::to(2).secret(mk_secret("a", &a.pem, &a.key)).0);
    let attempt = async || authority.get(loopback(port), "a.test", "/").await.map(|answer| answer.status);
    assert_eq!(eventually("the mended certificate is shown", PATIENCE, attempt).await, 200);
    until_healed(&rig.problems).await;
}
