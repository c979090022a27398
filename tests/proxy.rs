//! The local Envoy, with a real one: its bootstrap, its death and return, its life beyond ours, its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/envoy.rs"]
mod envoy;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/ports.rs"]
mod ports;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::json;
use tempfile::TempDir;
use tidegate::demo::echo::EchoBackend;
use tidegate::proxy::bootstrap::{AdminAddress, Bootstrap, BootstrapOptions, XdsAddress};
use tidegate::proxy::child::{ChildOptions, run};
use tidegate::proxy::envoy_admin::EnvoyState;
use tidegate::proxy::supervised::child_spec;
use tidegate::proxy::{ProxyError, ProxyEvent};
use tidegate_actors::env::Env;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use envoy::{PATIENCE, TestEnvoy, envoy_binary, eventually, get, loopback, validate};
use ports::free_ports;

/// An Envoy with a configuration of its own, so that nothing but the child's life is looked at: one listener before
/// one backend.
struct Rig {
    root: TempDir,
    listener: SocketAddr,
    options: ChildOptions,
}

impl Rig {
    /// The process that is noted for the next run to adopt.
    fn noted(&self) -> Option<u32> {
        let note = std::fs::read(self.options.runtime_dir.join("envoy-state.json")).ok()?;
        let note: serde_json::Value = serde_json::from_slice(&note).ok()?;
        u32::try_from(note["process"]["pid"].as_u64()?).ok()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed midway leaves an Envoy that nobody will adopt.
        if let Some(pid) = self.noted().filter(|_| std::thread::panicking()) {
            let _ = rustix::process::kill_process(process(pid), Signal::KILL);
        }
    }
}

fn mk_rig(backend: SocketAddr) -> Rig {
    let root = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let admin = root.path().join("admin.sock");
    let bootstrap = json!({
        "admin": { "address": { "pipe": { "path": admin, "mode": 0o600 } } },
        "static_resources": {
            "clusters": [{
                "name": "backend",
                "type": "STATIC",
                "load_assignment": { "cluster_name": "backend", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address":
                    { "socket_address": { "address": "127.0.0.1", "port_value": backend.port() } } } }] }] },
            }],
            "listeners": [{
                "name": "http",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
                "filter_chains": [{ "filters": [{
                    "name": "http",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "http",
                        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
                            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "backend" } }] }] },
                        "http_filters": [{ "name": "router", "typed_config":
                            { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
                    },
                }] }],
            }],
        },
    });
    let mut options =
        ChildOptions::new(envoy_binary(), root.path().join("run"), bootstrap.to_string(), AdminAddress::Socket(admin));
    options.concurrency = Some(1);
    Rig { root, listener: loopback(port), options }
}

/// A run loop in a task, with what it told.
struct Running {
    task: JoinHandle<Result<(), ProxyError>>,
    stop: oneshot::Sender<()>,
    events: Arc<Mutex<Vec<ProxyEvent>>>,
}

fn spawn(options: &ChildOptions) -> Running {
    let (stop, stopped) = oneshot::channel();
    let events = Arc::new(Mutex::new(Vec::new()));
    let (options, told) = (options.clone(), events.clone());
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        run(&options, stopped, move |event| told.lock().unwrap().push(event)).await
    });
    Running { task, stop, events }
}

impl Running {
    async fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(&ProxyEvent) -> Option<T>) -> T {
        eventually(what, PATIENCE, || {
            let events = self.events.lock().unwrap();
            let picked = events.iter().find_map(&mut pick).ok_or_else(|| events.clone());
            std::future::ready(picked)
        })
        .await
    }

    async fn live(&self) {
        let live =
            |event: &ProxyEvent| matches!(event, ProxyEvent::State { state: EnvoyState::Live, .. }).then_some(());
        self.wait_for("Envoy is live", live).await;
    }

    /// Its process, started by this run.
    async fn started(&self) -> u32 {
        let started = |event: &ProxyEvent| if let ProxyEvent::Started { pid } = event { Some(*pid) } else { None };
        self.wait_for("Envoy is started", started).await
    }

    /// The run loop is gone without having stopped anything, as after `kill -9`.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) -> Result<(), ProxyError> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

fn process(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap()
}

