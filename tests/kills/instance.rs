//! A Tidegate with an Envoy, a directory, a namespace of a cluster behind a network of its own, and steady traffic; killed
//! and started again, round after round.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate::demo::echo::{EchoBackend, RunningEcho};
use tidegate_actors::env::SeededRng;

use crate::proxy::{Network, Proxy};
use crate::support::api::Api;
use crate::support::cluster::Cluster;
use crate::support::envoy::{PATIENCE, envoy_binary, eventually, get, loopback};
use crate::support::load::{Check, Load, Outcome, Target, ok};
use crate::support::ports::free_ports;
use crate::support::service::{Service, is_alive};
use crate::support::tls::TlsAnswer;
use crate::world::World;

/// 32 bytes that are good enough for a test.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

/// See the module.
pub struct Instance {
    name: String,
    service: Service,
    admin: SocketAddr,
    envoy: u32,
    world: World,
    network: Proxy,
    load: Load,
    _folder: TempDir,
    _backends: [RunningEcho; 3],
}

/// An address of this machine that an EndpointSlice may have: the API server takes no loopback address.
fn pod_address() -> IpAddr {
    // A UDP socket that is connected has an address, and sends nothing.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").expect("backends need an address that is not loopback");
    socket.local_addr().unwrap().ip()
}

