//! `tidegate run` from its start to its end, as the other commands see it.

use std::process::{Child, Command, Output};

use serde_json::{Value, json};

use crate::{code, mk_file, ports, stderr, stdout, tidegate};

pub const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tidegate}
spec: {controllerName: tidegate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: tidegate
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
";

pub const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{port: 80}]}
";

/// Ends the process it holds, whatever becomes of the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is as wanted; panics with the last one after 30 s.
fn until(arguments: &[&str], wanted: impl Fn(&Output) -> bool) -> Output {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let output = tidegate(arguments);
        if wanted(&output) {
            return output;
        }
        let late = std::time::Instant::now() > deadline;
        assert!(!late, "{arguments:?}: {}\n{}", stdout(&output), stderr(&output));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_run_becomes_ready_follows_its_config_and_ends_in_order_on_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("manifests")).unwrap();
    mk_file(&dir.path().join("manifests"), "gateway.yaml", &format!("{GATEWAY}---\n{SERVICE}"));
    let ports: [u16; 2] = ports::free_ports();
    let config = |rest: &str| {
        format!(
            "admin: {{address: '127.0.0.1:{}'}}\nxds: {{address: '127.0.0.1:{}'}}\nproxy: {{managed: false}}\n\
             sources: [{{name: files, kind: directory, path: manifests}}]\n{rest}",
            ports[0], ports[1]
        )
    };
    let path = mk_file(dir.path(), "t.yaml", &config(""));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let command = command.args(["run", "--config", &path, "--log-level", "warn"]).stderr(log);
    let mut running = Running(command.spawn().unwrap());

    let status = ["status", "--config", &path, "-o", "json"];
    until(&status, |output| output.status.code() == Some(0));
    // Proxies are told first, and that is when it is ready; what objects are told comes after it.
    let route = |json: &Value| json["objects"].as_array()?.iter().find(|o| o["kind"] == "HTTPRoute").cloned();
    let shown = |output: &Output| serde_json::from_str::<Value>(&stdout(output)).unwrap_or_default();
    let json = shown(&until(&status, |output| route(&shown(output)).is_some()));
    assert_eq!(json["readiness"]["degraded"], false, "{json}");
    assert_eq!(route(&json).unwrap()["status"]["parents"][0]["conditions"][0]["status"], "True", "{json}");
    assert_eq!(json["problems"], json!([]));

    // A bad file changes nothing and is told of; the other commands are asked without it.
    std::fs::write(&path, config("log: {levle: debug}\n")).unwrap();
    let address = format!("127.0.0.1:{}", ports[0]);
    let status = ["status", "--address", &address, "-o", "json"];
    let problem = |output: &Output| shown(output)["problems"].clone();
    let output = until(&status, |output| problem(output)[0]["field"] == "log.levle");
    assert!(problem(&output)[0]["reason"].as_str().unwrap().contains("the running config stays"));
    assert_eq!(code(&output), 0);
    // What needs a restart is told of as well, until the file is as it was.
    std::fs::write(&path, config("shutdown_timeout: 20s\n")).unwrap();
    until(&status, |output| problem(output)[0]["field"] == "shutdown_timeout");
    std::fs::write(&path, config("")).unwrap();
    until(&status, |output| problem(output) == json!([]));

    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Two that come together are one: nothing is cut short.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("config refused") && !log.contains("panicked"), "{log}");
}
