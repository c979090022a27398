//! From `kubectl apply` on a real cluster to the first answer of a real Envoy that shows it, at 3,000 routes with a host
//! each. What is sent is what `kubectl apply --server-side` sends, without starting kubectl: one PATCH of the type
//! `application/apply-patch+yaml`.
//!
//! Beside it, in the same run: the API server's own delay, from the same PATCH to a watch that does nothing but read;
//! and by turns another Envoy with the same virtual hosts, from a server that does nothing but send it the same one
//! resource. What is above both is ours.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt as _, StreamExt as _, stream};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{Kubernetes, Section, SourceConfig};
use tidegate::proxy::locate::{LocateOptions, locate};
use tidegate::resource::types;
use tidegate_actors::env::Env;
use tidegate_bench::floor::{Floor, decoded};
use tidegate_bench::gateway_world::{Layout, Manifest, World, redirect};
use tidegate_bench::pipeline::Pipeline;
use tidegate_bench::probe::Probe;
use tidegate_bench::report::{Figure, Report, Samples};
use tidegate_bench::service::free_address;

#[path = "../../support/cluster.rs"]
#[allow(dead_code, clippy::expect_used, reason = "suites need more of it, and may end with a panic")]
mod cluster;

#[path = "../../support/ports.rs"]
#[allow(dead_code, clippy::expect_used, reason = "suites need more of it, and may end with a panic")]
mod ports;

use cluster::Cluster;

const ROUTES: usize = 3_000;
/// Of 150, the 99th percentile is the worst but one, and differed by 50 ms from run to run.
const EDITS: usize = 500;
const WARM_UP: usize = 10;
/// Requests at a time, when everything is created.
const AT_ONCE: usize = 8;
/// The cluster is at rest when its routes did not change for so long.
const REST: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let envoy = locate(&LocateOptions::from_environment(None)).unwrap_or_else(|error| panic!("{error}")).path;
    let manifests = World::new(Layout::HostARoute, ROUTES).manifests();
    let [ours, floors] = [1, 2].map(|last| Ipv4Addr::new(127, 78, (std::process::id() % 250) as u8, last));

    let cluster = runtime.block_on(Cluster::start());
    let client = runtime.block_on(client(cluster.kubeconfig()));
    runtime.block_on(fill(&client, &manifests));
    let watch = Watch::default();
    runtime.spawn(watch.clone().follow(client.clone()));
    let mut pipeline = Pipeline::bound(&manifests, floors);
    let floor = Floor::new(&mut pipeline);
    let floor_supervisor = runtime.block_on(floor.start_envoy(&folder.path().join("floor"), envoy.clone()));
    let app = runtime.block_on(start_app(&cluster, &folder.path().join("tidegate"), ours, envoy));
    let mut probes = [ours, floors].map(Probe::connect);
    watch.rest();

    let mut samples = Measured::default();
    for version in 1..=WARM_UP + EDITS {
        // 7,919 is a prime and does not divide the number of routes, so that all get their turn.
        let n = version * 7_919 % ROUTES;
        let manifest = redirect(n, version);
        let sent = pipeline.change(&manifest).sent;
        let response = sent.iter().map(decoded).next().unwrap_or_else(|| panic!("the change of r{n} sends nothing"));
        let mut applied = None;
        let apply = || {
            watch.expect(version);
            let client = client.clone();
            applied = Some((Instant::now(), runtime.spawn(async move { apply(&client, &manifest).await })));
        };
        let send = || floor.send(response);
        let [ours, floors] = &mut probes;
        let mut told = Instant::now();
        let ours_live = || {
            let live = ours.time(apply, n, version);
            told = watch.told();
            live
        };
        // By turns, so that neither always finds the machine as the other left it.
        let [ours, floors] = if version % 2 == 0 {
            let ours = ours_live();
            [ours, floors.time(send, n, version)]
        } else {
            let floors = floors.time(send, n, version);
            [ours_live(), floors]
        };
        let Some((begun, applying)) = applied else { panic!("nothing was applied") };
        runtime.block_on(applying).unwrap_or_else(|error| panic!("{error}"));
        let server = told.saturating_duration_since(begun);
        if version > WARM_UP {
            if version % 100 == 0 {
                println!("apply: {version} of {} edits", WARM_UP + EDITS);
            }
            samples.ours.push(ours);
            samples.server.push(server);
            samples.envoy.push(floors);
            samples.floor.push(server + floors);
        }
    }
    runtime.block_on(async {
        app.supervisor.shutdown(Duration::from_secs(10)).await;
        floor_supervisor.shutdown(Duration::from_secs(10)).await;
    });
    report(samples);
}

