//! From a file's change to the first answer of a real Envoy that shows it, at 3,000 routes with a host each; beside
//! it, in the same run and by turns, the floor: another Envoy with the same virtual hosts, and a server that does
//! nothing but send it the same one resource.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{BackendRange, Config, Directory, Section, SourceConfig};
use tidegate::proxy::bootstrap::{AdminAddress, Bootstrap, BootstrapOptions, XdsAddress};
use tidegate::proxy::child::ChildOptions;
use tidegate::proxy::locate::{LocateOptions, locate};
use tidegate::proxy::supervised;
use tidegate_actors::env::Env;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_bench::floor::{Floor, decoded};
use tidegate_bench::gateway_world::{Layout, Manifest, World, redirect};
use tidegate_bench::pipeline::Pipeline;
use tidegate_bench::report::{Figure, Report, Samples};
use tidegate_bench::service::free_address;

const ROUTES: usize = 3_000;
const EDITS: usize = 150;
const WARM_UP: usize = 10;
/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two probes, so that probing leaves Envoy the time to change.
const PAUSE: Duration = Duration::from_micros(250);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let envoy = locate(&LocateOptions::from_environment(None)).unwrap_or_else(|error| panic!("{error}")).path;
    let manifests = World::new(Layout::HostARoute, ROUTES).manifests();
    let [ours, floors] = [1, 2].map(|last| Ipv4Addr::new(127, 77, (std::process::id() % 250) as u8, last));

    let mut pipeline = Pipeline::bound(&manifests, floors);
    let floor = Floor::new(&mut pipeline);
    let floor_supervisor = runtime.block_on(start_floor(&floor, &folder.path().join("floor"), envoy.clone()));
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
            let ours = time(swap, ours, n, version);
            [ours, time(send, floors, n, version)]
        } else {
            let floors = time(send, floors, n, version);
            [time(swap, ours, n, version), floors]
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

/// From an act to the first answer that shows it.
fn time(act: impl FnOnce(), probe: &mut Probe, n: usize, version: usize) -> Duration {
    let wanted = format!("v{version}.example.com");
    let begun = Instant::now();
    act();
    loop {
        let answer = probe.ask(n);
        let took = begun.elapsed();
        if answer.contains(&wanted) {
            return took;
        }
        assert!(took < PATIENCE, "version {version} of route {n} is not live after {PATIENCE:?}; the answer: {answer}");
        std::thread::sleep(PAUSE);
    }
}

/// A connection to an Envoy that is kept.
struct Probe {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Probe {
    fn connect(address: Ipv4Addr) -> Self {
        let address = SocketAddr::from((address, 8080));
        let begun = Instant::now();
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    stream.set_nodelay(true).unwrap_or_else(|error| panic!("{error}"));
                    return Self { stream, read: Vec::new() };
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody listens at {address}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The head of the answer of a route's host.
    fn ask(&mut self, n: usize) -> String {
        let request = format!("GET / HTTP/1.1\r\nhost: h{n}.example.com\r\n\r\n");
        self.stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("a probe: {error}"));
        self.read.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.read.len() < whole) {
            let mut buffer = [0; 4_096];
            let count = self.stream.read(&mut buffer).unwrap_or_else(|error| panic!("a probe: {error}"));
            assert!(count > 0, "Envoy closed the probe's connection");
            self.read.extend_from_slice(&buffer[..count]);
            whole = length(&String::from_utf8_lossy(&self.read));
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// How long an answer is, once its head is there.
fn length(answer: &str) -> Option<usize> {
    let head = answer.find("\r\n\r\n")? + 4;
    let body = answer[..head].lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some(head + body.unwrap_or(0))
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

async fn start_floor(floor: &Floor, folder: &Path, envoy: PathBuf) -> Supervisor {
    std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let socket = folder.join("xds.sock");
    floor.listen(&socket);
    let admin = AdminAddress::Tcp(free_address());
    let options = BootstrapOptions::new("floor", XdsAddress::Socket(socket), admin.clone());
    let bootstrap = Bootstrap::new(&options).and_then(|bootstrap| bootstrap.to_json());
    let bootstrap = bootstrap.unwrap_or_else(|error| panic!("{error}"));
    let mut child = ChildOptions::new(envoy, folder.join("envoy"), bootstrap, admin);
    child.concurrency = Some(1);
    let started = Supervisor::start("floor", Strategy::OneForOne, Env::system()).await;
    let supervisor = started.unwrap_or_else(|error| panic!("{error}"));
    let added = supervisor.add(supervised::child_spec("envoy", child)).await;
    added.unwrap_or_else(|error| panic!("{error}"));
    supervisor
}
