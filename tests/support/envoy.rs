//! A real Envoy for the suites that need one: where it is, one of its own for a test, questions to it, and waiting
//! with a deadline.
//!
//! Law: a suite whose Envoy is missing fails and says what to run; it never skips.

use std::fmt::Debug;
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tidegate::demo::echo::{BACKEND_HEADER, Echo};
use tidegate::proxy::bootstrap::{AdminAddress, Bootstrap, BootstrapOptions, XdsAddress};
use tidegate::proxy::envoy_admin::{EnvoyAdmin, EnvoyState};

/// How long anything may take that is not measured.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The Envoy to test with. `cargo xtask test` finds or fetches it.
pub fn envoy_binary() -> PathBuf {
    match std::env::var_os("TIDEGATE_ENVOY") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => panic!("TIDEGATE_ENVOY is not set: run `cargo xtask test`, or set it to an Envoy"),
    }
}

/// A loopback address.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Tries until there is an answer. Panics, with the last reason for there being none, when `patience` is over.
pub async fn eventually<T, E, Fut>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Fut) -> T
where
    E: Debug,
    Fut: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => panic!("{what}: not within {patience:?}: {reason:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What came back for a request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The echo backend that answered; empty when none did.
    pub fn backend(&self) -> &str {
        self.header(BACKEND_HEADER)
    }

    /// What the echo backend was asked.
    pub fn echo(&self) -> Echo {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no echo ({error}): {self:?}"))
    }
}

/// Asks for a path of a host, over a connection of its own. What keeps an answer from coming is an error, whatever
/// its status.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    let request = Request::get(path).header("host", host).body(Full::new(Bytes::new()));
    send(address, request.map_err(|error| error.to_string())?).await
}

/// Sends a request, which must have a `host` header, over a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| format!("handshake: {error}"))?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| format!("request: {error}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
        connection.abort();
        Ok(Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

/// Has the real Envoy check a bootstrap; its complaint, if it has one.
pub fn validate(bootstrap: &str, file_name: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = dir.path().join(file_name);
    std::fs::write(&path, bootstrap).map_err(|error| error.to_string())?;
    let mut command = Command::new(envoy_binary());
    command.args(["--mode", "validate", "--disable-hot-restart", "--log-level", "warning", "--config-path"]);
    let output = command.arg(&path).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// An Envoy of a test's own, ended when this is dropped. It is what a user's own Envoy is to us: nobody supervises it.
pub struct TestEnvoy {
    dir: TempDir,
    child: Child,
    admin: EnvoyAdmin,
}

impl TestEnvoy {
    /// Starts an Envoy that asks the xDS server at an address; `configure` may change the bootstrap's options.
    pub fn start(xds: XdsAddress, configure: impl FnOnce(&mut BootstrapOptions)) -> Self {
        let dir = tempfile::Builder::new().prefix("envoy").tempdir().expect("a temporary directory");
        let admin = AdminAddress::Socket(dir.path().join("admin.sock"));
        let mut options = BootstrapOptions::new("test", xds, admin);
        configure(&mut options);
        let bootstrap = Bootstrap::new(&options).and_then(|bootstrap| bootstrap.to_json()).expect("a bootstrap");
        let path = dir.path().join("bootstrap.json");
        std::fs::write(&path, bootstrap).expect("a written bootstrap");
        let log = File::create(dir.path().join("envoy.log")).expect("a log file");
        let child = Command::new(envoy_binary())
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "info", "--config-path"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a started Envoy");
        Self { dir, child, admin: EnvoyAdmin::new(options.admin) }
    }

    /// Its admin interface.
    pub fn admin(&self) -> &EnvoyAdmin {
        &self.admin
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory, with `envoy.log` in it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("envoy.log")).unwrap_or_default()
    }

    /// Waits until its admin interface answers, whatever it says of itself.
    pub async fn wait_started(&self) -> EnvoyState {
        eventually("Envoy's admin interface answers", PATIENCE, || self.admin.state()).await
    }

    /// Waits until it has its first configuration and serves.
    pub async fn wait_live(&self) {
        let live = || async {
            match self.admin.state().await {
                Ok(EnvoyState::Live) => Ok(()),
                other => Err(format!("{other:?}; it logged: {}", self.log())),
            }
        };
        eventually("Envoy is live", PATIENCE, live).await
    }

    /// One counter or gauge; 0 when there is none of that name yet.
    pub async fn stat(&self, name: &str) -> u64 {
        let (_, text) =
            self.admin.get(&format!("/stats?filter={name}")).await.expect("an answer from Envoy's admin interface");
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).find_map(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }

    /// What it runs on, as JSON text, with endpoints.
    pub async fn config_dump(&self) -> String {
        self.admin.get("/config_dump?include_eds").await.expect("an answer from Envoy's admin interface").1
    }
}

impl Drop for TestEnvoy {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what Envoy logged:\n{}", self.log());
        }
    }
}
