//! A thousand delta clients of the real service in a process of its own: what it takes when all of them come back at
//! once, and what a tenth of them that stalls costs the others.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::publish::xds::Kind;
use tidegate_bench::fleet::{Fleet, Has, TABLE, Told};
use tidegate_bench::gateway_world::{Layout, Manifest, World, route, routes_in};
use tidegate_bench::report::{Figure, Report, Samples};
use tidegate_bench::service::{Service, run_if_child};

const CLIENTS: usize = 1_000;
const STALLED: usize = 100;
const ROUTES: usize = 1_000;
const SERVICES: usize = ROUTES / 10;
/// Edits in a row, between which nobody begins to stall or ceases to.
const ROW: usize = 5;
/// How long nothing may come after all has come.
const QUIET: Duration = Duration::from_secs(2);
/// Rows of each kind, by turns.
const ROWS: usize = 8;

fn main() -> ExitCode {
    if let Some(ended) = run_if_child() {
        return ended;
    }
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let path = folder.path().join("manifests");
    std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifests = World::new(Layout::HostARoute, ROUTES).manifests();
    for (at, manifest) in manifests.iter().enumerate() {
        put(&path, &format!("{at:05}"), manifest);
    }
    let mut service = Service::start(&path);
    service.wait_ready();
    service.check_routes(routes_in(&manifests));
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    // The first of the routes' files: each edit replaces one of these.
    let first = manifests.iter().position(|manifest| manifest.kind == "HTTPRoute").unwrap_or_default();
    let edits = Edits { path, first, version: 0 };
    runtime.block_on(measure(&service, edits));
    ExitCode::SUCCESS
}

fn put(folder: &Path, name: &str, manifest: &Manifest) {
    // Beside the folder first, so that it is there at once and as a whole.
    let (new, place) = (folder.with_extension("new"), folder.join(format!("{name}.json")));
    let put = std::fs::write(&new, &manifest.json).and_then(|()| std::fs::rename(&new, &place));
    put.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
}

struct Edits {
    path: std::path::PathBuf,
    first: usize,
    version: usize,
}

impl Edits {
    /// Edits the next route, and says which virtual host that changes.
    fn next(&mut self) -> String {
        self.version += 1;
        // 7 is no divisor of the number of routes, so that all get their turn.
        let n = self.version * 7 % ROUTES;
        put(&self.path, &format!("{:05}", self.first + n), &route(Layout::HostARoute, n, SERVICES, self.version));
        format!("{TABLE}/h{n}.example.com")
    }
}

async fn measure(service: &Service, mut edits: Edits) {
    let mut report = Report::new("clients");
    let begun = Instant::now();
    let mut fleet = Fleet::connect(service.xds(), CLIENTS, &Arc::default());
    let mut has = settle(&mut fleet).await;
    let names: usize = has.values().map(HashMap::len).sum();
    let all = format!("{CLIENTS} clients of {names} resources");
    report.add(Figure::new(format!("{all} that know nothing, served"), begun.elapsed().as_secs_f64(), "s"));
    tokio::time::sleep(QUIET).await;
    report.add(Figure::new(format!("{all} that knew nothing, resident"), service.memory().now, "MiB"));

    // Once before it counts: what the server wrote to clients that knew nothing is in its memory as long as they stay.
    drop(fleet);
    let (mut fleet, _) = reconnect(service, &mut edits, &mut has).await;
    let [mut easy, mut hard] = stalls(&mut fleet, &mut edits, &mut has).await;
    for (what, p) in [("p50", 50.0), ("p99", 99.0)] {
        let [easy, hard] = [&mut easy, &mut hard].map(|samples| samples.percentile_us(p) / 1_000.0);
        let what = format!("file change to {} clients, {what}", CLIENTS - STALLED);
        report.add(Figure::new(format!("{what}, when all read"), easy, "ms"));
        let stalled = Figure::new(format!("{what}, when {STALLED} others stall"), hard, "ms");
        let stalled = stalled.beside(format!("when all read, {easy:.1} ms"), hard / easy);
        report.add(if p > 90.0 { stalled.ratio_at_most(1.1) } else { stalled });
    }

    tokio::time::sleep(QUIET).await;
    let (held, worked) = (service.memory().now, service.worked());
    service.forget_peak();
    drop(fleet);
    let (_fleet, back) = reconnect(service, &mut edits, &mut has).await;
    let worked = (service.worked() - worked).as_secs_f64();
    let peak = service.memory().peak;
    report.add(Figure::new("all of them come back at once, served", back.took.as_secs_f64(), "s").at_most(5.0));
    report.add(Figure::new("what the server worked for that", worked, "s"));
    let unchanged = back.resources.saturating_sub(CLIENTS) as f64;
    report.add(Figure::new("resources that are sent then and did not change", unchanged, "").at_most(0.0));
    let most = Figure::new("the most that is resident then", peak, "MiB");
    report.add(most.beside(format!("what it was before, {held:.1} MiB"), peak / held).ratio_at_most(1.3));
}

