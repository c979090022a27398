//! A changed config file, applied to what runs.

use std::path::Path;
use std::sync::Arc;

use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{ChildSpec, TaskContext};
use tokio::sync::mpsc;

use super::App;
use crate::admin::state::LogLevel;
use crate::admin::watches::WatchRegistry;
use crate::config::reload::{Reload, Reloaded};
use crate::config::{Config, Loader};

/// What a change reaches.
#[derive(Clone)]
pub(super) struct Reach {
    pub env: Env,
    pub problems: Problems,
    pub log: Arc<dyn LogLevel>,
    pub watches: WatchRegistry,
}

impl Reach {
    /// The handles of a running tree.
    pub fn of(app: &App, log: Arc<dyn LogLevel>) -> Self {
        Self { env: app.env.clone(), problems: app.problems.clone(), log, watches: app.watches.clone() }
    }
}

/// Watches the config file for as long as it runs. What takes effect at once is what `Changes::effect` says.
pub(super) fn watcher(path: &Path, loader: &Loader, running: &Arc<Config>, reach: Reach) -> ChildSpec {
    let (path, loader, running) = (path.to_owned(), loader.clone(), running.clone());
    ChildSpec::task("config", move |context: TaskContext| {
        let reach = reach.clone();
        let reload = Reload::new(&path, loader.clone(), running.clone(), reach.env.clone(), reach.problems.clone());
        async move {
            // A change is rare and an application of one short: they cannot pile up.
            let (told, mut changes) = mpsc::unbounded_channel();
            let watch = reload.run(move |reloaded| drop(told.send(reloaded)));
            let apply = async {
                while let Some(reloaded) = changes.recv().await {
                    apply(&reach, &reloaded).await;
                }
            };
            tokio::select! {
                biased;
                () = context.stop.stopped() => {}
                () = watch => {}
                () = apply => {}
            }
            Ok(())
        }
    })
}

async fn apply(reach: &Reach, reloaded: &Reloaded) {
    let (config, changes) = (&reloaded.config, &reloaded.changes);
    if changes.touch("log.level")
        && let Err(reason) = reach.log.set(&config.log.level)
    {
        tracing::warn!(reason, "the new log level is not in force");
    }
    if changes.touch("watches") {
        reach.watches.reconfigure(&config.watches, &reach.problems).await;
    }
}
