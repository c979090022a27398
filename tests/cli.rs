//! The command line as its users meet it: the binary, its exit codes, and what it says.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidegate::admin::ready::Published;
use tidegate::admin::snapshot::{SnapshotRestored, SnapshotStatus, SnapshotType};
use tidegate::admin::state::LogLevel;
use tidegate::admin::token::Key;
use tidegate::admin::watches::WatchRegistry;
use tidegate::admin::{AdminServer, AdminState, Catalogue, Slot, SyncPhase};
use tidegate::config::{Admin, Limits, Token, Watches};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::Object;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tidegate_actors::supervisor::{ChildSpec, Stop, Stopper, Strategy, Supervisor};

#[path = "support/http.rs"]
mod http;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/offline.rs"]
mod offline;
#[path = "support/ports.rs"]
mod ports;
#[path = "cli/running.rs"]
mod running;

const TOKEN: &str = "correct-horse-battery-staple";

fn tidegate(arguments: &[&str]) -> Output {
    tidegate_with(arguments, &[])
}

fn tidegate_with(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for name in ["TIDEGATE_CONFIG", "TIDEGATE_ADMIN", "TIDEGATE_TOKEN"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed by a signal: {}", stderr(output)))
}

fn config_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name).display().to_string()
}

fn mk_file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The config of a Tidegate whose proxies are elsewhere.
const TLS_CONFIG: &str = "xds:
  address: 0.0.0.0:18000
  tls: {cert_file: c, key_file: k, client_ca_file: a}
  clients: [{identity: '*', gateways: ['*']}]
";

#[test]
fn a_good_config_validates_silently() {
    let output = tidegate(&["validate", &config_file("tidegate.yaml"), &config_file("demo.yaml")]);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, String::new(), String::new()));
}

#[test]
fn a_bad_config_is_answered_with_file_line_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = mk_file(dir.path(), "bad.yaml", "sources:\n- kind: directory\n  name: a\n  path: x\nproxy:\n  bnd: x\n");
    let output = tidegate(&["validate", &path]);
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), format!("{path}:6:3: proxy.bnd: unknown key `bnd`; did you mean `bind`?\n"));

    let output = tidegate(&["validate", &path, "-o", "json"]);
    assert_eq!(code(&output), 1);
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found[0]["field"], "proxy.bnd");

    let output = tidegate(&["run", "--config", &path]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).starts_with(&format!("{path}:6:3: proxy.bnd: ")), "{}", stderr(&output));
    assert!(stderr(&output).contains("tidegate validate"), "{}", stderr(&output));
}

#[test]
fn the_environment_overrides_and_a_bad_variable_is_named() {
    let path = config_file("tidegate.yaml");
    let output = tidegate_with(&["validate", &path], &[("TIDEGATE__XDS__MAX_CLIENTS", "0")]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        stdout(&output),
        "environment variable TIDEGATE__XDS__MAX_CLIENTS: xds.max_clients: must be at least 1\n"
    );
}

#[test]
fn wrong_usage_is_exit_code_two_and_says_what_is_right() {
    for arguments in [
        &["runn"][..],
        &["validate"],
        &["validate", "/nowhere/at/all"],
        &["translate", "/nowhere/at/all"],
        &["schema", "-o", "table"],
        &["status", "-o", "xml"],
        &["run", "--log-level", "loud"],
        &["bootstrap", "--gateway", "no-namespace"],
        &["bootstrap", "--xds", "nonsense"],
        &["demo", "--config", "/nowhere/demo.yaml"],
        &["actors", "restart", "sources/demo"],
    ] {
        let output = tidegate(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty(), "{arguments:?}");
    }
    let output = tidegate(&["runn"]);
    assert!(stderr(&output).contains("'run'"), "{}", stderr(&output));
}

#[test]
fn the_schema_is_printed_and_accepts_the_annotated_config() {
    let output = tidegate(&["schema"]);
    assert_eq!(code(&output), 0);
    let schema: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(schema["title"], "Tidegate config");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["proxy"]["properties"]["bind"]["default"], "127.0.0.1");
    let output = tidegate(&["schema", "-o", "yaml"]);
    let yaml: Value = serde_saphyr::from_str(&stdout(&output)).unwrap();
    assert_eq!(yaml, schema);
}

