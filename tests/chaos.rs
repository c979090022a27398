//! `tidegate chaos` against a service that runs as a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::envoy::get;
use support::ports::free_port;
use support::service::Service;

/// A service over the demo's manifests, without a proxy.
struct Target {
    folder: tempfile::TempDir,
    admin: SocketAddr,
    service: Service,
}

async fn mk_target(chaos: &str) -> Target {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    for (name, text) in tidegate::demo::MANIFESTS {
        std::fs::write(folder.path().join("manifests").join(name), text).unwrap();
    }
    let (admin, xds) = (free_port(), free_port());
    let config = format!(
        "data_dir: data\nadmin: {{ address: '127.0.0.1:{admin}' }}\nxds: {{ address: '127.0.0.1:{xds}' }}\n\
         proxy: {{ managed: false }}\nsources: [{{ name: demo, kind: directory, path: manifests }}]\n{chaos}"
    );
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let service = Service::start(&["run", "--config", "config.yaml"], folder.path(), &folder.path().join("data"));
    let admin = SocketAddr::from(([127, 0, 0, 1], admin));
    service.until_ready(admin).await;
    Target { folder, admin, service }
}

fn chaos(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for name in ["TIDEGATE_CONFIG", "TIDEGATE_ADMIN", "TIDEGATE_TOKEN"] {
        command.env_remove(name);
    }
    command.args(["chaos", "--config", "config.yaml"]).args(arguments).current_dir(folder);
    command
}

async fn run(target: &Target, arguments: &[&str]) -> (i32, String, String) {
    let mut command = chaos(target.folder.path(), arguments);
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_service_that_says_nothing_of_it_is_not_attacked_and_the_remedy_is_told() {
    let target = mk_target("").await;
    let (code, out, err) = run(&target, &["--duration", "1s"]).await;
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("403") && err.contains("set `chaos.enabled: true`"), "{err}");
    let answer = get(target.admin, "localhost", "/api/v1/chaos").await.unwrap();
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn every_attack_is_survived_and_told() {
    let target = mk_target("chaos: { enabled: true }\n").await;
    let arguments = ["--seed", "7", "--duration", "6s", "--every", "400ms", "-o", "json"];
    let (code, out, err) = run(&target, &arguments).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["seed"], &report["ready"]), (&Value::from(7), &Value::from(true)));
    let blows = report["blows"].as_array().unwrap();
    assert!(blows.len() >= 10, "{out}");
    assert!(report["restarts"].as_u64().unwrap() > 0, "{out}");
    let kinds: std::collections::BTreeSet<&str> = blows.iter().map(|blow| blow["fault"].as_str().unwrap()).collect();
    assert!(kinds.len() >= 4, "{kinds:?}");

    // It goes on serving what its source says.
    let demo = std::fs::read_to_string(target.folder.path().join("manifests/routes.yaml")).unwrap();
    let changed = demo.replace("example.com", "example.net");
    std::fs::write(target.folder.path().join("manifests/routes.yaml"), changed).unwrap();
    let shown = || async {
        let answer = get(target.admin, "localhost", "/api/v1/status").await.map_err(|error| error.to_string())?;
        let body = answer.body;
        if body.contains("HTTPRoute") { Ok(()) } else { Err(body) }
    };
    support::envoy::eventually("statuses are told", Duration::from_secs(10), shown).await;
}

#[tokio::test]
async fn a_table_tells_each_attack_and_ctrl_c_heals_all() {
    let target = mk_target("chaos: { enabled: true }\n").await;
    let mut command =
        chaos(target.folder.path(), &["--seed", "3", "--duration", "10m", "--every", "1s", "--faults", "pause"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let paused = || async {
        let answer = get(target.admin, "localhost", "/api/v1/chaos").await.map_err(|error| error.to_string())?;
        let body = answer.body;
        if body.contains("pause") { Ok(()) } else { Err(body) }
    };
    support::envoy::eventually("something is paused", Duration::from_secs(20), paused).await;
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("attacks") && out.contains("now ready") && out.contains("again with: --seed 3"), "{out}");
    let answer = get(target.admin, "localhost", "/api/v1/chaos").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["active"], serde_json::json!([]));
}
