//! What the real service takes in a process of its own: memory and time with 5,000 routes, and a cold start with
//! 20,000 objects, both from JSON files.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use tidegate_bench::gateway_world::{Layout, World};
use tidegate_bench::report::Report;
use tidegate_bench::service::{Service, run_if_child, write};

/// How long it is watched when it has nothing to do.
const QUIET: Duration = Duration::from_secs(20);
const STARTS: usize = 5;

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let mut report = Report::new("resident");
    held(&mut report);
    cold(&mut report);
    ExitCode::SUCCESS
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"))
}

fn held(report: &mut Report) {
    let folder = folder();
    let world = World::new(Layout::HostARoute, 5_000);
    write(folder.path(), &world.manifests(), 100);
    let mut service = Service::start(folder.path());
    service.wait_ready();
    check(&service, "r4999");
    sleep(Duration::from_secs(2));
    let before = service.worked();
    sleep(QUIET);
    let cores = (service.worked() - before).as_secs_f64() / QUIET.as_secs_f64();
    let memory = service.memory();
    println!("5,000 routes: {memory:?} MiB");
    report.figure("5,000 routes, resident", memory.now, "MiB", "at most 100 MiB", Some(memory.now <= 100.0));
    report.figure("5,000 routes, quiet", cores, "cores", "at most 0.005 cores", Some(cores <= 0.005));
}

fn cold(report: &mut Report) {
    let folder = folder();
    // A Service and a slice for every ten routes, and the few that stand beside them.
    let manifests = World::new(Layout::HostARoute, 16_660).manifests();
    println!("cold start: {} objects", manifests.len());
    assert!(manifests.len() >= 20_000 - 100);
    write(folder.path(), &manifests, 100);
    // The first start reads files that nobody has read before.
    let mut best = f64::MAX;
    let mut peak: f64 = 0.0;
    for _ in 0..STARTS {
        let mut service = Service::start(folder.path());
        let ready = service.wait_ready().as_secs_f64();
        check(&service, "r16659");
        sleep(Duration::from_secs(3));
        let memory = service.memory();
        println!("cold start: ready after {ready:.3} s, {memory:?} MiB, worked {:?}", service.worked());
        best = best.min(ready);
        peak = peak.max(memory.peak / memory.now);
    }
    let figure = format!("cold start, 20,000 objects, ready (best of {STARTS})");
    report.figure(&figure, best, "s", "at most 1 s", Some(best <= 1.0));
    report.ratio("cold start, peak memory against steady (worst)", peak, "at most 1.3x", Some(peak <= 1.3));
}

/// That it really has the last of its routes.
fn check(service: &Service, route: &str) {
    let answer = service.get("/api/v1/resources/httproutes.gateway.networking.k8s.io").unwrap_or_default();
    assert!(
        answer.contains(&format!("\"{route}\"")),
        "the service has no {route}: {}",
        &answer[..answer.len().min(500)]
    );
}
