//! A warm start of the real service, in a process of its own: killed with 5,000 routes among 20,000 objects on disk, and
//! started again while its directory is away. How long until the first configuration is served.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use tidegate_bench::gateway_world::{Layout, World, routes_in, service, slice};
use tidegate_bench::report::{Figure, Report};
use tidegate_bench::service::{Format, Service, run_if_child, write};

const STARTS: usize = 5;
const OBJECTS: usize = 20_000;
/// Until everything is on disk, and nobody is at anything.
const SETTLE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let mut report = Report::new("warm");
    let mut manifests = World::new(Layout::HostARoute, 5_000).manifests();
    // Services that no route uses, as any cluster has more of them than its gateway needs.
    let spare = OBJECTS.saturating_sub(manifests.len()) / 2;
    manifests.extend((0..spare).flat_map(|n| [service(100_000 + n, ""), slice(100_000 + n, 1)]));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let (there, away) = (folder.path().join("manifests"), folder.path().join("away"));
    std::fs::create_dir(&there).unwrap_or_else(|error| panic!("{}: {error}", there.display()));
    write(&there, &manifests, Format::Json, 100);
    let mut service = Service::start(&there);
    service.wait_ready();
    sleep(SETTLE);
    let mut first = f64::MAX;
    for _ in 0..STARTS {
        service.kill();
        std::fs::rename(&there, &away).unwrap_or_else(|error| panic!("{}: {error}", there.display()));
        service.start_again();
        let took = service.wait_ready().as_secs_f64();
        service.check_routes(routes_in(&manifests));
        println!(
            "warm: {} objects: first configuration after {took:.3} s, worked {:?}",
            manifests.len(),
            service.worked()
        );
        first = first.min(took);
        std::fs::rename(&away, &there).unwrap_or_else(|error| panic!("{}: {error}", away.display()));
        sleep(SETTLE);
    }
    let what = format!(
        "5,000 routes among {} objects, killed: start to the first configuration (best of {STARTS})",
        manifests.len()
    );
    report.add(Figure::new(what, first, "s").above("from the snapshot, with the directory away").at_most(0.2));
    ExitCode::SUCCESS
}
