//! Edits under load: 500 requests a second while routes, endpoints and certificates change 200 times. No request fails,
//! and each edit is live in the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::envoy::{Answer, PATIENCE, eventually, loopback};
use support::gateway::{Gateway, Setup};
use support::load::{Check, Load, Target, ok};
use support::manifests::{
    mk_class, mk_file, mk_gateway, mk_http_listener, mk_https_listener, mk_route_for, mk_secret, mk_service,
};
use support::tls::{Authority, TlsAnswer};
use tidegate::demo::echo::EchoBackend;

const EDITS: usize = 200;
const REQUESTS: u64 = 5_000;

/// Writes a file in one of the ways in which editors and tools do. It is never not there.
fn edit(path: &Path, text: &str, way: usize) {
    let beside = path.with_extension("tmp");
    match way % 4 {
        0 => std::fs::write(path, text).unwrap(),
        1 => {
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(&beside, path).unwrap();
        }
        // In two parts, with time for somebody to look in between.
        2 => {
            let (first, second) = text.split_at(text.len() / 2);
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(first.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(3));
            file.write_all(second.as_bytes()).unwrap();
        }
        // The old one becomes a backup before the new one is there, as vim does.
        _ => {
            std::fs::rename(path, path.with_extension("yaml~")).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
}

/// The route's version is in its answers, and in the path that the backend sees.
fn mk_versioned_route(version: usize) -> String {
    let rules = format!(
        "
         - matches: [{{ path: {{ type: PathPrefix, value: / }} }}]
           filters:
             - {{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-version, value: v{version} }}] }} }}
           backendRefs: [{{ name: pool, port: 80 }}]
         - matches: [{{ path: {{ type: Exact, value: /v{version} }} }}]
           backendRefs: [{{ name: pool, port: 80 }}]"
    );
    mk_route_for("versioned", &["a.test"], &rules)
}

/// Two of three backends, other ones each time.
fn mk_pool(backends: &[SocketAddr; 3], version: usize) -> String {
    mk_service("pool", &[backends[version % 3], backends[(version + 1) % 3]])
}

struct Rig {
    gateway: Gateway,
    backends: [SocketAddr; 3],
    authority: Arc<Authority>,
}

