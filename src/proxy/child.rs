//! One life of a local Envoy: adopted or started, followed until it ends or is told to stop. Starting it again is
//! the supervisor's business.
//!
//! Laws: dropping the run loop leaves Envoy serving, as our own death does; the next run adopts it if it is what it
//! would have started, and ends it if not; two Envoys never share a runtime directory.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};

use super::bootstrap::AdminAddress;
use super::envoy_admin::{AdminError, EnvoyAdmin, EnvoyState};
use super::health::{drained, watch_health};
use super::output::{LOG_FORMAT, Output};
use super::process::{Process, ProcessIdentity, started_with};
use super::runtime_dir::{Note, RuntimeDir, dir_error, read_note};
use super::{ProxyError, ProxyEvent};

/// How to run a local Envoy.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// The executable.
    pub envoy: PathBuf,
    /// A directory that is this Envoy's alone, and the same at the next start: its log, its bootstrap, a note on its
    /// process.
    pub runtime_dir: PathBuf,
    /// The bootstrap, as JSON or YAML.
    pub bootstrap: String,
    /// The admin address that the bootstrap names.
    pub admin: AdminAddress,
    /// Worker threads; one a core, when not set.
    pub concurrency: Option<u32>,
    /// Envoy's log level, in its words.
    pub log_level: String,
    /// How long its admin interface may take to answer after a start.
    pub start_timeout: Duration,
    /// How long its connections may go on when it is stopped.
    pub drain_timeout: Duration,
    /// How long it may take to end after that, before it is killed.
    pub stop_timeout: Duration,
    /// The size in bytes at which its log file is begun anew.
    pub log_limit: u64,
}

impl ChildOptions {
    /// The usual options.
    pub fn new(envoy: PathBuf, runtime_dir: PathBuf, bootstrap: String, admin: AdminAddress) -> Self {
        Self {
            envoy,
            runtime_dir,
            bootstrap,
            admin,
            concurrency: None,
            log_level: "warning".to_owned(),
            start_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(5),
            log_limit: 8 * 1024 * 1024,
        }
    }

    fn arguments(&self, bootstrap: &Path) -> Vec<OsString> {
        let mut arguments = Vec::from(mark(bootstrap));
        // A changed or removed listener lets go of its connections at their next answer, not some time in the next
        // ten minutes: until then they would be served by the old one.
        arguments.extend(["--drain-strategy".into(), "immediate".into()]);
        arguments.extend(["--log-format".into(), LOG_FORMAT.into(), "--log-level".into(), (&self.log_level).into()]);
        if let Some(concurrency) = self.concurrency {
            arguments.extend(["--concurrency".into(), concurrency.to_string().into()]);
        }
        arguments
    }

