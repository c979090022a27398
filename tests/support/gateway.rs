//! A whole Tidegate in this process: a folder of manifests, the actor tree, a managed Envoy, echo backends. Ended in
//! order when it is dropped, whatever became of the test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{BackendRange, Config, Directory, Section, SourceConfig, Switch};
use tidegate::demo::echo::{EchoBackend, RunningEcho};
use tidegate::proxy::bootstrap::AdminAddress;
use tidegate::proxy::envoy_admin::{EnvoyAdmin, EnvoyState};
use tidegate_actors::env::{Env, Faults};

use super::envoy::{Answer, PATIENCE, envoy_binary, eventually, loopback, send};
use super::manifests::{mk_http_gateway, mk_service};
use super::ports::free_ports;

/// What a gateway is made of, before it runs.
pub struct Setup {
    folder: TempDir,
    /// Its config, which may still be changed.
    pub config: Config,
    /// The outside world.
    pub env: Env,
    /// A free port for an HTTP listener.
    pub http: SocketAddr,
    /// Another, for an HTTPS listener.
    pub https: SocketAddr,
    backends: Vec<RunningEcho>,
}

impl Setup {
    /// No manifests yet.
    pub fn new() -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        // The first test of a process decides, and all decide alike.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let folder = tempfile::Builder::new().prefix("gateway").tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        let section = Section::new(Directory::new(manifests));
        config.sources = vec![SourceConfig { name: "files".into(), kind: "directory".into(), section }];
        // The tests' backends are on this machine.
        config.gateway.allow_backends = vec![BackendRange::Loopback];
        config.admin.address.set_port(0);
        config.xds.address.set_port(0);
        let [http, https, admin] = free_ports();
        config.proxy.managed = Switch::On;
        config.proxy.concurrency = Some(1);
        config.proxy.admin_address = loopback(admin);
        config.proxy.drain_timeout = tidegate::config::Period::from_millis(200);
        let (http, https) = (loopback(http), loopback(https));
        Self { folder, config, env: Env::system(), http, https, backends: Vec::new() }
    }

    /// Injects faults.
    pub fn faults(mut self, faults: impl Faults) -> Self {
        self.env.faults = Some(Arc::new(faults));
        self
    }

    /// Writes a manifest file.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.manifests().join(file), text).unwrap();
    }

    /// The folder that is watched.
    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    /// Starts an echo backend that lives as long as the gateway.
    pub async fn backend(&mut self, name: &str) -> SocketAddr {
        let backend = EchoBackend::start(name, loopback(0)).await.unwrap();
        let address = backend.address();
        self.backends.push(backend);
        address
    }

    /// Starts echo backends with a Service each, called as they are.
    pub async fn services(&mut self, names: &[&str]) {
        for name in names {
            let address = self.backend(name).await;
            self.write(&format!("service-{name}.yaml"), &mk_service(name, &[address]));
        }
    }

    /// Starts everything, and waits until Envoy is live with what the manifests say.
    pub async fn start(self) -> Gateway {
        let app = App::start(&Tidegate::builder(), &self.config, &Hooks::default(), self.env.clone()).await.unwrap();
        app.add_proxy(&self.config, envoy_binary()).await.unwrap();
        let gateway = Gateway { setup: self, app };
        gateway.envoy_is_live().await;
        gateway
    }
}

/// A running gateway.
pub struct Gateway {
    /// What it is made of.
    pub setup: Setup,
    /// The actor tree.
    pub app: App,
}

/// A gateway with one HTTP listener for all hosts, with routes, and with a Service and a backend for each name.
pub async fn serve(services: &[&str], routes: &[String]) -> Gateway {
    let mut setup = Setup::new();
    setup.services(services).await;
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    for (at, route) in routes.iter().enumerate() {
        setup.write(&format!("route-{at}.yaml"), route);
    }
    setup.start().await
}

