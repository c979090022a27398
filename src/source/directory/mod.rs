//! The directory source: manifests in YAML or JSON, watched, as lists and watches of the types in them.
//!
//! One scanner serves all types. It is a loop to be supervised, and what it knows outlives it: a scanner that
//! fails and starts again reads the directory anew and tells only differences.
//!
//! Hidden files are not read; names that begin with `..` are how mounted volumes swap their content, and are
//! read through the links that lead to them.

mod document;
mod feed;
mod keys;
mod kit;
mod ledger;
mod load;
mod make;
mod options;
mod position;
mod reader;
mod report;
mod restored;
mod scalar;
mod scan;
mod shared;
mod split;
mod stream;
mod walk;
mod watch;
mod yaml;

#[cfg(test)]
mod tests;

pub use load::{LoadError, Loaded, load};
pub use make::make;
pub use options::{Options, WatchMode};
pub use watch::{Inbox, NotifyWatching, Signal, WatchError, Watcher, Watching};

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::source::{Cursor, Source, SourceStream};

use self::scan::Scan;
use self::shared::Shared;
use super::schema::Catalogue;

/// Why the scanner stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A round of scanning panicked.
    #[error("a round of scanning the directory failed: {0}")]
    Round(#[source] tokio::task::JoinError),
}

/// See the module.
pub struct DirectorySource {
    shared: Arc<Shared>,
}

/// The loop behind a [`DirectorySource`]. Can be run again after it failed.
pub struct Scanner {
    shared: Arc<Shared>,
    watching: Arc<dyn Watching>,
}

impl DirectorySource {
    /// A source and the scanner that keeps it up to date, which somebody has to run.
    ///
    /// # Errors
    /// When the path is relative and there is no working directory to complete it with.
    pub fn new(
        options: Options,
        env: Env,
        problems: Problems,
        catalogue: Catalogue,
    ) -> std::io::Result<(Arc<Self>, Scanner)> {
        Self::with_watching(options, env, problems, catalogue, Arc::new(NotifyWatching))
    }

    /// The same with a watching of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_watching(
        mut options: Options,
        env: Env,
        problems: Problems,
        catalogue: Catalogue,
        watching: Arc<dyn Watching>,
    ) -> std::io::Result<(Arc<Self>, Scanner)> {
        // Events carry absolute paths.
        options.path = std::path::absolute(&options.path)?;
        let shared = Arc::new(Shared::new(options, env, problems, catalogue));
        Ok((Arc::new(Self { shared: shared.clone() }), Scanner { shared, watching }))
    }

    /// Waits until the directory has been read once.
    pub async fn ready(&self) {
        let mut ready = self.shared.ready();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|ready| *ready).await;
    }
}

impl Source for DirectorySource {
    fn name(&self) -> &Name {
        &self.shared.options.name
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        stream::open(self.shared.clone(), resource_type.clone(), from)
    }

    fn fingerprint(&self, _: &ResourceType) -> String {
        format!("directory {:?}", self.shared.options.path)
    }

    /// Positions are those of one run.
    fn can_resume(&self, _: &ResourceType) -> bool {
        false
    }

    fn restored(&self, resource_type: &ResourceType, objects: &[Arc<Object>]) {
        self.shared.restored(resource_type, objects);
    }
}

impl Scanner {
    /// Scans until `stop` resolves.
    ///
    /// # Errors
    /// When a round panicked; what was served before is served on, and another run starts afresh.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<(), ScanError> {
        let mut stop = pin!(stop);
        let options = &self.shared.options;
        let clock = self.shared.env.clock.clone();
        let inbox = Inbox::new(options.path.clone());
        let mut scan = Scan::new(self.shared.clone(), inbox.clone()).patient();
        if options.watch == WatchMode::Auto {
            match self.watching.start(inbox.clone()) {
                Ok(watcher) => scan.watch_with(watcher),
                Err(error) => scan.cannot_watch(error.to_string()),
            }
        }
        let (mut rescan, mut last_look) = (false, clock.now());
        loop {
            let started = clock.now();
            if rescan {
                last_look = started;
            }
            let round = tokio::task::spawn_blocking(move || {
                let looked = scan.round(started, rescan);
                (scan, looked)
            });
            let looked;
            (scan, looked) = round.await.map_err(ScanError::Round)?;
            let interval = if scan.is_polling() { options.poll_interval } else { options.rescan_interval };
            let next_look = last_look + interval;
            let ended = clock.now();
            let next = scan.due().map_or(next_look, |due| due.min(next_look));
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                () = inbox.rings() => {}
                () = clock.sleep(next.saturating_duration_since(ended)) => {}
            }
            // The first signal after a quiet time is taken up at once, those that follow it together.
            let pause = (ended + options.coalesce).saturating_duration_since(clock.now());
            if looked && !pause.is_zero() {
                tokio::select! {
                    biased;
                    () = &mut stop => return Ok(()),
                    () = clock.sleep(pause) => {}
                }
            }
            rescan = clock.now() >= next_look;
        }
    }
}