    /// A hash of all that makes one Envoy different from another.
    fn launch_hash(&self, arguments: &[OsString]) -> String {
        let mut hasher = Sha256::new();
        let parts = [self.envoy.as_os_str()].into_iter().chain(arguments.iter().map(|argument| argument.as_os_str()));
        for part in parts.map(OsStr::as_encoded_bytes).chain([self.bootstrap.as_bytes()]) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The arguments that only an Envoy of ours in this directory has. Hot restart needs memory and sockets that are
/// shared by number over the whole machine, for something that we do not do.
fn mark(bootstrap: &Path) -> [OsString; 3] {
    ["--config-path".into(), bootstrap.into(), "--disable-hot-restart".into()]
}

/// Runs a local Envoy until it ends, which is an error, or until `stop` resolves: then it is drained and ended.
/// Events tell how it is. Whoever drops this future, or dies, leaves Envoy running for the next run to adopt.
pub async fn run(
    options: &ChildOptions,
    stop: impl Future<Output = ()>,
    mut on_event: impl FnMut(ProxyEvent),
) -> Result<(), ProxyError> {
    let dir = RuntimeDir::open(&options.runtime_dir)?;
    let arguments = options.arguments(&dir.bootstrap_path());
    let launch = options.launch_hash(&arguments);
    tokio::pin!(stop);

    let mut envoy = match adopt(&dir, options, &launch, &mut on_event).await? {
        Some(envoy) => envoy,
        // Ending another one may have taken its time.
        None if futures::poll!(&mut stop).is_ready() => return dir.remove_note(),
        None => start(&dir, options, &arguments, launch, &mut on_event)?,
    };
    let end = tokio::select! {
        biased;
        () = &mut stop => None,
        end = envoy.live(options, &mut on_event) => Some(end),
    };
    let result = match end {
        None => envoy.stop(options, &mut on_event).await,
        Some(Err(error @ ProxyError::NotStarted { .. })) => envoy.kill(options).await.and(Err(error)),
        Some(end) => end,
    };
    // Had its end not been seen, the note must stay: it is how the next run finds it.
    if !matches!(result, Err(ProxyError::Watch { .. } | ProxyError::WouldNotEnd { .. })) {
        dir.remove_note()?;
    }
    result
}

/// Kills the Envoy that is noted in a runtime directory, for whoever cannot wait until it is drained. Returns its
/// process, if there was one.
///
/// # Errors
/// When it lives and cannot be signalled.
pub fn kill_noted(runtime_dir: &Path) -> Result<Option<u32>, ProxyError> {
    let Some(Note { process: identity, .. }) = read_note(runtime_dir) else { return Ok(None) };
    let pid = identity.pid;
    let killed = Process::open(&identity).and_then(|process| process.map(|process| process.kill()).transpose());
    killed.map(|killed| killed.map(|()| pid)).map_err(|source| ProxyError::Watch { pid, source })
}

/// Another program at the address, another Envoy even, would be taken for ours, as Envoys share their addresses.
fn admin_is_free(admin: &AdminAddress) -> Result<(), ProxyError> {
    let AdminAddress::Tcp(address) = *admin else { return Ok(()) };
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(source) => Err(ProxyError::AdminAddress { address, source }),
    }
}

/// A running Envoy.
struct Envoy {
    pid: u32,
    process: Process,
    /// The child, if it is ours: it has to be waited for, and its exit status says why it ended.
    child: Option<Child>,
    admin: EnvoyAdmin,
    output: Output,
}

/// Takes over the Envoy that an earlier run left, if it is what this run would start; ends it, if not.
async fn adopt(
    dir: &RuntimeDir,
    options: &ChildOptions,
    launch: &str,
    on_event: &mut impl FnMut(ProxyEvent),
) -> Result<Option<Envoy>, ProxyError> {
    let note = dir.note();
    let mut left: Vec<ProcessIdentity> = note.iter().map(|note| note.process.clone()).collect();
    // One that was started in the moment before a crash is in no note: its arguments give it away.
    let strays = started_with(&mark(&dir.bootstrap_path()));
    for stray in strays.map_err(dir_error("search for processes in", "/proc".as_ref()))? {
        if !left.contains(&stray) {
            left.push(stray);
        }
    }
    for identity in left {
        let pid = identity.pid;
        let watch = |source| ProxyError::Watch { pid, source };
        let Some(process) = Process::open(&identity).map_err(watch)? else { continue };
        let admin = EnvoyAdmin::new(options.admin.clone());
        let log_path = dir.log_path();
        let output = match Output::open(&log_path, options.log_limit, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Without its log it can be ended, and is not worth more.
                dir.new_log()?;
                Output::open(&log_path, options.log_limit, true)
            }
            opened => opened,
        };
        let output = output.map_err(dir_error("open", &log_path))?;
        let mut envoy = Envoy { pid, process, child: None, admin, output };
        let fits = note.as_ref().is_some_and(|note| note.process == identity && note.launch == launch);
        let reason = match (fits, state_of(&envoy.admin).await) {
            (true, Ok(EnvoyState::Live | EnvoyState::Initializing)) => {
                on_event(ProxyEvent::Adopted { pid });
                return Ok(Some(envoy));
            }
            (true, Ok(EnvoyState::Draining)) => "it was being stopped".to_owned(),
            (true, Err(error)) => error.to_string(),
            (false, _) => "it was started with another configuration".to_owned(),
        };
        on_event(ProxyEvent::Replaced { pid, reason });
        envoy.stop(options, on_event).await?;
    }
    Ok(None)
}

/// What an Envoy says of itself; a busy one is asked again, as ending it for that would be a pity.
async fn state_of(admin: &EnvoyAdmin) -> Result<EnvoyState, AdminError> {
    for _ in 0..2 {
        match admin.state().await {
            Err(AdminError::Late { .. }) => {}
            answered => return answered,
        }
    }
    admin.state().await
}