impl Gateway {
    /// Waits until Envoy says that it serves.
    pub async fn envoy_is_live(&self) {
        let admin = EnvoyAdmin::new(AdminAddress::Tcp(self.setup.config.proxy.admin_address));
        let live = || async {
            match admin.state().await {
                Ok(EnvoyState::Live) => Ok(()),
                state => Err(format!("{state:?}\n{:#?}\n{:#?}", self.app.supervisor.tree(), self.app.xds.clients())),
            }
        };
        eventually("Envoy is live", PATIENCE, live).await;
    }

    /// Envoy's process, as noted for the next Tidegate to adopt.
    pub fn envoy_pid(&self) -> Option<u32> {
        envoy_pid(&self.setup.config.data_dir)
    }

    /// Asks for a path of a host.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        let request = Request::get(path).header("host", host);
        self.ask(request).await
    }

    /// Sends a request without a body, which needs a `host` header.
    pub async fn ask(&self, request: http::request::Builder) -> Answer {
        send(self.setup.http, request.body(Full::default()).unwrap()).await.unwrap()
    }

    /// The backend that answers for a path of a host, or the status if none does.
    pub async fn who(&self, host: &str, path: &str) -> String {
        who(&self.get(host, path).await)
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, what: &str, host: &str, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let attempt = || async {
            let request = Request::get(path).header("host", host).body(Full::default()).unwrap();
            let answer = send(self.setup.http, request).await?;
            if wanted(&answer) { Ok(answer) } else { Err(format!("{answer:?}\n{:#?}", self.app.problems.list())) }
        };
        eventually(what, PATIENCE, attempt).await
    }

    /// Waits until a backend (or a status) answers for a path of a host.
    pub async fn until_who(&self, backend: &str, host: &str, path: &str) {
        self.until(&format!("{backend} answers {host}{path}"), host, path, |answer| who(answer) == backend).await;
    }

    /// Status and reason of an object's condition in that part of its status, once there is one: proxies are told first.
    pub async fn condition(&self, kind: &str, name: &str, pointer: &str, condition: &str) -> (String, String) {
        let attempt = || async {
            let all = self.app.statuses.list();
            let all = all.iter().map(|text| serde_json::from_str::<serde_json::Value>(text.get()).unwrap());
            let object = all.into_iter().find(|object| object["kind"] == kind && object["name"] == name);
            let object = object.ok_or_else(|| "it has no status".to_owned())?;
            let conditions = object.pointer(pointer).and_then(|part| part["conditions"].as_array());
            let found = conditions.and_then(|all| all.iter().find(|found| found["type"] == condition));
            let found = found.ok_or_else(|| format!("it is not in {object:#}"))?;
            let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
            Ok::<_, String>((text("status"), text("reason")))
        };
        eventually(&format!("{kind} {name} has {condition} at {pointer}"), PATIENCE, attempt).await
    }
}

/// Who answered: the echo backend, or else the status.
pub fn who(answer: &Answer) -> String {
    match answer.backend() {
        "" => answer.status.as_u16().to_string(),
        backend => backend.to_owned(),
    }
}

/// The Envoy that is noted in a data directory.
pub fn envoy_pid(data_dir: &std::path::Path) -> Option<u32> {
    let note = std::fs::read(data_dir.join("envoy/envoy-state.json")).ok()?;
    let note: serde_json::Value = serde_json::from_slice(&note).ok()?;
    u32::try_from(note["process"]["pid"].as_u64()?).ok()
}

/// The process of a number.
pub fn process(pid: u32) -> rustix::process::Pid {
    i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("problems: {:#?}", self.app.problems.list());
        }
        let shutdown = self.app.supervisor.shutdown(Duration::from_secs(10));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(shutdown));
        // Nothing is left unless the shutdown failed.
        if let Some(pid) = self.envoy_pid() {
            let _ = rustix::process::kill_process(process(pid), rustix::process::Signal::KILL);
        }
    }
}
