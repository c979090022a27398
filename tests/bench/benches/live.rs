//! From a file's change to the first answer of a real Envoy that shows it, at 3,000 routes with a host each; beside
//! it, in the same run and by turns, the floor: another Envoy with the same virtual hosts, and a server that does
//! nothing but send it the same one resource.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{BackendRange, Config, Directory, Section, SourceConfig};
use tidegate::proxy::locate::{LocateOptions, locate};
use tidegate_actors::env::Env;
use tidegate_bench::floor::{Floor, decoded};
use tidegate_bench::gateway_world::{Layout, Manifest, World, redirect};
use tidegate_bench::pipeline::Pipeline;
use tidegate_bench::probe::Probe;
use tidegate_bench::report::{Figure, Report, Samples};
use tidegate_bench::service::free_address;

const ROUTES: usize = 3_000;
const EDITS: usize = 150;
const WARM_UP: usize = 10;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let envoy = locate(&LocateOptions::from_environment(None)).unwrap_or_else(|error| panic!("{error}")).path;
    let manifests = World::new(Layout::HostARoute, ROUTES).manifests();
    let [ours, floors] = [1, 2].map(|last| Ipv4Addr::new(127, 77, (std::process::id() % 250) as u8, last));

    let mut pipeline = Pipeline::bound(&manifests, floors);
    let floor = Floor::new(&mut pipeline);
    let floor_supervisor = runtime.block_on(floor.start_envoy(&folder.path().join("floor"), envoy.clone()));
    let app = runtime.block_on(start_app(&manifests, &folder.path().join("tidegate"), ours, envoy));
    let mut probes = [ours, floors].map(Probe::connect);

    let mut samples: [Samples; 2] = Default::default();
    for version in 1..=WARM_UP + EDITS {
        // 7,919 is a prime and does not divide the number of routes, so that all get their turn.
        let n = version * 7_919 % ROUTES;
        let manifest = redirect(n, version);
        let sent = pipeline.change(&manifest).sent;
        let response = sent.iter().map(decoded).next().unwrap_or_else(|| panic!("the change of r{n} sends nothing"));
        let new = folder.path().join("tidegate/new");
        write(&new, &manifest);
        // Another file is put in its place, as any careful writer does.
        let swap = || {
            let place = file(&folder.path().join("tidegate/manifests"), &manifest, n);
            std::fs::rename(&new, &place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        };
        let send = || floor.send(response);
        let [ours, floors] = &mut probes;
        // By turns, so that neither always finds the machine as the other left it.
        let took = if version % 2 == 0 {
            let ours = ours.time(swap, n, version);
            [ours, floors.time(send, n, version)]
        } else {
            let floors = floors.time(send, n, version);
            [ours.time(swap, n, version), floors]
        };
        if version > WARM_UP {
            if version % 50 == 0 {
                println!("live: {version} of {} edits", WARM_UP + EDITS);
            }
            for (samples, took) in samples.iter_mut().zip(took) {
                samples.push(took);
            }
        }
    }
    runtime.block_on(async {
        app.supervisor.shutdown(Duration::from_secs(10)).await;
        floor_supervisor.shutdown(Duration::from_secs(10)).await;
    });
    report(samples);
}

fn report([mut ours, mut floor]: [Samples; 2]) {
    let mut report = Report::new("live");
    for (what, p, limit) in [("p50", 50.0, 3.0), ("p99", 99.0, 10.0)] {
        let [ours, floor] = [&mut ours, &mut floor].map(|samples| samples.percentile_us(p) / 1_000.0);
        report.add(Figure::new(format!("a bare server's one resource to live, {what}"), floor, "ms"));
        let beside = format!("the floor, {floor:.2} ms");
        report.add(Figure::new(format!("file change to live, {what}"), ours, "ms").beside(&beside, ours / floor));
        // The source's own delay, which the budget would allow on top, is counted as ours.
        let above = Figure::new(format!("file change to live, above the floor, {what}"), ours - floor, "ms");
        report.add(above.above(beside).at_most(limit));
    }
}

/// A file for each object, so that a change is one file's.
fn file(folder: &Path, manifest: &Manifest, n: usize) -> PathBuf {
    folder.join(format!("{}-{n}.json", manifest.kind))
}

fn write(path: &Path, manifest: &Manifest) {
    std::fs::write(path, &manifest.json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

async fn start_app(manifests: &[Manifest], folder: &Path, bind: Ipv4Addr, envoy: PathBuf) -> App {
    let path = folder.join("manifests");
    std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut routes = 0;
    for (at, manifest) in manifests.iter().enumerate() {
        let route = manifest.kind == "HTTPRoute";
        write(&file(&path, manifest, if route { routes } else { at }), manifest);
        routes += usize::from(route);
    }
    let section = Section::new(Directory::new(path));
    let mut config = Config { data_dir: folder.join("data"), ..Config::default() };
    config.sources = vec![SourceConfig { name: "bench".into(), kind: "directory".into(), section }];
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);
    config.gateway.allow_backends = vec![BackendRange::Loopback];
    config.proxy.bind = bind.into();
    config.proxy.concurrency = Some(1);
    config.proxy.admin_address = free_address();
    let started = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await;
    let app = started.unwrap_or_else(|error| panic!("{error:#}"));
    app.xds.ready().await;
    app.add_proxy(&config, envoy).await.unwrap_or_else(|error| panic!("{error:#}"));
    app
}