impl Instance {
    /// Starts it, and waits until everything is live and on disk.
    pub async fn start(cluster: &Cluster, seed: u64, instance: u64) -> Self {
        let name = format!("seed {seed}, instance {instance}");
        let folder = tempfile::Builder::new().prefix("kills").tempdir().unwrap();
        let namespace = format!("kills-{instance}");
        let (server, path) = (&cluster.state().server, cluster.kubeconfig());
        let address: SocketAddr = server.trim_start_matches("https://").parse().unwrap();
        let network = Proxy::start(address).await;
        let kubeconfig = std::fs::read_to_string(path).unwrap();
        assert!(kubeconfig.contains(server), "{server} in {kubeconfig}");
        let kubeconfig = kubeconfig.replace(server, &format!("https://{}", network.address));
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        let [admin, xds, envoy, http, https] = free_ports();
        let config = format!(
            "sources:
  - {{ name: files, kind: directory, path: manifests }}
  - name: cluster
    kind: kubernetes
    kubeconfig: kubeconfig
    namespaces: [{namespace}]
    status: {{ lease: {{ namespace: {namespace}, name: tidegate }} }}
gateway: {{ allow_backends: [loopback] }}
admin: {{ address: \"127.0.0.1:{admin}\" }}
xds: {{ address: \"127.0.0.1:{xds}\" }}
proxy: {{ managed: true, concurrency: 1, admin_address: \"127.0.0.1:{envoy}\", drain_timeout: 200ms }}
snapshot: {{ key_file: key, interval: 20ms }}
data_dir: data
"
        );
        std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
        let echo =
            async |name: &'static str, ip: IpAddr| EchoBackend::start(name, SocketAddr::new(ip, 0)).await.unwrap();
        let local = loopback(0).ip();
        let backends = [echo("even", local).await, echo("odd", local).await, echo("pod", pod_address()).await];
        let [even, odd, pod] = backends.each_ref().map(RunningEcho::address);
        let (api, dice) = (Api::new(path).await, SeededRng::new(seed.wrapping_mul(1009) + instance));
        let world = World::new(&namespace, folder.path(), [http, https], [even, odd], pod, api, dice).await;
        let binary = envoy_binary().display().to_string();
        let arguments = ["run", "--config", "tidegate.yaml", "--envoy", &binary];
        let service = Service::start(&arguments, folder.path(), &folder.path().join("data"));
        let admin = loopback(admin);
        service.until_ready(admin).await;
        eventually(&format!("{name}: everything is live"), PATIENCE, || world.look()).await;
        let kept = || async {
            let said = ask(admin, "/api/v1/snapshot").await?;
            let types = said["types"].as_array().cloned().unwrap_or_default();
            let is_kept = |of: &Value| of["bytes"].as_u64().unwrap_or_default() > 0;
            if !types.is_empty() && types.iter().all(is_kept) { Ok(()) } else { Err(said.to_string()) }
        };
        eventually(&format!("{name}: everything is on disk"), PATIENCE, kept).await;
        let envoy = service.envoy_pid().unwrap();
        let load = traffic(&world);
        Self { name, service, admin, envoy, world, network, load, _folder: folder, _backends: backends }
    }

    /// Kills it amid changes, starts it again, and sees that all is well; how long the first configuration took.
    pub async fn round(&mut self, round: u64) -> Duration {
        let when = format!("{}, round {round}", self.name);
        let (before, moment) = (self.world.below(15).await, Duration::from_millis(self.world.below(250).await));
        let service = &mut self.service;
        let killed = async {
            tokio::time::sleep(moment).await;
            service.kill();
        };
        tokio::join!(self.world.changes(before, 25), killed);
        assert!(is_alive(self.envoy), "{when}: Envoy died with Tidegate");
        let meanwhile = self.world.below(5).await;
        self.world.changes(meanwhile, 10).await;

        let (files, cluster) = (self.world.below(4).await == 0, self.world.below(4).await == 0);
        self.world.take_away(files).await;
        self.network.set(if cluster { Network::Refuse } else { Network::Pass });
        let started = Instant::now();
        self.service.start_again();
        let (amid, ready) = (self.world.below(4).await, self.until_first(&when, started));
        let ((), took) = tokio::join!(self.world.changes(amid, 60), ready);
        self.assert_restored(&when).await;
        if files || cluster {
            // What is served meanwhile is seen by the traffic.
            let pause = self.world.below(100).await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.network.set(Network::Pass);
            self.world.take_away(false).await;
        }
        let what = format!("{when} (files away: {files}, cluster away: {cluster}): nothing is lost");
        eventually(&what, PATIENCE, || self.world.look()).await;
        assert_eq!(self.service.envoy_pid(), Some(self.envoy), "{when}: Envoy was not adopted");
        assert_eq!(self.load.failures(), [], "{when}: requests failed");
        took
    }

    /// Waits for the first configuration.
    async fn until_first(&self, when: &str, started: Instant) -> Duration {
        loop {
            let answer = get(self.admin, &self.admin.to_string(), "/readyz").await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return started.elapsed();
            }
            assert!(started.elapsed() < PATIENCE, "{when}: no configuration: {answer:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Everything began with what was on disk, none of which was harmed.
    async fn assert_restored(&self, when: &str) {
        let said = ask(self.admin, "/api/v1/snapshot").await.unwrap_or_else(|error| panic!("{when}: {error}"));
        for of in said["types"].as_array().unwrap() {
            assert!(of["restored"].is_object(), "{when}: {} was not on disk: {said:#}", of["name"]);
        }
        assert_eq!(said["set_aside"], serde_json::json!([]), "{when}");
    }

    /// Ends it in order; what the traffic saw, and how many changes there were.
    pub async fn end(mut self) -> (Outcome, u64) {
        let outcome = self.load.stop().await;
        outcome.assert_no_failure(100);
        self.service.signal(rustix::process::Signal::TERM);
        let status = self.service.ended(PATIENCE).await;
        assert!(status.success(), "{}: {status}", self.name);
        (outcome, self.world.changed().await)
    }
}

/// To both sources' routes, of which no request may fail.
fn traffic(world: &World) -> Load {
    let of = |path: &str| Target { path: path.to_owned(), ..Target::new(world.http, "a.test") };
    let (files, cluster) = (of("/files-0"), of("/cluster-0"));
    let secure = Target { path: "/files-0".to_owned(), ..Target::new(world.https, "a.test") };
    let check: Check<TlsAnswer> = std::sync::Arc::new(|a| if a.status == 200 { Ok(()) } else { Err(a.text.clone()) });
    let load = Load::new().kept(30, &files, &ok()).fresh(15, &files, &ok());
    load.kept(30, &cluster, &ok()).fresh(15, &cluster, &ok()).tls(5, &secure, &world.authority, &check)
}

async fn ask(admin: SocketAddr, path: &str) -> Result<Value, String> {
    let answer = get(admin, &admin.to_string(), path).await?;
    serde_json::from_str(&answer.body).map_err(|error| format!("{path}: {error}: {answer:?}"))
}