/// Connects clients anew that have all but one edit, and waits until they have all.
async fn reconnect(service: &Service, edits: &mut Edits, has: &mut Has) -> (Fleet, Back) {
    let (host, before) = (edits.next(), Arc::new(has.clone()));
    let begun = Instant::now();
    let mut fleet = Fleet::connect(service.xds(), CLIENTS, &before);
    let back = come_back(&mut fleet, &host, begun, has).await;
    tokio::time::sleep(QUIET).await;
    if let Some(told) = fleet.waiting() {
        panic!("after all was said, client {} is told of {:?}", told.client, told.resources);
    }
    (fleet, back)
}

/// Waits until all clients have everything; what they have.
async fn settle(fleet: &mut Fleet) -> Has {
    // Beside the routes there is one to another namespace, and the table's sentinel.
    let (hosts, mut missing) = (ROUTES + 2, CLIENTS);
    let mut counts: Vec<HashMap<Kind, usize>> = vec![HashMap::new(); CLIENTS];
    let mut has = Has::new();
    while missing > 0 {
        let told = fleet.next().await;
        let count = &mut counts[told.client];
        let is_whole = |count: &HashMap<Kind, usize>| {
            let of = |kind| count.get(&kind).copied().unwrap_or_default();
            of(Kind::VirtualHost) >= hosts && of(Kind::Endpoints) > 0 && of(Kind::Endpoints) == of(Kind::Cluster)
        };
        let was = is_whole(count);
        *count.entry(told.kind).or_default() += told.resources.len();
        missing -= usize::from(!was && is_whole(count));
        learn(&mut has, &told);
    }
    has
}

/// All clients have the same, so what the first of them has is what each has.
fn learn(has: &mut Has, told: &Told) {
    if told.client == 0 {
        has.entry(told.kind).or_default().extend(told.resources.iter().cloned());
    }
}

/// What clients were told that came back.
struct Back {
    /// How long it took until the last of them had been told all.
    took: Duration,
    /// How many resources they were sent, all together.
    resources: usize,
}

/// Waits until all clients have had the answers that they need to go on, and the one change.
async fn come_back(fleet: &mut Fleet, host: &str, begun: Instant, has: &mut Has) -> Back {
    let mut missing: BTreeSet<(usize, Kind)> = BTreeSet::new();
    missing.extend((0..CLIENTS).flat_map(|n| [Kind::Cluster, Kind::Listener, Kind::VirtualHost].map(|kind| (n, kind))));
    let mut back = Back { took: Duration::ZERO, resources: 0 };
    while !missing.is_empty() {
        let told = fleet.next().await;
        back.resources += told.resources.len();
        learn(has, &told);
        assert_eq!(told.removed, 0, "nothing was removed");
        let has_it = told.kind != Kind::VirtualHost || told.resources.iter().any(|(name, _)| name == host);
        if has_it && missing.remove(&(told.client, told.kind)) {
            back.took = told.at - begun;
        }
    }
    back
}

/// Edits routes, by turns with all clients reading and with some stalled; how long each edit took to each of the
/// others.
async fn stalls(fleet: &mut Fleet, edits: &mut Edits, has: &mut Has) -> [Samples; 2] {
    let mut samples: [Samples; 2] = Default::default();
    let others = CLIENTS - STALLED;
    for row in 0..2 * ROWS {
        let stall = row % 2 == 1;
        fleet.stall(others..CLIENTS, stall);
        let mut last = String::new();
        for _ in 0..ROW {
            let begun = Instant::now();
            last = edits.next();
            let mut missing: BTreeSet<usize> = (0..if stall { others } else { CLIENTS }).collect();
            while !missing.is_empty() {
                let told = fleet.next().await;
                learn(has, &told);
                let has_it = told.resources.iter().any(|(name, _)| *name == last);
                if has_it && missing.remove(&told.client) && told.client < others && row >= 2 {
                    samples[usize::from(stall)].push(told.at - begun);
                }
            }
        }
        if stall {
            fleet.stall(others..CLIENTS, false);
            let mut behind: BTreeSet<usize> = (others..CLIENTS).collect();
            while !behind.is_empty() {
                let told = fleet.next().await;
                if told.resources.iter().any(|(name, _)| *name == last) {
                    behind.remove(&told.client);
                }
            }
        }
        println!("clients: {} of {} edits", (row + 1) * ROW, 2 * ROWS * ROW);
    }
    samples
}