#[derive(Default)]
struct Measured {
    ours: Samples,
    server: Samples,
    envoy: Samples,
    /// The two above, of each edit together.
    floor: Samples,
}

fn report(mut samples: Measured) {
    let mut report = Report::new("apply");
    for (what, p, limit) in [("p50", 50.0, 3.0), ("p99", 99.0, 10.0)] {
        let ms = |samples: &mut Samples| samples.percentile_us(p) / 1_000.0;
        let (ours, floor) = (ms(&mut samples.ours), ms(&mut samples.floor));
        let server = Figure::new(format!("an apply to a watch that only reads, {what}"), ms(&mut samples.server), "ms");
        report.add(server);
        let envoy = Figure::new(format!("a bare server's one resource to live, {what}"), ms(&mut samples.envoy), "ms");
        report.add(envoy);
        let beside = format!("both of these together, {floor:.2} ms");
        report.add(Figure::new(format!("kubectl apply to live, {what}"), ours, "ms").beside(&beside, ours / floor));
        let above = Figure::new(format!("kubectl apply to live, above the floor, {what}"), ours - floor, "ms");
        report.add(above.above(beside).at_most(limit));
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| panic!("{error}"));
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    Client::try_from(config).unwrap_or_else(|error| panic!("{error}"))
}

async fn fill(client: &Client, manifests: &[Manifest]) {
    for name in ["infra", "apps", "shared"] {
        let json = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
        patch(client, &format!("/api/v1/namespaces/{name}"), json.into_bytes()).await;
    }
    // What routes refer to comes first, as people do it; the API server does not mind.
    let begun = Instant::now();
    let all = stream::iter(manifests).map(|manifest| apply(client, manifest)).buffer_unordered(AT_ONCE);
    let count = all.count().await;
    println!("apply: {count} objects created in {:.1} s", begun.elapsed().as_secs_f64());
}

async fn apply(client: &Client, manifest: &Manifest) {
    let object: Value = serde_json::from_slice(&manifest.json).unwrap_or_else(|error| panic!("{error}"));
    let all = [
        types::gateway_class(),
        types::gateway(),
        types::http_route(),
        types::reference_grant(),
        types::service(),
        types::endpoint_slice(),
        types::secret(),
    ];
    let of = all.iter().find(|of| of.group() == manifest.group && of.kind() == manifest.kind);
    let of = of.unwrap_or_else(|| panic!("what is a {}?", manifest.kind));
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let root = if of.group().is_empty() { "/api" } else { "/apis" };
    let namespace = object["metadata"]["namespace"].as_str().map(|name| format!("/namespaces/{name}"));
    let (namespace, plural) = (namespace.unwrap_or_default(), of.plural());
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    patch(client, &format!("{root}/{api_version}{namespace}/{plural}/{name}"), manifest.json.to_vec()).await;
}

