//! What the real service takes in a process of its own when it holds 5,000 routes: memory, and time when nothing
//! happens.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use tidegate_bench::gateway_world::{Layout, World, routes_in};
use tidegate_bench::report::{Figure, Report};
use tidegate_bench::service::{Format, Service, run_if_child, write};

/// How long it is watched when it has nothing to do.
const QUIET: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let mut report = Report::new("resident");
    held(&mut report);
    ExitCode::SUCCESS
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"))
}

fn held(report: &mut Report) {
    let folder = folder();
    let manifests = World::new(Layout::HostARoute, 5_000).manifests();
    write(folder.path(), &manifests, Format::Json, 100);
    let mut service = Service::start(folder.path());
    service.wait_ready();
    service.check_routes(routes_in(&manifests));
    sleep(Duration::from_secs(2));
    let before = service.worked();
    sleep(QUIET);
    let cores = (service.worked() - before).as_secs_f64() / QUIET.as_secs_f64();
    let memory = service.memory();
    println!("5,000 routes: {memory:?} MiB");
    report.add(Figure::new("5,000 routes held, resident", memory.now, "MiB").at_most(100.0));
    report.add(Figure::new("5,000 routes held, the most that was ever resident", memory.peak, "MiB"));
    report.add(Figure::new("5,000 routes held, work when quiet", cores, "cores").at_most(0.005));
}
