//! A cold start of the real service, in a process of its own, with 20,000 objects in a directory: how long until it is
//! synced, how long until it has published too, and how much more memory that takes than what it holds afterwards.
//!
//! The server's own time, which the budget allows on top, is that of the files: reading them, and for YAML parsing
//! them, with a bare parser on all cores.

use std::path::Path;
use std::process::ExitCode;
use std::thread::{available_parallelism, scope, sleep};
use std::time::{Duration, Instant};

use tidegate_bench::gateway_world::{Layout, Manifest, World, routes_in};
use tidegate_bench::report::{Figure, Report};
use tidegate_bench::service::{Format, Service, run_if_child, write};

const STARTS: usize = 3;
/// Until it has settled, so that what it holds is what it will hold.
const SETTLE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let mut report = Report::new("cold");
    // A Service and a slice for every ten routes, and the few that stand beside them.
    let manifests = World::new(Layout::HostARoute, 16_660).manifests();
    assert!(manifests.len().abs_diff(20_000) < 20, "{} objects", manifests.len());
    start(&mut report, &manifests, Format::Json, 1, "JSON files of one object");
    start(&mut report, &manifests, Format::Json, 100, "JSON files of 100 objects");
    start(&mut report, &manifests, Format::Yaml, 100, "YAML files of 100 objects");
    ExitCode::SUCCESS
}

fn start(report: &mut Report, manifests: &[Manifest], format: Format, a_file: usize, files: &str) {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    write(folder.path(), manifests, format, a_file);
    let (mut floor, mut synced, mut ready, mut peak) = (f64::MAX, f64::MAX, f64::MAX, (0.0_f64, 0.0_f64));
    for _ in 0..STARTS {
        floor = floor.min(bare(folder.path(), format).as_secs_f64());
        let mut service = Service::start(folder.path());
        let [to_synced, to_ready] =
            [service.wait_synced(routes_in(manifests)), service.wait_ready()].map(|took| took.as_secs_f64());
        sleep(SETTLE);
        let memory = service.memory();
        println!(
            "cold: {files}: synced after {to_synced:.3} s, ready after {to_ready:.3} s, {memory:?} MiB, worked {:?}",
            service.worked()
        );
        (synced, ready) = (synced.min(to_synced), ready.min(to_ready));
        if peak.0 * memory.now <= memory.peak * peak.1 {
            peak = (memory.peak, memory.now);
        }
    }
    let figure = Figure::new(format!("20,000 objects, {files}: start to synced (best of {STARTS})"), synced, "s");
    report.add(figure.above(format!("bare reading and parsing, {floor:.2} s")).at_most(1.0 + floor));
    let figure = Figure::new(format!("20,000 objects, {files}: start to ready (best of {STARTS})"), ready, "s");
    report.add(figure.above("synced, correlated and published"));
    let (peak, now) = peak;
    let figure = Figure::new(format!("20,000 objects, {files}: the most memory (worst of {STARTS})"), peak, "MiB");
    report.add(figure.beside(format!("steady, {now:.0} MiB"), peak / now).ratio_at_most(1.3));
}

/// The time to read all files and, if they are YAML, to parse them, on all cores.
fn bare(folder: &Path, format: Format) -> Duration {
    let begun = Instant::now();
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let cores = available_parallelism().map_or(1, usize::from);
    scope(|threads| {
        for part in entries.chunks(entries.len().div_ceil(cores)) {
            threads.spawn(move || {
                for entry in part {
                    let text = std::fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{error}"));
                    if format == Format::Yaml {
                        let events = granit_parser::Parser::new_from_str(&text);
                        assert!(events.filter(Result::is_ok).count() > 0, "{}", entry.path().display());
                    }
                }
            });
        }
    });
    begun.elapsed()
}
