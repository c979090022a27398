//! Informers on the same 20,000 objects of one API server: ours beside kube-runtime's reflector and client-go's shared
//! informer, each in a process of its own. First what it takes until all is held, then 10,000 updates at the server's
//! pace: time on all cores, memory, and how late the handlers are.
//!
//! Everybody gets 1,000 updates a second, once in bursts, as when something is rolled out, and once one by one. One by
//! one, much of the time goes into waking a process that sleeps, which costs everybody the same.
//!
//! Memory is what is resident two seconds after the last update. Of client-go it is after a collection that gave back
//! what it could, which a program does not do by itself; its time is without that collection.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tidegate_bench::peers::{KINDS, PEERS, Peer, Running, SETTLE, UPDATES, run_if_child};
use tidegate_bench::report::{Figure, Report};
use tidegate_bench::served::Served;
use tidegate_bench::usage::{Said, Usage};

const OBJECTS: usize = 20_000;

/// How updates come: in words, so many at once, and so often.
const PACES: [(&str, usize, Duration); 2] =
    [("in bursts of 100", 100, Duration::from_millis(100)), ("one by one", 1, Duration::from_millis(1))];

struct Figures {
    synced: Usage,
    updated: Usage,
    p50: f64,
    p99: f64,
}

/// At each pace.
type Of = [Figures; PACES.len()];

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    let served = runtime.block_on(Served::start());
    for kind in KINDS {
        let (group, version, plural) = kind.api();
        if group.contains("gateway") {
            served.define(group, version, kind.name(), plural);
        }
    }
    served.fill(&KINDS, OBJECTS);
    // For profiles of a single one; there is nothing to compare then, and no report.
    let only = std::env::var("TIDEGATE_BENCH_PEER_ONLY").unwrap_or_default();
    let peers = PEERS.into_iter().filter(|peer| peer.name().starts_with(&only));
    let all: Vec<(Peer, Of)> = peers.map(|peer| (peer, PACES.map(|pace| measure(&served, peer, pace)))).collect();
    if all.len() == PEERS.len() {
        report(&all);
    }
    ExitCode::SUCCESS
}

fn measure(served: &Served, peer: Peer, (pace, burst, each): (&str, usize, Duration)) -> Figures {
    let mut running = Running::start(peer, &served.kubeconfig(), &informer());
    let Said::Synced { objects, usage: synced } = running.hear() else { panic!("{peer:?} says something else first") };
    assert_eq!(objects, OBJECTS, "what {peer:?} holds");
    std::thread::sleep(SETTLE);
    served.update(&KINDS, UPDATES, burst, each);
    let Said::Updated { updates, stamped, p50_seconds: p50, p99_seconds: p99, usage: updated } = running.hear() else {
        panic!("{peer:?} says something else")
    };
    assert_eq!((updates, stamped), (UPDATES, UPDATES), "what {peer:?} was told");
    println!("informer: {}, {pace}: {synced:?}, {updated:?}, p50 {p50:.6} s, p99 {p99:.6} s", peer.name());
    Figures { synced, updated, p50, p99 }
}

/// client-go's program, beside the one that runs a cluster.
fn informer() -> PathBuf {
    let program = std::env::var_os("TIDEGATE_CLUSTER").filter(|program| !program.is_empty());
    let program = program.unwrap_or_else(|| panic!("TIDEGATE_CLUSTER is not set: run `cargo xtask bench informer`"));
    PathBuf::from(program).with_file_name("tidegate-informer")
}

const MIB: f64 = 1024.0 * 1024.0;

type Measure = fn(&Figures) -> f64;

/// Of the sync, the better of two; each with its unit, and whether ours has a budget beside the peers that hold objects
/// of any type.
const OF_THE_SYNC: [(&str, &str, bool, Measure); 2] = [
    ("start to synced", "s", false, |figures| figures.synced.seconds),
    ("CPU until synced", "s", true, |figures| figures.synced.cpu_seconds),
];

/// The same of all that is held after the updates.
const OF_MEMORY: [(&str, &str, bool, Measure); 2] = [
    ("memory, steady", "MiB", true, |figures| figures.updated.steady_bytes as f64 / MIB),
    ("memory, the most", "MiB", false, |figures| figures.updated.peak_bytes as f64 / MIB),
];

/// The same of updates at one pace.
const OF_UPDATES: [(&str, &str, bool, Measure); 3] = [
    ("CPU", "s", true, |figures| figures.updated.cpu_seconds - figures.synced.cpu_seconds),
    ("from a write to a handler, p50", "us", false, |figures| figures.p50 * 1e6),
    ("from a write to a handler, p99", "us", false, |figures| figures.p99 * 1e6),
];

fn report(all: &[(Peer, Of)]) {
    let mut report = Report::new("informer");
    for (what, unit, judged, measure) in OF_THE_SYNC {
        let best = |of: &Of| of.iter().map(measure).fold(f64::MAX, f64::min);
        compare(&mut report, all, format!("20,000 objects: {what}"), unit, judged, best);
    }
    for (what, unit, judged, measure) in OF_MEMORY {
        compare(&mut report, all, format!("20,000 objects: {what}"), unit, judged, |of| measure(&of[0]));
    }
    if let Some((_, [ours, _])) = all.iter().find(|(peer, _)| *peer == Peer::Tidegate) {
        let [peak, steady] = [ours.updated.peak_bytes, ours.updated.steady_bytes].map(|bytes| bytes as f64 / MIB);
        let figure = Figure::new("20,000 objects: memory, the most", peak, "MiB");
        report.add(figure.beside(format!("our own steady, {steady:.1} MiB"), peak / steady).ratio_at_most(1.3));
    }
    for (at, (pace, ..)) in PACES.into_iter().enumerate() {
        for (what, unit, judged, measure) in OF_UPDATES {
            compare(&mut report, all, format!("10,000 updates {pace}: {what}"), unit, judged, |of| measure(&of[at]));
        }
    }
}

/// Ours beside each peer's.
fn compare(
    report: &mut Report,
    all: &[(Peer, Of)],
    what: String,
    unit: &'static str,
    judged: bool,
    measure: impl Fn(&Of) -> f64,
) {
    let Some(ours) = all.iter().find(|(peer, _)| *peer == Peer::Tidegate).map(|(_, of)| measure(of)) else { return };
    for (peer, of) in all.iter().filter(|(peer, _)| *peer != Peer::Tidegate) {
        let theirs = measure(of);
        let figure = Figure::new(what.clone(), ours, unit);
        let figure = figure.beside(format!("{}: {theirs:.3} {unit}", peer.name()), ours / theirs);
        report.add(if judged && *peer != Peer::KubeTyped { figure.ratio_at_most(0.2) } else { figure });
    }
}