fn kill(pid: u32) {
    rustix::process::kill_process(process(pid), Signal::KILL).unwrap();
}

async fn mk_backend() -> tidegate::demo::echo::RunningEcho {
    EchoBackend::start("one", loopback(0)).await.unwrap()
}

async fn serves(listener: SocketAddr) -> Result<(), String> {
    match get(listener, "demo.local", "/").await? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("{answer:?}")),
    }
}

#[test]
#[ignore = "needs envoy: run by cargo xtask test"]
fn envoy_accepts_every_form_of_our_bootstrap() {
    let tcp = |host: &str| XdsAddress::Tcp { host: host.to_owned(), port: 9011 };
    let cases = [
        (XdsAddress::Socket("/run/tidegate/xds.sock".into()), AdminAddress::Socket("/run/tidegate/admin.sock".into())),
        (tcp("127.0.0.1"), AdminAddress::Tcp(loopback(9901))),
        (tcp("::1"), AdminAddress::Tcp("[::1]:9901".parse().unwrap())),
        (tcp("tidegate.example"), AdminAddress::Tcp(loopback(9901))),
    ];
    for (xds, admin) in cases {
        let mut options = BootstrapOptions::new("test", xds, admin);
        options.gateways = vec!["demo/demo".to_owned()];
        let bootstrap = Bootstrap::new(&options).unwrap();
        validate(&bootstrap.to_json().unwrap(), "bootstrap.json").unwrap();
        validate(&bootstrap.to_yaml().unwrap(), "bootstrap.yaml").unwrap();
    }
    assert!(validate("{ \"nodes\": {} }", "bootstrap.json").is_err(), "the check itself can fail");
}