/// Starts a new Envoy.
fn start(
    dir: &RuntimeDir,
    options: &ChildOptions,
    arguments: &[OsString],
    launch: String,
    on_event: &mut impl FnMut(ProxyEvent),
) -> Result<Envoy, ProxyError> {
    admin_is_free(&options.admin)?;
    dir.write_bootstrap(&options.bootstrap)?;
    let log = dir.new_log()?;
    let log_path = dir.log_path();
    let output = Output::open(&log_path, options.log_limit, false).map_err(dir_error("open", &log_path))?;
    let errors = log.try_clone().map_err(dir_error("open", &log_path))?;

    let mut command = Command::new(&options.envoy);
    command.args(arguments).current_dir(dir.path()).stdin(Stdio::null()).stdout(log).stderr(errors);
    // A process group of its own: the terminal's Ctrl-C is for us, and we drain it first.
    command.process_group(0).kill_on_drop(false);
    // Our own settings may hold a token.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TIDEGATE_")) {
        command.env_remove(name);
    }
    let spawn_error = |source| ProxyError::Spawn { envoy: options.envoy.clone(), source };
    let child = command.spawn().map_err(spawn_error)?;
    let pid = child.id().ok_or_else(|| spawn_error(io::ErrorKind::NotFound.into()))?;

    // As nobody has waited for it yet, the number is its own even if it has ended by now.
    let opened = ProcessIdentity::of(pid).and_then(|identity| {
        let process = identity.as_ref().map(Process::open).transpose()?.flatten();
        Ok(identity.zip(process))
    });
    let Some((process_identity, process)) = opened.map_err(|source| ProxyError::Watch { pid, source })? else {
        return Err(ProxyError::Exited { pid, status: "at once".to_owned(), last_words: read_last_words(output) });
    };
    dir.write_note(&Note { process: process_identity, launch })?;
    on_event(ProxyEvent::Started { pid });
    Ok(Envoy { pid, process, child: Some(child), admin: EnvoyAdmin::new(options.admin.clone()), output })
}

impl Envoy {
    /// Follows it until it ends, and says how it is.
    async fn live(&mut self, options: &ChildOptions, on_event: &mut impl FnMut(ProxyEvent)) -> Result<(), ProxyError> {
        let pid = self.pid;
        let end = tokio::select! {
            biased;
            status = ended(&mut self.child, &self.process) => Ok(status),
            () = self.output.follow() => return Ok(()),
            error = watch_health(&self.admin, options.start_timeout, on_event) => Err(error),
        };
        self.output.pump();
        let last_words = last_words(&self.output);
        Err(match end {
            Ok(Ok(status)) => ProxyError::Exited { pid, status: describe(status), last_words },
            Ok(Err(source)) => ProxyError::Watch { pid, source },
            Err(error) => ProxyError::NotStarted { pid, reason: error, last_words },
        })
    }

    /// Lets its connections go, then ends it.
    async fn stop(&mut self, options: &ChildOptions, on_event: &mut impl FnMut(ProxyEvent)) -> Result<(), ProxyError> {
        on_event(ProxyEvent::Draining { pid: self.pid });
        let source = tokio::select! {
            biased;
            status = ended(&mut self.child, &self.process) => Some(status),
            () = self.output.follow() => None,
            () = drained(&self.admin, options.drain_timeout) => None,
        };
        if source.is_none() {
            self.end(options).await?;
        }
        self.output.pump();
        on_event(ProxyEvent::Stopped { pid: self.pid });
        Ok(())
    }

    /// Ends it: asked first, then killed.
    async fn end(&mut self, options: &ChildOptions) -> Result<(), ProxyError> {
        self.process.terminate().map_err(|source| ProxyError::Watch { pid: self.pid, source })?;
        let ended = ended(&mut self.child, &self.process);
        match tokio::time::timeout(options.stop_timeout, ended).await {
            Ok(ended) => ended.map(|_| ()).map_err(|source| ProxyError::Watch { pid: self.pid, source }),
            Err(_) => self.kill(options).await,
        }
    }

    /// Kills it.
    async fn kill(&mut self, options: &ChildOptions) -> Result<(), ProxyError> {
        self.process.kill().map_err(|source| ProxyError::Watch { pid: self.pid, source })?;
        let ended = ended(&mut self.child, &self.process);
        match tokio::time::timeout(options.stop_timeout, ended).await {
            Ok(ended) => ended.map(|_| ()).map_err(|source| ProxyError::Watch { pid: self.pid, source }),
            Err(_) => Err(ProxyError::WouldNotEnd { pid: self.pid }),
        }
    }
}

/// Waits for the end of an Envoy. Only that of our own child comes with a status.
async fn ended(child: &mut Option<Child>, process: &Process) -> io::Result<Option<ExitStatus>> {
    match child {
        Some(child) => child.wait().await.map(Some),
        None => process.ended().await.map(|()| None),
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    // `ExitStatus` says it in words: "exit status: 1", "signal: 9 (SIGKILL)".
    status.map_or_else(|| "for a reason that only its parent was told".to_owned(), |status| format!("with {status}"))
}

fn read_last_words(mut output: Output) -> String {
    output.pump();
    last_words(&output)
}

fn last_words(output: &Output) -> String {
    output.last_words().map(|words| format!(": {words}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
