//! Whatever is refused for a limit is named with the key that raises it, and counted.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::running::{GATEWAY, Running, SERVICE};
use crate::{TOKEN, http, mk_file, ports};

const CONFIG: &str = "
proxy: {managed: false}
sources: [{name: files, kind: directory, path: manifests}]
watches: {allow: [widgets.example.com/v1]}
limits: {object_size: 1KiB, file_size: 4KiB, routes_per_gateway: 1, watches: 0, request_size: 1KiB}
";

/// A Service with so many bytes in it, and more.
fn mk_large(name: &str, size: usize) -> String {
    let filler = "x".repeat(size);
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, annotations: {{a: {filler}}}}}\n\
         spec: {{ports: [{{port: 80}}]}}\n"
    )
}

fn mk_route(name: &str, expression: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  rules:\n  \
         - matches: [{{path: {{type: RegularExpression, value: '{expression}'}}}}]\n    \
         backendRefs: [{{name: web, port: 80}}]\n"
    )
}

async fn until_listening(admin: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = std::net::TcpStream::connect(admin) {
        assert!(Instant::now() < deadline, "nobody listens at {admin}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks until everything of it is in the answer.
async fn until_said(admin: SocketAddr, path: &str, wanted: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = http::get(admin, path).await.body;
        let Some(missing) = wanted.iter().find(|wanted| !said.contains(**wanted)) else { return };
        assert!(Instant::now() < deadline, "{missing} is not in {path}: {said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn whatever_is_refused_for_a_limit_is_named_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    mk_file(&manifests, "gateway.yaml", &format!("{GATEWAY}---\n{SERVICE}"));
    mk_file(&manifests, "object.yaml", &mk_large("object", 2_000));
    mk_file(&manifests, "file.yaml", &mk_large("file", 5_000));
    mk_file(&manifests, "second.yaml", &mk_route("web-two", "/two"));
    mk_file(&manifests, "regex.yaml", &mk_route("regex", "/[a-z]{900}{9}"));
    let [admin, xds] = ports::free_ports();
    let addresses =
        format!("admin: {{address: '127.0.0.1:{admin}', token: {TOKEN}}}\nxds: {{address: '127.0.0.1:{xds}'}}");
    let path = mk_file(dir.path(), "t.yaml", &format!("{addresses}{CONFIG}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let _running = Running(command.args(["run", "--config", &path, "--log-level", "error"]).spawn().unwrap());
    let admin = SocketAddr::from(([127, 0, 0, 1], admin));
    until_listening(admin).await;

    let watch = json!({"resource": "widgets.example.com/v1", "kind": "Widget", "scope": "Namespaced"});
    let refused = http::send(admin, "POST", "/api/v1/watches", Some(TOKEN), Some(watch)).await;
    assert!(refused.body.contains("raise `limits.watches`"), "{}", refused.body);
    let long = json!({"level": "x".repeat(2_000)});
    let refused = http::send(admin, "PUT", "/api/v1/log", Some(TOKEN), Some(long)).await;
    assert!(refused.status == 413 && refused.body.contains("`limits.request_size`"), "{}", refused.body);
    let named = ["raise limits.object_size", "raise limits.file_size", "limits.routes_per_gateway", "make it simpler"];
    until_said(admin, "/api/v1/problems", &named).await;
    let limits = ["object_size", "file_size", "routes_per_gateway", "regex_program_size", "watches", "request_size"];
    let counted = limits.map(|limit| format!("tidegate_limits_exceeded_total{{limit=\"{limit}\"}} "));
    until_said(admin, "/metrics", &counted.each_ref().map(String::as_str)).await;
}
