//! A real Kubernetes for the suites that need one: etcd and kube-apiserver as processes of their own, a kubectl that
//! fits, and what can happen to them: killed, paused, restarted, compacted, set back in time.
//!
//! Law: a suite whose program is missing fails and says what to run; when a cluster is dropped, nothing of it is left.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::ports::free_port;

/// How long a command may take. Starting an API server takes some seconds on an idle machine.
pub const CLUSTER_PATIENCE: Duration = Duration::from_secs(150);

/// The API server that is always there.
pub const APISERVER: &str = "apiserver";

/// A second one on the same etcd, which is there after `start_part`.
pub const SECOND_APISERVER: &str = "apiserver-second";

/// The program to test with. `cargo xtask test` builds it.
pub fn cluster_program() -> PathBuf {
    match std::env::var_os("TIDEGATE_CLUSTER") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => panic!(
            "TIDEGATE_CLUSTER is not set: run `cargo xtask test`, or set it to what `cargo xtask cluster` prints"
        ),
    }
}

/// The client-go informer to compare with, which is built beside it.
pub fn informer_program() -> PathBuf {
    cluster_program().with_file_name("tidegate-informer")
}

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Whether kube-controller-manager runs: namespaces end, Services get EndpointSlices, service accounts appear.
    pub controllers: bool,
    /// Whether the Gateway API's definitions are left out.
    pub without_crds: bool,
    /// Flags for kube-apiserver, such as `--watch-cache=false`.
    pub apiserver_flags: Vec<String>,
}

/// What the program says of itself, in each answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// The admin's.
    pub kubeconfig: PathBuf,
    /// The API server's URL.
    pub server: String,
    /// etcd's URL.
    pub etcd: String,
    /// Kubernetes' version, as `v1.37.2`.
    pub version: String,
    /// The version of the Gateway API's definitions.
    pub gateway_api: String,
    /// Each part's process, running or not.
    pub parts: BTreeMap<String, PartState>,
}

/// One process of a cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct PartState {
    /// Its process; 0 when it does not run.
    pub pid: u32,
    /// Where it listens, if it does.
    pub url: Option<String>,
    /// The admin's kubeconfig for this API server.
    pub kubeconfig: Option<PathBuf>,
    /// What it logs.
    pub log: PathBuf,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Error { error: String },
    State(ClusterState),
}

/// A Kubernetes of a test's own, ended when this is dropped.
pub struct Cluster {
    program: PathBuf,
    dir: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: UnboundedReceiver<String>,
    state: ClusterState,
    /// How long it took until everything served.
    pub start_time: Duration,
}

impl Cluster {
    /// Starts etcd and an API server that has the Gateway API's definitions.
    pub async fn start() -> Self {
        Self::start_with(ClusterOptions::default()).await
    }

