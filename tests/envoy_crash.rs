//! Sudden death: Tidegate's, which Envoy survives, and Envoy's, which Tidegate mends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tidegate::demo::echo::{EchoBackend, RunningEcho};

use support::envoy::{PATIENCE, envoy_binary, eventually, get, loopback};
use support::gateway::{process, serve};
use support::manifests::mk_route_to;
use support::ports::free_ports;
use support::service::{Service, is_alive};
use support::versioned::Versioned;

/// A folder with a config file and manifests, for a Tidegate that runs as a process.
struct Rig {
    folder: tempfile::TempDir,
    admin: SocketAddr,
    versioned: Versioned,
    _backends: [RunningEcho; 2],
}

async fn mk_rig() -> Rig {
    let folder = tempfile::Builder::new().prefix("crash").tempdir().unwrap();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    let [admin, xds, envoy, http, https] = free_ports();
    let config = format!(
        "sources: [{{ name: files, kind: directory, path: manifests }}]
gateway: {{ allow_backends: [loopback] }}
admin: {{ address: 127.0.0.1:{admin} }}
xds: {{ address: 127.0.0.1:{xds} }}
proxy: {{ managed: true, concurrency: 1, admin_address: 127.0.0.1:{envoy}, drain_timeout: 200ms }}
data_dir: data
"
    );
    std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
    let backend = |name: &'static str| EchoBackend::start(name, loopback(0));
    let backends = [backend("even").await.unwrap(), backend("odd").await.unwrap()];
    let (admin, http, https) = (loopback(admin), loopback(http), loopback(https));
    let versioned = Versioned::new(http, https, backends.each_ref().map(RunningEcho::address));
    versioned.write(&folder.path().join("manifests"));
    Rig { folder, admin, versioned, _backends: backends }
}

impl Rig {
    fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    fn start(&self) -> Service {
        let envoy = envoy_binary().display().to_string();
        let folder: &Path = self.folder.path();
        Service::start(&["run", "--config", "tidegate.yaml", "--envoy", &envoy], folder, &folder.join("data"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn envoy_survives_tidegates_death_and_is_adopted_with_no_failed_request() {
    let mut rig = mk_rig().await;
    let mut service = rig.start();
    service.until_ready(rig.admin).await;
    rig.versioned.until_live("at the start").await;
    let envoy = service.envoy_pid().unwrap();
    let load = rig.versioned.load();
    let begun = Instant::now();
    for round in 0..4 {
        // In odd rounds it dies amid a change.
        if round % 2 == 1 {
            rig.versioned.next(&rig.manifests());
            tokio::time::sleep(Duration::from_millis(15 * round)).await;
        }
        service.kill();
        assert!(is_alive(envoy), "Envoy died with Tidegate");
        load.more(20).await;
        rig.versioned.next(&rig.manifests());

        let started = Instant::now();
        service.start_again();
        rig.versioned.until_live("after the restart").await;
        eprintln!("round {round}: what changed while it was down is live {:?} after the start", started.elapsed());
        service.until_ready(rig.admin).await;
        assert_eq!(service.envoy_pid(), Some(envoy), "Envoy was not adopted: {}", service.err());
        rig.versioned.next(&rig.manifests());
        rig.versioned.until_live("after a change under the new Tidegate").await;
    }
    let outcome = load.stop().await;
    eprintln!("{} requests in {:?}, slowest {:?}", outcome.requests, begun.elapsed(), outcome.slowest);
    outcome.assert_no_failure(100);

    service.signal(Signal::TERM);
    let status = service.ended(PATIENCE).await;
    assert!(status.success(), "{status}");
    assert!(!is_alive(envoy), "Envoy is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_killed_envoy_serves_again_within_a_second() {
    let mut all = Vec::new();
    // A gateway a time: one whose Envoy keeps dying is right to wait longer.
    for _ in 0..3 {
        let gateway = serve(&["one"], &[mk_route_to("all", &[], "one")]).await;
        let (http, killed) = (gateway.setup.http, gateway.envoy_pid().unwrap());
        let begun = Instant::now();
        kill_process(process(killed), Signal::KILL).unwrap();
        // Its sockets are gone before another's answer counts.
        eventually("Envoy is dead", PATIENCE, || {
            std::future::ready(if is_alive(killed) { Err("it lives") } else { Ok(()) })
        })
        .await;
        eventually("it serves again", PATIENCE, || async {
            let answer = get(http, "a.test", "/").await?;
            if answer.backend() == "one" { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        all.push(begun.elapsed());
        assert_ne!(gateway.envoy_pid(), Some(killed));
        gateway.setup.write("route-0.yaml", &mk_route_to("all", &["b.test"], "one"));
        gateway.until_who("404", "a.test", "/").await;
    }
    all.sort();
    eprintln!("a killed Envoy serves again after {all:?}");
    assert!(all[1] < Duration::from_secs(1), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn both_may_die_at_once_and_the_next_tidegate_serves_again() {
    let mut rig = mk_rig().await;
    let mut service = rig.start();
    service.until_ready(rig.admin).await;
    rig.versioned.until_live("at the start").await;
    let envoy = service.envoy_pid().unwrap();

    service.kill();
    kill_process(process(envoy), Signal::KILL).unwrap();
    rig.versioned.next(&rig.manifests());

    service.start_again();
    rig.versioned.until_live("after both died").await;
    let next = service.envoy_pid().unwrap();
    assert!(next != envoy && is_alive(next));
}
