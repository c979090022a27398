//! The binary as a process of its own, as a service manager runs it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::envoy::{PATIENCE, eventually, get};
use super::gateway::{envoy_pid, process};

/// A running `tidegate`. Killed when it is dropped, and its Envoy with it.
pub struct Service {
    child: Child,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// Runs in the process before it is the binary's.
    script: String,
    data_dir: PathBuf,
    /// What it says is in this folder: `out` and `err`.
    folder: PathBuf,
}

impl Service {
    /// Starts the binary with arguments in a folder; `data_dir` is where its config puts its data.
    pub fn start(arguments: &[&str], folder: &Path, data_dir: &Path) -> Self {
        Self::start_with(arguments, Vec::new(), folder, data_dir)
    }

    /// The same with variables in its environment.
    pub fn start_with(
        arguments: &[&str],
        variables: Vec<(&'static str, String)>,
        folder: &Path,
        data_dir: &Path,
    ) -> Self {
        Self::start_as("", arguments, variables, folder, data_dir)
    }

    /// The same after a piece of shell script, in the process that it changes.
    pub fn start_after(script: &str, arguments: &[&str], folder: &Path, data_dir: &Path) -> Self {
        Self::start_as(script, arguments, Vec::new(), folder, data_dir)
    }

    fn start_as(
        script: &str,
        arguments: &[&str],
        variables: Vec<(&'static str, String)>,
        folder: &Path,
        data_dir: &Path,
    ) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(script, &arguments, &variables, folder);
        let (script, data_dir, folder) = (script.to_owned(), data_dir.to_owned(), folder.to_owned());
        Self { child, arguments, variables, script, data_dir, folder }
    }

    /// Starts it once more, after it has ended.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.script, &self.arguments, &self.variables, &self.folder);
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process of its Envoy.
    pub fn envoy_pid(&self) -> Option<u32> {
        envoy_pid(&self.data_dir)
    }

    /// What it has said on standard output.
    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    /// What it has logged.
    pub fn err(&self) -> String {
        std::fs::read_to_string(self.folder.join("err")).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(process(self.pid()), signal).unwrap();
    }

    /// Kills it as the system does when memory is short: nothing of ours runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        let mut end = || std::future::ready(child.try_wait().unwrap().ok_or("it still runs"));
        eventually("tidegate ends", patience, &mut end).await
    }

    /// Waits until its admin server says that it is ready.
    pub async fn until_ready(&self, admin: SocketAddr) {
        let attempt = || async {
            let answer = get(admin, &admin.to_string(), "/readyz").await;
            match answer {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}; it logged: {}", self.err())),
            }
        };
        eventually("tidegate is ready", PATIENCE, attempt).await;
    }
}

fn spawn(script: &str, arguments: &[String], variables: &[(&'static str, String)], folder: &Path) -> Child {
    let file = |name: &str| {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(name));
        file.expect("a file for what it says")
    };
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let mut command = if script.is_empty() {
        Command::new(binary)
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script}\nexec \"$0\" \"$@\""), binary]);
        command
    };
    command.args(arguments).current_dir(folder).process_group(0).stdin(Stdio::null());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdout(file("out")).stderr(file("err")).spawn().expect("a started tidegate")
}

impl Drop for Service {
    fn drop(&mut self) {
        // Each may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(pid) = self.envoy_pid() {
            let _ = kill_process(process(pid), Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("tidegate said:\n{}\nand logged:\n{}", self.out(), self.err());
        }
    }
}

/// Whether a process is there, and not only waited for.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
