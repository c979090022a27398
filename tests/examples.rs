//! Each example runs, ends by itself, and prints what it says it prints. `cargo test` builds examples; a run of this
//! suite alone needs `cargo build --examples` first.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const EXAMPLES: [&str; 7] =
    ["correlation", "event_handler", "fault_kit", "own_binary", "publisher", "source_of_ones_own", "supervised_actor"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn source(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.rs"))).unwrap()
}

fn example(name: &str) -> Command {
    // This very program is in target/PROFILE/deps.
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: run `cargo build --examples`", program.display());
    Command::new(program)
}

fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = example(name).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.code().is_some(), "{name} was killed: {stderr}");
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// What the comment at its top says that it prints.
fn promised(name: &str) -> String {
    let source = source(name);
    let block = source.split("//! ```").nth(1).unwrap().strip_prefix("text\n").unwrap();
    block.lines().map(|line| format!("{}\n", line.strip_prefix("//! ").unwrap())).collect()
}

#[test]
fn every_example_is_run_here_has_fewer_than_100_lines_and_says_how_to_run_it() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let expected = EXAMPLES.map(|name| format!("{name}.rs"));
    assert_eq!(files.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    for name in EXAMPLES {
        let lines = source(name).lines().count();
        assert!(lines < 100, "{name} has {lines} lines");
        assert!(source(name).contains(&format!("cargo run --example {name}")), "{name} does not say how to run it");
    }
}

#[test]
fn examples_print_what_they_say_they_print() {
    for name in ["event_handler", "fault_kit", "publisher", "source_of_ones_own", "supervised_actor"] {
        assert_eq!(run(name, &[]), (Some(0), promised(name)), "{name}");
    }
}

#[test]
fn a_correlation_runs_again_only_for_what_looked_at_a_change() {
    let expected = "\
at first:
  card of emma runs
  card of ulysses runs
  => emma by nobody known (1 of 1)
  => ulysses by James (1 of 1)
  => 1 by austen on the shelf
  => 1 by joyce on the shelf
an author comes:
  card of emma runs
  => emma by Jane (1 of 1)
one book more:
  card of emma runs
  card of persuasion runs
  => emma by Jane (1 of 2)
  => persuasion by Jane (1 of 2)
  => 2 by austen on the shelf
what no view sees:
";
    assert_eq!(run("correlation", &[]), (Some(0), expected.to_owned()));
}

/// A folder with a config that uses the kind of the example, on free ports and without a proxy.
fn mk_config(every: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("machines.txt"), "web 127.0.0.7 8080\nweb 127.0.0.8 8080\n").unwrap();
    let config = format!(
        "data_dir: data\nadmin: {{ address: '127.0.0.1:0' }}\nxds: {{ address: '127.0.0.1:0' }}\n\
         proxy: {{ managed: false }}\ngateway: {{ allow_backends: [loopback] }}\nsources:\n- name: machines\n  kind: endpoints\n  file: machines.txt\n  {every}\n"
    );
    let path = folder.path().join("config.yaml");
    fs::write(&path, config).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_binary_of_ones_own_has_its_kind_of_source_in_the_schema() {
    let (code, schema) = run("own_binary", &["schema"]);
    assert_eq!(code, Some(0));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let kinds = schema["properties"]["sources"]["items"]["oneOf"].as_array().unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap()).collect();
    assert_eq!(names, ["directory", "endpoints", "kubernetes"]);
    let endpoints = &kinds[1];
    assert_eq!(endpoints["additionalProperties"], false);
    assert_eq!(endpoints["required"], serde_json::json!(["name", "kind", "file"]));
    let about = endpoints["properties"]["every"]["description"].as_str().unwrap();
    assert!(about.starts_with("How often it is read."), "{about}");
}

#[test]
fn a_binary_of_ones_own_goes_by_its_own_name() {
    let (code, version) = run("own_binary", &["--version"]);
    assert_eq!((code, version.split(' ').next()), (Some(0), Some("own_binary")), "{version}");
    for arguments in [&["--help"][..], &["run", "--help"], &["actors", "list", "--help"]] {
        let (code, help) = run("own_binary", arguments);
        let path = arguments[..arguments.len() - 1].iter().map(|word| format!(" {word}")).collect::<String>();
        assert!(code == Some(0) && help.contains(&format!("Usage: own_binary{path} ")), "{help}");
    }
    let (_, script) = run("own_binary", &["completion", "bash"]);
    assert!(script.contains("complete -F _own_binary") && !script.contains("tidegate"), "{script}");
}

#[test]
fn a_binary_of_ones_own_validates_its_section_and_suggests_what_was_meant() {
    let (_folder, path) = mk_config("every: 5s");
    assert_eq!(run("own_binary", &["validate", &path]), (Some(0), String::new()));
    let bad = [
        ("evry: 5s", "10:3: sources[0].evry: unknown key `evry`; did you mean `every`?"),
        ("every: 0s", "10:10: sources[0].every: must be longer than zero"),
    ];
    for (every, expected) in bad {
        let (_folder, path) = mk_config(every);
        assert_eq!(run("own_binary", &["validate", &path]), (Some(1), format!("{path}:{expected}\n")), "{every}");
    }
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_binary_of_ones_own_runs_on_its_source() {
    let (_folder, path) = mk_config("every: 5s");
    let mut command = example("own_binary");
    command.args(["run", "--config", &path]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let started = log.find_map(|line| Some(line.split_once("admin=")?.1.split_once(' ')?.0.to_owned()));
    let address = started.unwrap();
    // Somebody has to read the log, or it would block.
    std::thread::spawn(move || log.for_each(drop));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(&address, "/api/v1/resources/endpointslices.discovery.k8s.io");
        if answer.contains("web-127.0.0.7-8080") && answer.contains("web-127.0.0.8-8080") {
            break;
        }
        assert!(Instant::now() < deadline, "not within 10 s: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