    /// Starts a cluster with options, and waits until everything serves.
    pub async fn start_with(options: ClusterOptions) -> Self {
        let begun = Instant::now();
        let program = cluster_program();
        let dir = tempfile::Builder::new().prefix("cluster").tempdir().expect("a temporary directory");
        let mut command = Command::new(&program);
        command.arg("up").arg("--dir").arg(dir.path());
        for part in ["etcd", "etcd-peer", APISERVER, SECOND_APISERVER] {
            command.arg(format!("--port={part}={}", free_port()));
        }
        if options.controllers {
            command.arg("--controllers");
        }
        if options.without_crds {
            command.arg("--without-crds");
        }
        command.args(options.apiserver_flags.iter().map(|flag| format!("--apiserver-flag={flag}")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("could not start {}: {error}", program.display()));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, mut answers) = unbounded_channel();
        // It ends with the program; blocking in a thread of its own, it needs no runtime.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let state = match read(&mut answers, "up").await {
            Ok(state) => state,
            Err(reason) => {
                end(&mut child, stdin);
                panic!("no cluster: {reason}");
            }
        };
        Self { program, dir, child, stdin, answers, state, start_time: begun.elapsed() }
    }

    /// What was true after the last command.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.state.kubeconfig
    }

    /// A scratch directory that lives as long as the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process of a part, such as [`APISERVER`] or `etcd`; 0 when it does not run.
    pub fn pid(&self, part: &str) -> u32 {
        self.state.parts.get(part).map_or(0, |part| part.pid)
    }

    /// The process that supervises the parts.
    pub fn supervisor_pid(&self) -> u32 {
        self.child.id()
    }

    /// What a part has logged.
    pub fn log(&self, part: &str) -> String {
        self.state
            .parts
            .get(part)
            .map(|part| std::fs::read_to_string(&part.log).unwrap_or_default())
            .unwrap_or_default()
    }

    /// Sends a command (tests/cluster/control.go lists them) and waits for its answer.
    pub async fn try_command(&mut self, command: &str) -> Result<&ClusterState, String> {
        let stdin = self.stdin.as_mut().expect("stdin is open until the end");
        writeln!(stdin, "{command}").map_err(|error| format!("{command}: {error}"))?;
        self.state = read(&mut self.answers, command).await?;
        Ok(&self.state)
    }

    /// As [`Self::try_command`]; that it fails ends the test.
    pub async fn command(&mut self, command: &str) {
        self.try_command(command).await.unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Kills the API server with SIGKILL; when this returns, it is gone.
    pub async fn kill_apiserver(&mut self) {
        self.command(&format!("kill {APISERVER}")).await;
    }

    /// Starts the API server again, on the same port and data, and waits until it serves.
    pub async fn start_apiserver(&mut self) {
        self.command(&format!("start {APISERVER}")).await;
    }

    /// Kills the API server, if it runs, and starts it again.
    pub async fn restart_apiserver(&mut self) {
        self.command("status").await;
        if self.pid(APISERVER) != 0 {
            self.kill_apiserver().await;
        }
        self.start_apiserver().await;
    }

    /// Starts a part that does not run, such as [`SECOND_APISERVER`], with flags that replace those of its last start.
    pub async fn start_part(&mut self, part: &str, flags: &[&str]) {
        self.command(&[&["start", part], flags].concat().join(" ")).await;
    }

    /// Stops a part's process with SIGSTOP: its connections stay open and silent.
    pub async fn pause(&mut self, part: &str) {
        self.command(&format!("pause {part}")).await;
    }

    /// Lets a paused part go on.
    pub async fn resume(&mut self, part: &str) {
        self.command(&format!("resume {part}")).await;
    }

    /// Has etcd forget every revision but the last. An API server that has a watch cache still knows some.
    pub async fn compact(&mut self) {
        self.command("compact").await;
    }

    /// Saves what etcd holds.
    pub async fn save_snapshot(&mut self, file: &Path) {
        self.command(&format!("snapshot {}", file.display())).await;
    }

    /// Sets etcd back to a snapshot, resource versions included. Everything that ran is restarted.
    pub async fn restore_snapshot(&mut self, file: &Path) {
        self.command(&format!("restore {}", file.display())).await;
    }

    /// As [`Self::restore_snapshot`], under the feet of API servers that go on running with what they remember.
    pub async fn restore_snapshot_underneath(&mut self, file: &Path) {
        self.command(&format!("restore-etcd {}", file.display())).await;
    }

    /// Runs kubectl as the admin; its output, or what it complained of.
    pub async fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run_kubectl(self.kubeconfig(), arguments, "").await
    }

    /// Runs kubectl as the admin; that it fails ends the test.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).await.unwrap_or_else(|reason| panic!("kubectl {}: {reason}", arguments.join(" ")))
    }

    /// Runs `kubectl get ... -o json`.
    pub async fn get_json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.kubectl(&[&["get"], arguments, &["-o", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl get {arguments:?}: {error}: {text}"))
    }

    /// Applies manifests.
    pub async fn apply(&self, manifests: &str) {
        let applied = self.run_kubectl(self.kubeconfig(), &["apply", "-f", "-"], manifests).await;
        applied.unwrap_or_else(|reason| panic!("kubectl apply: {reason}\n{manifests}"));
    }

    /// Runs kubectl with a kubeconfig and something on its stdin.
    pub async fn run_kubectl(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = self.helper("kubectl");
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        run(command, input).await
    }

    /// Writes a kubeconfig for a user, whose client certificate holds for some time; see `tidegate-cluster kubeconfig`.
    pub async fn user_kubeconfig(&self, user: &str, groups: &[&str], lifetime: Duration) -> PathBuf {
        let path = self.dir.path().join(format!("user-{user}.kubeconfig"));
        let mut command = self.helper("kubeconfig");
        command.arg("--dir").arg(self.dir.path()).arg("--to").arg(&path);
        command.args(["--user", user, "--lifetime", &format!("{}s", lifetime.as_secs())]);
        command.args(groups.iter().flat_map(|group| ["--group", group]));
        run(command, "").await.unwrap_or_else(|reason| panic!("no kubeconfig for {user}: {reason}"));
        path
    }

    /// Writes a kubeconfig with nothing but a token of the service account `tidegate` in a namespace.
    pub async fn service_account_kubeconfig(&self, namespace: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", "tidegate", "-n", namespace]).await;
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: it
contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]
clusters: [{{ name: it, cluster: {{ server: \"{}\", certificate-authority: \"{}\" }} }}]
users: [{{ name: it, user: {{ token: {} }} }}]
",
            self.state.server,
            self.dir().join("pki/ca.crt").display(),
            token.trim()
        );
        let path = self.dir().join(format!("service-account-{namespace}.kubeconfig"));
        std::fs::write(&path, text).expect("the scratch directory can be written");
        path
    }

    /// The program with another command. What it caches at home stays in the scratch directory.
    fn helper(&self, name: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg(name).env("HOME", self.dir.path().join("home")).env("KUBERC", "off").kill_on_drop(true);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.child, self.stdin.take());
        if std::thread::panicking() {
            let log = self.log(APISERVER);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("what the API server logged last:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// The answer to a command.
async fn read(answers: &mut UnboundedReceiver<String>, command: &str) -> Result<ClusterState, String> {
    let line = match tokio::time::timeout(CLUSTER_PATIENCE, answers.recv()).await {
        Ok(Some(line)) => line,
        Ok(None) => return Err(format!("{command}: the cluster program ended")),
        Err(_) => return Err(format!("{command}: no answer within {CLUSTER_PATIENCE:?}")),
    };
    match serde_json::from_str(&line) {
        Ok(Answer::State(state)) => Ok(state),
        Ok(Answer::Error { error }) => Err(format!("{command}: {error}")),
        Err(error) => Err(format!("{command}: {error}: {line}")),
    }
}

/// Closes stdin, at which the program kills its parts and ends. If it does not, it is killed, and the kernel kills them.
fn end(child: &mut Child, stdin: Option<ChildStdin>) {
    drop(stdin);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            // It may have ended in this moment, which is as good.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn run(mut command: tokio::process::Command, input: &str) -> Result<String, String> {
    use tokio::io::AsyncWriteExt as _;

    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let write = async move {
        // One that does not read to the end has said why.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let (output, ()) = tokio::time::timeout(CLUSTER_PATIENCE, async { tokio::join!(child.wait_with_output(), write) })
        .await
        .map_err(|_| format!("not done within {CLUSTER_PATIENCE:?}"))?;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
