//! The real service in a process of its own: this very program, started again as `tidegate run`, with a folder of
//! manifests. What it takes is read from `/proc`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate::builder::Tidegate;

use crate::gateway_world::Manifest;

/// Set for the process that is the service.
const CHILD: &str = "TIDEGATE_BENCH_SERVICE";

/// To be called first in `main`: in the process that is the service, it runs that.
pub fn run_if_child() -> Option<ExitCode> {
    std::env::var_os(CHILD).map(|_| Tidegate::builder().main())
}

/// See the module. It is ended when this is dropped.
pub struct Service {
    child: Child,
    admin: SocketAddr,
    xds: SocketAddr,
    started: Instant,
    folder: TempDir,
}

/// Memory in use, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// The most that it ever was.
    pub peak: f64,
}

impl Service {
    /// Starts it on the manifests of a folder, without a proxy.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(manifests: &Path) -> Self {
        Self::start_on(&format!("name: manifests, kind: directory, path: {}", manifests.display()))
    }

    /// Starts it on a source, said as a section of the config in one line, without a proxy.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_on(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
        let (admin, xds) = (free_address(), free_address());
        let config = format!(
            "admin:\n  address: {admin}\nxds:\n  address: {xds}\nproxy:\n  managed: false\nlog:\n  level: warn\n\
             snapshot:\n  key_file: key\ndata_dir: {}\nsources:\n  - {{ {source} }}\n",
            folder.path().join("data").display(),
        );
        let path = folder.path().join("tidegate.yaml");
        fs::write(&path, config).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // 32 bytes in base64; there is no secret to keep.
        let key = folder.path().join("key");
        fs::write(&key, "A".repeat(43) + "=").unwrap_or_else(|error| panic!("{}: {error}", key.display()));
        let (child, started) = spawn(&path);
        Self { child, admin, xds, started, folder }
    }

    /// Ends it as the system does when memory is short.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it once more, after it was ended.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_again(&mut self) {
        (self.child, self.started) = spawn(&self.folder.path().join("tidegate.yaml"));
    }

    /// Waits until it is ready, and says how long that took from its start.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub fn wait_ready(&mut self) -> Duration {
        loop {
            if self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return self.started.elapsed();
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the service ended: {status}");
            }
            assert!(self.started.elapsed() < Duration::from_secs(60), "the service is not ready after a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks its admin interface; the whole answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Waits until every type is synced and so many routes are there, and says how long that took from its start.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub fn wait_synced(&mut self, routes: usize) -> Duration {
        self.wait_types(|types| {
            let synced = types.iter().all(|of| of["phase"] != "pending");
            synced && routes_of(types) == Some(routes as u64)
        })
    }

    /// Waits until the types that it watches are as wanted, and says how long that took from its start.
    ///
    /// # Panics
    /// When they are not within a minute.
    pub fn wait_types(&mut self, wanted: impl Fn(&[Value]) -> bool) -> Duration {
        loop {
            let types = self.types();
            if wanted(&types) {
                return self.started.elapsed();
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the service ended: {status}");
            }
            assert!(self.started.elapsed() < Duration::from_secs(60), "not synced after a minute: {types:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Makes sure that it really has so many routes. Asks for their number and not for them: an answer of megabytes
    /// would count as its memory.
    ///
    /// # Panics
    /// When it has not.
    pub fn check_routes(&self, expected: usize) {
        let types = self.types();
        assert_eq!(routes_of(&types), Some(expected as u64), "routes that the service has: {types:?}");
    }

    /// What it says of the types that it watches; nothing while it does not answer.
    pub fn types(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/resources").unwrap_or_default();
        let listing = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        listing.as_ref().and_then(|listing| listing["items"].as_array()).cloned().unwrap_or_default()
    }

    /// Its memory.
    ///
    /// # Panics
    /// When it is gone.
    pub fn memory(&self) -> Memory {
        let status = self.proc("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or_else(|| panic!("no {name} in {status}")) / 1024.0
        };
        Memory { now: field("VmRSS:"), peak: field("VmHWM:") }
    }

    /// Forgets how much its memory ever was, so that the most is from now on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Where it serves xDS.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// The time that it has used of all cores, in steps of 10 ms. Threads that have ended count.
    ///
    /// # Panics
    /// When it is gone.
    pub fn worked(&self) -> Duration {
        let stat = self.proc("stat");
        // The name of the program, in brackets, may hold spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Its own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn spawn(config: &Path) -> (Child, Instant) {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("which program is this: {error}"));
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(config).env(CHILD, "1").stdin(Stdio::null());
    // What is read of a program's symbols to print one backtrace stays resident, hundreds of MiB of them.
    command.env_remove("RUST_BACKTRACE");
    let started = Instant::now();
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (child, started)
}

fn routes_of(types: &[Value]) -> Option<u64> {
    types.iter().find(|of| of["kind"] == "HTTPRoute").and_then(|of| of["objects"].as_u64())
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.unwrap_or_else(|error| panic!("a free port: {error}"))
}

/// How objects are written to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, an object a line.
    Json,
    /// YAML in block style, as people write it.
    Yaml,
}

impl Format {
    /// An object as a document.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn document(self, manifest: &Manifest) -> Vec<u8> {
        if self == Self::Json {
            return [&manifest.json[..], b"\n"].concat();
        }
        let value: Value = serde_json::from_slice(&manifest.json).unwrap_or_else(|error| panic!("{error}"));
        let text = serde_saphyr::to_string(&value).unwrap_or_else(|error| panic!("{error}"));
        format!("---\n{text}").into_bytes()
    }
}

/// Writes objects to files, so many in each.
///
/// # Panics
/// When they cannot be written.
pub fn write(folder: &Path, manifests: &[Manifest], format: Format, a_file: usize) {
    let extension = if format == Format::Json { "json" } else { "yaml" };
    for (at, objects) in manifests.chunks(a_file).enumerate() {
        let text: Vec<u8> = objects.iter().flat_map(|object| format.document(object)).collect();
        let path = folder.join(format!("{at:05}.{extension}"));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
