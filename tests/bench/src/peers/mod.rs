//! Informers to compare, each in a process of its own, so that its time and memory are its own: this very program,
//! started again as one of them. They do the same: list and watch three types of an API server, hold what there is,
//! and show every update to a handler, which reads from it when it was written. client-go's is a program in Go.

mod kube_runtime;
mod tidegate;
mod typed;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::corpus::Kind;
use crate::usage::{Said, Usage};

/// Set for the process that is a peer: which.
const PEER: &str = "TIDEGATE_BENCH_PEER";
/// Where its kubeconfig is.
const KUBECONFIG: &str = "TIDEGATE_BENCH_KUBECONFIG";

/// The kinds that are watched: those of the corpus that are full of fields. A Secret is two long strings, which cost
/// everybody about what they are long.
pub const KINDS: [Kind; 3] = [Kind::EndpointSlice, Kind::HttpRoute, Kind::Pod];

/// How many updates come after the sync.
pub const UPDATES: usize = 10_000;

/// The annotation that says when an update was written, in nanoseconds since 1970.
pub const STAMP: &str = "tidegate.dev/sent";

/// Between the sync and what is read of it, and before the updates begin.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Ours.
    Tidegate,
    /// kube-runtime's reflector on `DynamicObject`.
    KubeDynamic,
    /// The same on a type a kind.
    KubeTyped,
    /// client-go's dynamic shared informer.
    ClientGo,
}

/// All of them.
pub const PEERS: [Peer; 4] = [Peer::Tidegate, Peer::KubeDynamic, Peer::KubeTyped, Peer::ClientGo];

impl Peer {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::KubeDynamic => "kube-runtime, DynamicObject",
            Self::KubeTyped => "kube-runtime, typed",
            Self::ClientGo => "client-go, dynamic",
        }
    }
}

/// To be called first in `main`: in the process that is a peer, it runs that.
pub fn run_if_child() -> Option<ExitCode> {
    let peer = std::env::var(PEER).ok()?;
    let begun = Instant::now();
    let kubeconfig = PathBuf::from(std::env::var_os(KUBECONFIG).unwrap_or_default());
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
    runtime.block_on(async {
        match PEERS.into_iter().find(|known| known.name() == peer) {
            Some(Peer::Tidegate) => tidegate::run(begun, &kubeconfig).await,
            Some(Peer::KubeDynamic) => kube_runtime::dynamic(begun, &kubeconfig).await,
            Some(Peer::KubeTyped) => kube_runtime::typed(begun, &kubeconfig).await,
            Some(Peer::ClientGo) | None => panic!("`{peer}` is not part of this program"),
        }
    });
    Some(ExitCode::SUCCESS)
}

/// What a peer's handlers see.
#[derive(Default)]
pub(crate) struct Observed {
    delays: Mutex<Vec<Option<Duration>>>,
    done: Notify,
}

impl Observed {
    /// An update came; `sent` is its stamp.
    fn update(&self, sent: Option<&str>) {
        let sent = sent.and_then(|text| text.parse().ok()).map(Duration::from_nanos);
        let delay = sent.and_then(|sent| wall().checked_sub(sent));
        let mut delays = self.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        delays.push(delay);
        if delays.len() == UPDATES {
            self.done.notify_one();
        }
    }

    /// The sync is over: says so, waits for the updates, and says what they were.
    async fn report(&self, begun: Instant, objects: usize) {
        let seconds = begun.elapsed().as_secs_f64();
        // What goes on after the last object, and gives memory back or works more, counts.
        tokio::time::sleep(SETTLE).await;
        say(Said::Synced { objects, usage: Usage { seconds, ..Usage::now(begun) } });
        self.done.notified().await;
        tokio::time::sleep(SETTLE).await;
        let delays = self.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut stamped: Vec<f64> = delays.iter().flatten().map(Duration::as_secs_f64).collect();
        stamped.sort_by(f64::total_cmp);
        let quantile = |share: f64| stamped.get((stamped.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        let (p50_seconds, p99_seconds) = (quantile(0.50), quantile(0.99));
        let usage = Usage::now(begun);
        say(Said::Updated { updates: delays.len(), stamped: stamped.len(), p50_seconds, p99_seconds, usage });
    }
}

fn say(said: Said) {
    let line = serde_json::to_string(&said).unwrap_or_else(|error| panic!("{error}"));
    println!("{line}");
}

/// The time since 1970.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A peer at work. It is ended when this is dropped.
pub struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts one; `informer` is client-go's program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(peer: Peer, kubeconfig: &Path, informer: &Path) -> Self {
        let mut command = if peer == Peer::ClientGo {
            let mut command = Command::new(informer);
            command.arg("--kubeconfig").arg(kubeconfig).args(["--stamp", STAMP, "--updates", &UPDATES.to_string()]);
            command.args(KINDS.iter().flat_map(|kind| ["--resource".to_owned(), resource(*kind)]));
            command
        } else {
            let mut command = Command::new(std::env::current_exe().unwrap_or_else(|error| panic!("{error}")));
            command.env(PEER, peer.name()).env(KUBECONFIG, kubeconfig);
            command
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = child.stdout.take().unwrap_or_else(|| panic!("its output is piped"));
        Self { child, lines: BufReader::new(lines).lines() }
    }

    /// What it says next.
    ///
    /// # Panics
    /// When it says nothing more, or something else.
    pub fn hear(&mut self) -> Said {
        let line = self.lines.next().unwrap_or_else(|| panic!("the peer ended: {:?}", self.child.try_wait()));
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resource(kind: Kind) -> String {
    let (group, version, plural) = kind.api();
    if group.is_empty() { format!("{version}/{plural}") } else { format!("{group}/{version}/{plural}") }
}