async fn mk_rig() -> Rig {
    let mut setup = Setup::new();
    let backends = [setup.backend("a").await, setup.backend("b").await, setup.backend("c").await];
    let authority = Arc::new(Authority::new());
    let certificate = authority.issue(&["a.test"]);
    let listeners = [
        mk_http_listener("http", setup.http.port(), ""),
        mk_https_listener("https", setup.https.port(), "a.test", &["certificate"]),
    ];
    setup.write("gateway.yaml", &mk_file(&[mk_class(), mk_gateway("public", &listeners.concat())]));
    setup.write("route.yaml", &mk_versioned_route(0));
    setup.write("pool.yaml", &mk_pool(&backends, 0));
    setup.write("certificate.yaml", &mk_secret("certificate", &certificate.pem, &certificate.key));
    Rig { gateway: setup.start().await, backends, authority }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn no_request_fails_while_routes_endpoints_and_certificates_change_200_times() {
    let Rig { gateway, backends, authority } = mk_rig().await;
    let (plain, secure) = (Target::new(gateway.setup.http, "a.test"), Target::new(gateway.setup.https, "a.test"));
    let newest = Arc::new(AtomicUsize::new(0));
    let seen = newest.clone();
    let check: Check<_> = Arc::new(move |answer: &Answer| {
        let version = answer.header("x-version").trim_start_matches('v').parse();
        let version: usize = version.map_err(|_| format!("{answer:?}"))?;
        seen.fetch_max(version, Ordering::SeqCst);
        if answer.status == 200 && !answer.backend().is_empty() { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let shown = Arc::new(parking_lot::Mutex::new(BTreeSet::<Vec<u8>>::new()));
    let certificates = shown.clone();
    let check_tls: Check<_> = Arc::new(move |answer: &TlsAnswer| {
        certificates.lock().insert(answer.certificate.to_vec());
        if answer.status == 200 { Ok(()) } else { Err(answer.text.clone()) }
    });
    let mut load = Load::new();
    for _ in 0..10 {
        load = load.kept(40, &plain, &check);
    }
    load = load.fresh(30, &plain, &check).fresh(30, &plain, &check);
    load = load.tls(20, &secure, &authority, &check_tls).tls(20, &secure, &authority, &check_tls);

    let folder = gateway.setup.manifests();
    let mut last = authority.issue(&["a.test"]);
    let begun = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let (mut routes, mut pools, mut secrets) = (0, 0, 0);
    for at in 1..=EDITS {
        pace.tick().await;
        match at % 5 {
            0 => {
                secrets += 1;
                last = authority.issue(&["a.test"]);
                edit(&folder.join("certificate.yaml"), &mk_secret("certificate", &last.pem, &last.key), secrets);
            }
            1 | 3 => {
                pools += 1;
                edit(&folder.join("pool.yaml"), &mk_pool(&backends, pools), pools);
            }
            _ => {
                routes += 1;
                edit(&folder.join("route.yaml"), &mk_versioned_route(routes), routes);
            }
        }
    }
    let edited = begun.elapsed();

    let newest_seen = || {
        let seen = newest.load(Ordering::SeqCst);
        std::future::ready(if seen == routes { Ok(()) } else { Err(format!("v{seen} instead of v{routes}")) })
    };
    eventually("the last route is live", PATIENCE, newest_seen).await;
    let last_shown =
        || std::future::ready(if shown.lock().contains(&last.der.to_vec()) { Ok(()) } else { Err("not yet") });
    eventually("the last certificate is shown", PATIENCE, last_shown).await;
    let done = load.requests();
    load.more(REQUESTS.saturating_sub(done).max(200)).await;
    let outcome = load.stop().await;
    eprintln!(
        "{} requests in {:?} ({:.0}/s), slowest {:?}, {:?}; {EDITS} edits ({routes} routes, {pools} endpoints, {secrets} \
         certificates, of which {} were shown) in {edited:?}",
        outcome.requests,
        outcome.took,
        outcome.requests as f64 / outcome.took.as_secs_f64(),
        outcome.slowest,
        outcome.backends,
        shown.lock().len(),
    );
    outcome.assert_no_failure(REQUESTS);
    assert_eq!(outcome.backends.len(), 4, "all backends were used, and TLS: {:?}", outcome.backends);
    assert!(shown.lock().len() > secrets / 4, "most certificates are shown before the next replaces them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn no_request_fails_while_backends_are_replaced_one_by_one() {
    let Rig { gateway, authority: _, .. } = mk_rig().await;
    let target = Target::new(gateway.setup.http, "a.test");
    let check = ok();
    let load = Load::new().kept(50, &target, &check).kept(50, &target, &check).fresh(20, &target, &check);
    let pool = gateway.setup.manifests().join("pool.yaml");
    let mut old: Option<Replaceable> = None;
    for round in 0..10 {
        // As a rolling update does: the new one comes, the old one is taken out, and once that is live it ends.
        let new = Replaceable::start(&format!("round-{round}")).await;
        if let Some(old) = &old {
            edit(&pool, &mk_service("pool", &[old.address, new.address]), round);
            until_backends(&gateway, &[&old.name, &new.name]).await;
        }
        edit(&pool, &mk_service("pool", &[new.address]), round + 1);
        until_backends(&gateway, &[&new.name]).await;
        if let Some(old) = old.replace(new) {
            old.end().await;
        }
        load.more(30).await;
    }
    let outcome = load.stop().await;
    eprintln!("{} requests in {:?}, slowest {:?}", outcome.requests, outcome.took, outcome.slowest);
    outcome.assert_no_failure(300);
    assert!(outcome.backends.len() >= 10, "{:?}", outcome.backends);
}

/// A backend that ends as a well-behaved one does: it answers what it has begun, then it is gone.
struct Replaceable {
    name: String,
    address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Replaceable {
    async fn start(name: &str) -> Self {
        let backend = EchoBackend::bind(name, loopback(0)).await.unwrap();
        let address = backend.address();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = backend.run(async { drop(stopped.await) });
        let task = tokio::spawn(async { run.await.unwrap() });
        Self { name: name.to_owned(), address, stop, task }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// Waits until these backends answer, and no other.
async fn until_backends(gateway: &Gateway, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    let attempt = || async {
        let mut seen = BTreeSet::new();
        for _ in 0..10 {
            seen.insert(gateway.who("a.test", "/").await);
        }
        if seen == expected { Ok(()) } else { Err(seen) }
    };
    eventually(&format!("{expected:?} answer"), PATIENCE, attempt).await;
}
