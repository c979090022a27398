//! The config file changes while we run: read it again, keep the running config when the new one is bad, and
//! say what changed.
//!
//! Law: what runs is always a config that was wholly good.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tidegate_actors::env::Env;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tokio::sync::mpsc;

use super::load::{Loader, unreadable};
use super::{Changes, Config, ConfigErrors};

/// The scope of config problems in the registry of problems.
pub const SCOPE: &str = "config";

/// How often the file is looked at even if the file system told of no change.
pub const POLL: Duration = Duration::from_secs(2);

/// What a look at the file found.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The same as before.
    Unchanged,
    /// Another text that means the same, or a config that is good again without a change.
    Same,
    /// A good config that differs.
    Changed(Reloaded),
    /// A bad config; the running one stays.
    Refused(ConfigErrors),
}

/// A good config that differs from the one before.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The new config.
    pub config: Arc<Config>,
    /// What differs from the config that ran before.
    pub changes: Changes,
}

/// Watches one config file.
pub struct Reload {
    path: PathBuf,
    loader: Loader,
    env: Env,
    problems: Problems,
    /// What the process started with: the measure of what needs a restart.
    started_with: Arc<Config>,
    running: Arc<Config>,
    seen: Seen,
}

/// What the last look found.
#[derive(PartialEq, Eq)]
enum Seen {
    Nothing,
    Content(Vec<u8>),
    Unreadable(std::io::ErrorKind),
}

impl Reload {
    /// Watches the file that `running` was loaded from.
    pub fn new(path: &Path, loader: Loader, running: Arc<Config>, env: Env, problems: Problems) -> Self {
        let started_with = running.clone();
        Self { path: path.to_owned(), loader, env, problems, started_with, running, seen: Seen::Nothing }
    }

    /// The last good config.
    pub fn running(&self) -> &Arc<Config> {
        &self.running
    }

    /// Looks at the file once.
    pub fn look(&mut self) -> Outcome {
        let read = self.env.disk.read(&self.path);
        let seen = match &read {
            Ok(content) => Seen::Content(content.clone()),
            Err(error) => Seen::Unreadable(error.kind()),
        };
        if seen == self.seen {
            return Outcome::Unchanged;
        }
        self.seen = seen;
        let parsed = match read {
            Ok(bytes) => self.parse(&bytes),
            Err(error) => Err(unreadable(&self.path, &error)),
        };
        match parsed {
            Ok(config) => self.accept(config),
            Err(errors) => {
                self.refuse(&errors);
                Outcome::Refused(errors)
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Config, ConfigErrors> {
        let not_text = |error: std::str::Utf8Error| {
            unreadable(&self.path, &std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        };
        self.loader.parse(std::str::from_utf8(bytes).map_err(not_text)?, &self.path)
    }

    fn accept(&mut self, config: Config) -> Outcome {
        let changes = Changes::between(&self.running, &config);
        let pending = Changes::between(&self.started_with, &config);
        let place = self.path.display().to_string();
        let pending = pending.needing_restart().map(|key| {
            let reason = "was changed; this takes effect when Tidegate is started again".to_owned();
            let problem = Problem {
                place: place.clone(),
                object: None,
                field: key.to_owned(),
                reason,
                serving: Serving::LastGood,
            };
            (format!("restart/{key}"), problem)
        });
        self.problems.replace(SCOPE, pending.collect::<Vec<_>>());
        if changes.is_empty() {
            return Outcome::Same;
        }
        self.running = Arc::new(config);
        Outcome::Changed(Reloaded { config: self.running.clone(), changes })
    }

    fn refuse(&self, errors: &ConfigErrors) {
        let problems = errors.problems.iter().enumerate().map(|(index, wrong)| {
            let problem = Problem {
                place: wrong.place.clone(),
                object: None,
                field: wrong.key.clone(),
                reason: format!("{}; the running config stays", wrong.reason),
                serving: Serving::LastGood,
            };
            (format!("{index:04}"), problem)
        });
        self.problems.replace(SCOPE, problems.collect::<Vec<_>>());
    }

    /// Looks whenever the file system tells of a change, and every [`POLL`] in any case; never returns.
    /// A change is handed to `apply` after it was logged.
    pub async fn run(mut self, mut apply: impl FnMut(Reloaded) + Send) {
        let (told, mut changes) = mpsc::channel::<()>(1);
        // Without file system events, the polling below is all there is.
        let _watcher = watch(&self.path, told);
        loop {
            match self.look() {
                Outcome::Unchanged | Outcome::Same => {}
                Outcome::Changed(reloaded) => {
                    let keys: Vec<&str> = reloaded.changes.keys.iter().map(String::as_str).collect();
                    let later: Vec<&str> = reloaded.changes.needing_restart().collect();
                    tracing::info!(changed = keys.join(", "), needs_restart = later.join(", "), "config reloaded");
                    apply(reloaded);
                }
                Outcome::Refused(errors) => {
                    tracing::error!(path = %self.path.display(), "config refused, the running one stays:\n{errors}");
                }
            }
            tokio::select! {
                biased;
                Some(()) = changes.recv() => {}
                () = self.env.clock.sleep(POLL) => {}
            }
        }
    }
}

/// Watches the file's directory, since editors and mounted ConfigMaps replace the file or a link to it.
fn watch(path: &Path, told: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let handler = move |event: notify::Result<notify::Event>| {
        // Reading the file is no change of it. A full channel means that a look is due already.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = told.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(handler).ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