#[tokio::test]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn without_a_control_plane_envoy_waits_and_is_not_ready() {
    let root = tempfile::tempdir().unwrap();
    let envoy = TestEnvoy::start(XdsAddress::Socket(root.path().join("xds.sock")), |_| {});

    envoy.wait_started().await;

    // Long enough for several attempts to connect, after which it still waits.
    let attempts = || async {
        let attempts = envoy.stat("cluster.tidegate-xds.upstream_cx_connect_fail").await;
        if attempts >= 3 { Ok(()) } else { Err(attempts) }
    };
    eventually("Envoy asks again and again", PATIENCE, attempts).await;
    assert_eq!(envoy.admin().state().await.unwrap(), EnvoyState::Initializing);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_killed_envoy_ends_its_run_and_serves_again_within_a_second() {
    let backend = mk_backend().await;
    let rig = mk_rig(backend.address());
    let alone = spawn(&rig.options);
    let pid = alone.started().await;
    alone.live().await;
    kill(pid);
    let error = alone.task.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, ProxyError::Exited { pid: ended, status, .. } if *ended == pid && status.contains("signal: 9")),
        "{error}"
    );

    let supervisor = Supervisor::start("test", Strategy::OneForOne, Env::system()).await.unwrap();
    supervisor.add(child_spec("envoy", rig.options.clone())).await.unwrap();
    eventually("the first serves", PATIENCE, || serves(rig.listener)).await;
    kill(rig.noted().unwrap());
    let killed = Instant::now();
    eventually("the old one is gone", PATIENCE, || async { serves(rig.listener).await.err().ok_or("it serves") }).await;
    eventually("the next serves", PATIENCE, || serves(rig.listener)).await;

    let took = killed.elapsed();
    supervisor.shutdown(PATIENCE).await;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert!(serves(rig.listener).await.is_err(), "a shutdown ends it");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_envoy_outlives_us_and_is_adopted() {
    let backend = mk_backend().await;
    let rig = mk_rig(backend.address());
    let first = spawn(&rig.options);
    let pid = first.started().await;
    first.live().await;

    let group = rustix::process::getpgid(Some(process(pid))).unwrap();
    assert_eq!(group, process(pid), "it has a process group of its own, which no terminal's Ctrl-C reaches");

    first.crash().await;
    serves(rig.listener).await.unwrap();
    let second = spawn(&rig.options);
    second.live().await;

    let events = second.events.lock().unwrap().clone();
    assert_eq!(events[0], ProxyEvent::Adopted { pid });
    serves(rig.listener).await.unwrap();
    // An adopted one is watched as well.
    kill(pid);
    let end = tokio::time::timeout(PATIENCE, second.task).await.unwrap().unwrap();
    assert!(matches!(end, Err(ProxyError::Exited { pid: ended, .. }) if ended == pid), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_envoy_with_another_bootstrap_is_replaced() {
    let backend = mk_backend().await;
    let mut rig = mk_rig(backend.address());
    let first = spawn(&rig.options);
    let pid = first.started().await;
    first.live().await;
    first.crash().await;
    rig.options.bootstrap.push('\n');

    let second = spawn(&rig.options);
    let next = second.started().await;
    second.live().await;

    let events = second.events.lock().unwrap().clone();
    assert!(
        matches!(&events[0], ProxyEvent::Replaced { pid: old, reason } if *old == pid && reason.contains("another")),
        "{events:?}"
    );
    assert!(events.contains(&ProxyEvent::Stopped { pid }), "{events:?}");
    assert_ne!(next, pid);
    serves(rig.listener).await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_envoy_that_was_draining_when_we_died_is_replaced() {
    let backend = mk_backend().await;
    let rig = mk_rig(backend.address());
    let first = spawn(&rig.options);
    let pid = first.started().await;
    first.live().await;
    first.crash().await;
    let admin = tidegate::proxy::envoy_admin::EnvoyAdmin::new(rig.options.admin.clone());
    admin.drain().await.unwrap();

    let second = spawn(&rig.options);
    second.live().await;

    let events = second.events.lock().unwrap().clone();
    assert!(
        matches!(&events[0], ProxyEvent::Replaced { pid: old, reason } if *old == pid && reason.contains("stopped")),
        "{events:?}"
    );
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_stop_lets_requests_finish_and_leaves_nothing_behind() {
    let backend = mk_backend().await;
    let rig = mk_rig(backend.address());
    let running = spawn(&rig.options);
    running.live().await;
    let listener = rig.listener;
    let slow = tokio::spawn(async move { get(listener, "demo.local", "/?sleep=1000").await });
    let admin = tidegate::proxy::envoy_admin::EnvoyAdmin::new(rig.options.admin.clone());
    let begun = || async {
        let load = admin.load().await.map_err(|error| error.to_string())?;
        if load.requests == 1 { Ok(()) } else { Err(format!("{load:?}")) }
    };
    eventually("the slow request has begun", PATIENCE, begun).await;

    let events = running.events.clone();
    let told = Instant::now();
    running.stop().await.unwrap();

    let took = told.elapsed();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
    assert!(took < rig.options.drain_timeout, "it waited longer than for the request: {took:?}");
    let events = events.lock().unwrap().clone();
    assert!(
        matches!(events[events.len() - 2..], [ProxyEvent::Draining { .. }, ProxyEvent::Stopped { .. }]),
        "{events:?}"
    );
    assert!(serves(rig.listener).await.is_err());
    assert!(!rig.root.path().join("run/envoy-state.json").exists());
    let again = spawn(&rig.options);
    again.started().await;
    again.live().await;
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_request_that_never_ends_is_cut_at_the_deadline() {
    let backend = mk_backend().await;
    let mut rig = mk_rig(backend.address());
    rig.options.drain_timeout = Duration::from_millis(300);
    let running = spawn(&rig.options);
    running.live().await;
    let listener = rig.listener;
    let endless = tokio::spawn(async move { get(listener, "demo.local", "/?sleep=60000").await });
    let admin = tidegate::proxy::envoy_admin::EnvoyAdmin::new(rig.options.admin.clone());
    let begun = || async { admin.load().await.ok().filter(|load| load.requests == 1).ok_or("no request yet") };
    eventually("the request has begun", PATIENCE, begun).await;

    running.stop().await.unwrap();

    assert!(endless.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_bootstrap_that_envoy_refuses_is_told_in_its_own_words() {
    let backend = mk_backend().await;
    let mut rig = mk_rig(backend.address());
    rig.options.bootstrap = r#"{ "static_resources": { "listenerz": [] } }"#.to_owned();

    let error = spawn(&rig.options).task.await.unwrap().unwrap_err();

    let message = error.to_string();
    assert!(message.contains("listenerz") && message.contains("exit status: 1"), "{message}");
}