async fn patch(client: &Client, path: &str, json: Vec<u8>) {
    let request = http::Request::patch(format!("{path}?fieldManager=kubectl&fieldValidation=Strict&force=true"));
    let request = request.header("content-type", "application/apply-patch+yaml").body(json);
    let request = request.unwrap_or_else(|error| panic!("{path}: {error}"));
    client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A watch of the routes that does nothing but look for one edit.
#[derive(Clone, Default)]
struct Watch {
    state: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    /// Until it was told together with its status.
    wanted: Option<String>,
    told: Option<Instant>,
    changed: Option<Instant>,
    /// The routes that have a status of ours, until it is at rest.
    statuses: BTreeSet<String>,
    at_rest: bool,
}

impl Watch {
    async fn follow(self, client: Client) {
        let request = http::Request::get("/apis/gateway.networking.k8s.io/v1/httproutes?watch=true").body(Vec::new());
        let request = request.unwrap_or_else(|error| panic!("{error}"));
        let body = client.request_stream(request).await.unwrap_or_else(|error| panic!("{error}"));
        let mut lines = Box::pin(body).lines();
        while let Some(Ok(line)) = lines.next().await {
            let now = Instant::now();
            let mut state = self.state();
            state.changed = Some(now);
            if !state.at_rest && line.contains(r#""controllerName":"tidegate.dev/gateway-controller""#) {
                let told: Value = serde_json::from_str(&line).unwrap_or_default();
                let name = told["object"]["metadata"]["name"].as_str().unwrap_or_default();
                state.statuses.insert(name.to_owned());
            }
            if state.wanted.as_ref().is_some_and(|wanted| line.contains(wanted)) {
                state.told.get_or_insert(now);
                if says_what_it_is(&line) {
                    state.wanted = None;
                }
            }
        }
        // With the cluster, when all is measured; before that whoever waits for an edit says that it is missing.
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every route has its status, and nothing has changed for a while.
    fn rest(&self) {
        let begun = Instant::now();
        loop {
            let mut state = self.state();
            let quiet = state.changed.is_some_and(|changed| changed.elapsed() > REST);
            if quiet && state.statuses.len() > ROUTES {
                state.at_rest = true;
                println!("apply: at rest after {:.1} s", begun.elapsed().as_secs_f64());
                return;
            }
            let statuses = state.statuses.len();
            assert!(begun.elapsed() < Duration::from_secs(300), "the routes never come to rest: {statuses} statuses");
            drop(state);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// From now on it looks for a version.
    fn expect(&self, version: usize) {
        let mut state = self.state();
        (state.wanted, state.told) = (Some(format!("v{version}.example.com")), None);
    }

    /// When the version was seen. Returns once its status was seen, too: that it is written is nobody else's time.
    fn told(&self) -> Instant {
        let begun = Instant::now();
        loop {
            let state = self.state();
            if let (Some(told), None) = (state.told, &state.wanted) {
                return told;
            }
            drop(state);
            assert!(begun.elapsed() < Duration::from_secs(30), "a watch does not tell of an edit that is live");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether the status that a watch tells of is that of the object's present generation.
fn says_what_it_is(line: &str) -> bool {
    let told: Value = serde_json::from_str(line).unwrap_or_default();
    let object = &told["object"];
    let conditions = &object["status"]["parents"][0]["conditions"];
    conditions.as_array().is_some_and(|conditions| {
        let generation = &object["metadata"]["generation"];
        conditions.iter().all(|condition| condition["observedGeneration"] == *generation)
    })
}

async fn start_app(cluster: &Cluster, folder: &Path, bind: Ipv4Addr, envoy: PathBuf) -> App {
    std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut section = Kubernetes { kubeconfig: Some(cluster.kubeconfig().to_owned()), ..Kubernetes::default() };
    // Statuses are written as always; only the first 3,000 of them faster, since they have to be waited for.
    (section.status.rate, section.status.burst) = (200, 200);
    let mut config = tidegate::config::Config { data_dir: folder.join("data"), ..Default::default() };
    let section = Section::new(section);
    config.sources = vec![SourceConfig { name: "bench".into(), kind: "kubernetes".into(), section }];
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);
    config.proxy.bind = bind.into();
    config.proxy.concurrency = Some(1);
    config.proxy.admin_address = free_address();
    let started = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await;
    let app = started.unwrap_or_else(|error| panic!("{error:#}"));
    app.xds.ready().await;
    app.add_proxy(&config, envoy).await.unwrap_or_else(|error| panic!("{error:#}"));
    app
}