#[test]
fn a_bootstrap_names_the_server_the_node_and_its_gateways() {
    let dir = tempfile::tempdir().unwrap();
    let path = mk_file(dir.path(), "t.yaml", "xds: {address: '127.0.0.1:19000'}\n");
    let arguments = ["bootstrap", "--config", &path, "--node-id", "edge-1", "--gateway", "default/web", "-o", "json"];
    let output = tidegate(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let bootstrap: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(bootstrap["node"]["id"], "edge-1");
    let text = bootstrap.to_string();
    assert!(text.contains("19000") && text.contains("default/web"), "{text}");

    let output = tidegate(&["bootstrap"]);
    let yaml: Value = serde_saphyr::from_str(&stdout(&output)).unwrap();
    assert!(yaml.to_string().contains("18000"), "{yaml}");
    // No address that a proxy could connect to.
    let path = mk_file(dir.path(), "all.yaml", TLS_CONFIG);
    let output = tidegate(&["bootstrap", "--config", &path]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--xds HOST:PORT"), "{}", stderr(&output));
    let output = tidegate(&["bootstrap", "--config", &path, "--xds", "control.example:18000"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--tls-cert, --tls-key and --tls-ca"), "{}", stderr(&output));
    let tls = ["--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key", "--tls-ca", "/tls/ca.crt"];
    let arguments = ["bootstrap", "--config", &path, "--xds", "control.example:18000"];
    let output = tidegate(&[&arguments[..], &tls].concat());
    assert!(stdout(&output).contains("sni: control.example"), "{}", stderr(&output));
    assert_eq!(code(&tidegate(&[&arguments[..], &tls[..4]].concat())), 2, "half of it is nothing");
}

#[test]
fn completion_scripts_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = tidegate(&["completion", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("translate"), "{shell}");
    }
    assert_eq!(code(&tidegate(&["completion", "abacus"])), 2);
}

#[test]
fn nobody_there_is_a_failure_that_says_what_to_do() {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let output = tidegate(&["status", "--address", &free.to_string()]);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    assert!(said.starts_with(&format!("error: connect to {free}: is Tidegate running")), "{said}");
    assert!(said.contains("refused"), "{said}");
}

struct Nothing;

#[async_trait]
impl Catalogue for Nothing {
    fn slots(&self) -> Vec<Slot> {
        let resource_type = ResourceType::new("example.com", "v1", "Widget", "widgets", Scope::Namespaced);
        let phase = SyncPhase::Stale("the directory went away".to_owned());
        vec![Slot { source: "demo".into(), resource_type, discovered: false, objects: 12, phase, age: None }]
    }

    fn objects(&self, _: &str, _: &ResourceType) -> Vec<Arc<Object>> {
        Vec::new()
    }

    async fn register(&self, _: &ResourceType) -> Result<(), String> {
        Ok(())
    }

    async fn unregister(&self, _: &ResourceType) -> Result<(), String> {
        Ok(())
    }
}

struct Quiet;

impl LogLevel for Quiet {
    fn get(&self) -> String {
        "off".to_owned()
    }

    fn set(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A running admin server; the token lies in a data directory, as a running Tidegate leaves it.
struct Rig {
    address: String,
    config: PathBuf,
    supervisor: Supervisor,
    _directory: tempfile::TempDir,
    _stopper: Stopper,
}

async fn mk_rig(fresh: bool) -> Rig {
    let env = Env::system();
    let directory = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::start("tidegate", Strategy::OneForOne, env.clone()).await.unwrap();
    let child = ChildSpec::task("worker", |context| async move {
        context.stop.stopped().await;
        Ok(())
    });
    supervisor.add(child).await.unwrap();
    let problems = Problems::default();
    let problem = Problem {
        place: "routes.yaml:17".into(),
        object: None,
        field: "spec".into(),
        reason: "is wrong\u{1b}[2J\nand more".into(),
        serving: Serving::LastGood,
    };
    problems.set("source/demo", "1", problem);
    let condition = json!({
        "type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no listener has that port",
        "observedGeneration": 3,
    });
    let parent = json!({ "parentRef": { "name": "gw", "sectionName": "http" }, "conditions": [condition] });
    let status = json!({
        "kind": "HTTPRoute", "source": "demo", "namespace": "default", "name": "web", "status": { "parents": [parent] },
    });
    let status = RawValue::from_string(status.to_string()).unwrap();
    let catalogue: Arc<dyn Catalogue> = Arc::new(Nothing);
    let state = AdminState {
        chaos: Default::default(),
        actors: Arc::new(supervisor.clone()),
        catalogue: catalogue.clone(),
        problems,
        required_types: Vec::new(),
        unserved: Arc::new(Vec::new),
        published: Arc::new(move || Published { fresh, snapshot: false }),
        model: Arc::new(|| None),
        statuses: Arc::new(move || vec![status.clone()]),
        proxies: Arc::new(|| json!({ "items": [] })),
        snapshot: Arc::new(mk_snapshot),
        metrics: Arc::new(String::new),
        watches: WatchRegistry::new(&Watches::default(), 1, directory.path(), &env, catalogue),
        log: Arc::new(Quiet),
        key: Key::new(&Token::new(TOKEN)),
    };
    let admin = Admin { address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)), ..Admin::default() };
    let server = AdminServer::bind(&admin, &Limits::default(), &env).await.unwrap();
    let address = server.address().to_string();
    let (stopper, stop) = Stop::channel();
    tokio::spawn(server.serve(state, stop));
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::fs::write(directory.path().join("data/admin-token"), TOKEN).unwrap();
    let config = directory.path().join("t.yaml");
    std::fs::write(&config, format!("admin: {{address: '{address}'}}\n")).unwrap();
    Rig { address, config, supervisor, _directory: directory, _stopper: stopper }
}

/// One that was of use, lacks what is secret, and has trouble with its disk.
fn mk_snapshot() -> SnapshotStatus {
    let of = |name: &str| SnapshotType {
        name: name.to_owned(),
        version: "v1".to_owned(),
        source: "demo".to_owned(),
        bytes: 2048,
        restored: Some(SnapshotRestored { objects: 12, age_seconds: Some(125.0) }),
        left_out: false,
        held_back: 0,
        problem: None,
    };
    let secrets = SnapshotType { bytes: 0, restored: None, left_out: true, ..of("secrets") };
    SnapshotStatus {
        enabled: true,
        bytes: 2048,
        written_seconds: Some(7.0),
        behind_seconds: Some(61.0),
        types: vec![of("widgets.example.com"), secrets],
        problems: vec!["widgets.snap: no space left".to_owned()],
        set_aside: vec!["widgets.snap.corrupt-1".into()],
        ..SnapshotStatus::default()
    }
}

/// Runs the binary beside the server that it asks.
async fn asked(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let own = |text: &&str| (*text).to_owned();
    let arguments: Vec<String> = arguments.iter().map(own).collect();
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        tidegate_with(&arguments, &env)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_readiness_types_conditions_and_problems() {
    let rig = mk_rig(true).await;
    let output = asked(&["status", "--address", &rig.address], &[]).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with(&format!("{}: ready, degraded: ", rig.address)), "{text}");
    let has = |parts: &[&str]| {
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        assert!(line.is_some(), "{parts:?} in\n{text}");
    };
    has(&["demo", "widgets.example.com", "12", "stale", "the directory went away"]);
    has(&["HTTPRoute demo:default/web", "parent gw/http", "Accepted", "False", "NoMatchingParent", "3", "no listener"]);
    has(&["source/demo", "routes.yaml:17", "last-good", "is wrong [2J and more"]);
    has(&[
        "snapshot: 1 of 2 types, 2 KiB, written 7 s ago; this run began with 1 types and 12 objects of it, up to 2 min old",
    ]);
    has(&["snapshot: ", "left out for being secret: secrets; NOT UP TO DATE for 1 min; widgets.snap: no space left"]);
    has(&["snapshot: ", "corrupt files were set aside: widgets.snap.corrupt-1"]);
    assert!(!text.contains('\u{1b}'), "a message controls nobody's terminal");

    let output = asked(&["status", "-o", "json"], &[("TIDEGATE_ADMIN", &rig.address)]).await;
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["readiness"]["ready"], true);
    assert_eq!(json["objects"][0]["name"], "web");
    assert_eq!(json["snapshot"]["types"][0]["restored"]["objects"], 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_of_one_that_is_not_ready_is_exit_code_one() {
    let rig = mk_rig(false).await;
    let output = asked(&["status", "--config", &rig.config.display().to_string()], &[]).await;
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("not ready: publication model"), "{}", stdout(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_are_steered_with_the_token_of_the_config_file_or_environment() {
    let rig = mk_rig(true).await;
    let state = || rig.supervisor.tree().children[0].state;
    let config = rig.config.display().to_string();
    let output = asked(&["actors", "pause", "worker", "--config", &config], &[]).await;
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "worker: pause done\n"), "{}", stderr(&output));
    assert_eq!(serde_json::to_value(state()).unwrap(), "paused");

    let output = asked(&["actors", "list", "--address", &rig.address], &[]).await;
    assert!(stdout(&output).lines().any(|line| line.contains("worker") && line.contains("paused")));

    let arguments = ["actors", "resume", "worker", "--address", &rig.address];
    let output = asked(&arguments, &[("TIDEGATE_TOKEN", "not the token at all")]).await;
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("this is not the admin token"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("not the token at all"));
    let output = asked(&arguments, &[("TIDEGATE_TOKEN", TOKEN)]).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));

    let output = asked(&["actors", "restart", "no body", "--config", &config], &[]).await;
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("there is no"), "{}", stderr(&output));
}
