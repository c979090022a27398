//! The real service in a process of its own, watching 200 types that it found by a pattern on an API server: how many
//! connections that takes, how much memory, and how much work when nothing happens.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use tidegate_bench::report::{Figure, Report};
use tidegate_bench::served::Served;
use tidegate_bench::service::{Service, run_if_child};

const TYPES: usize = 200;
const OBJECTS_A_TYPE: usize = 10;
/// How many watches may share a connection.
const WATCHES_A_CONNECTION: usize = 80;
const GROUP: &str = "bench.example.com";
/// How long it is watched when it has nothing to do.
const QUIET: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    let served = runtime.block_on(Served::start());
    for at in 0..TYPES {
        fill(&served, at);
    }
    let mut service = Service::start_on(&format!(
        "name: cluster, kind: kubernetes, kubeconfig: {}, discover: [\"*.{GROUP}\"], status: {{ write: false }}",
        served.kubeconfig().display()
    ));
    let took = service.wait_types(|types| {
        let ours = types.iter().filter(|of| of["name"].as_str().is_some_and(|name| name.ends_with(GROUP)));
        ours.filter(|of| of["phase"] == "synced" && of["objects"] == OBJECTS_A_TYPE).count() == TYPES
    });
    // So long that connections which were only needed for lists have ended, if they do.
    sleep(Duration::from_secs(5));
    let before = service.worked();
    sleep(QUIET);
    let cores = (service.worked() - before).as_secs_f64() / QUIET.as_secs_f64();
    report(&served, &service, took, cores);
    ExitCode::SUCCESS
}

fn fill(served: &Served, at: usize) {
    let kind = format!("Kind{at}");
    served.define(GROUP, "v1", &kind, &format!("kind{at}s"));
    for n in 0..OBJECTS_A_TYPE {
        served.put(&json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": kind,
            "metadata": {"name": format!("object-{n}"), "namespace": "default"},
            "spec": {"size": n, "text": "x".repeat(500)},
        }));
    }
}

fn report(served: &Served, service: &Service, took: Duration, cores: f64) {
    let mut report = Report::new("types");
    let memory = service.memory();
    let watches = served.server.watches().len();
    let metric = metric(service, "use=\"watch\"");
    println!("types: {watches} watches, {} connections at the server, {memory:?}", served.server.connections());
    report.add(Figure::new(
        format!("{TYPES} types of {OBJECTS_A_TYPE} objects: start to synced"),
        took.as_secs_f64(),
        "s",
    ));
    let figure = Figure::new(format!("{TYPES} types: connections for watches"), metric, "of them");
    let limit = watches.div_ceil(WATCHES_A_CONNECTION) as f64;
    report.add(figure.above(format!("{watches} watches, with those of its own types")).at_most(limit));
    let all = served.server.connections() as f64;
    report.add(Figure::new(format!("{TYPES} types: all connections, as the server counts them"), all, "of them"));
    report.add(Figure::new(format!("{TYPES} types: resident"), memory.now, "MiB"));
    report.add(Figure::new(format!("{TYPES} types: the most that was ever resident"), memory.peak, "MiB"));
    report.add(Figure::new(format!("{TYPES} types: work when quiet"), cores, "cores"));
}

/// What the service says of its connections of one use.
fn metric(service: &Service, of: &str) -> f64 {
    let answer = service.get("/metrics").unwrap_or_default();
    let lines = answer.lines().filter(|line| line.starts_with("tidegate_kubernetes_connections{") && line.contains(of));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "the metric of connections is missing: {answer}");
    values.iter().sum()
}
