//! A changed config, applied while we run. What cannot be is reported by `config::reload`, and waits for the next start.
//!
//! Law: a step that fails is reported and leaves the others alone; what was published stays until there is better.

use std::path::Path;
use std::sync::Arc;

use tidegate_actors::supervisor::{ChildSpec, Restart, TaskContext};
use tokio::sync::mpsc;

use super::configured::{clients, settings};
use super::{App, Hooks, publishers};
use crate::builder::Tidegate;
use crate::config::reload::{Reload, Reloaded};
use crate::config::{Config, Loader};

impl App {
    /// Follows a config file for as long as somebody polls this.
    ///
    /// # Errors
    /// When the watching actor cannot be started.
    pub async fn follow(
        &self,
        tidegate: &Tidegate,
        config: &Arc<Config>,
        path: &Path,
        loader: &Loader,
        hooks: &Hooks,
    ) -> anyhow::Result<()> {
        let (sender, mut changes) = mpsc::unbounded_channel();
        self.add(watcher(self, config, path, loader, sender)).await?;
        let mut running = config.clone();
        while let Some(reloaded) = changes.recv().await {
            self.reconfigure(tidegate, &running, &reloaded, hooks).await;
            running = reloaded.config;
        }
        Ok(())
    }

    async fn reconfigure(&self, tidegate: &Tidegate, old: &Config, reloaded: &Reloaded, hooks: &Hooks) {
        let (new, changes) = (&reloaded.config, &reloaded.changes);
        if changes.touch("log.level")
            && let Err(reason) = hooks.log.set(&new.log.level)
        {
            tracing::error!(reason, "the new log level is not in force");
        }
        if changes.touch("watches") {
            self.watches.reconfigure(&new.watches, &self.problems).await;
        }
        if changes.touch("publish.json") {
            report("publish.json", self.replace_json(new).await);
        }
        if changes.touch("xds.clients") {
            report("xds.clients", clients(new).map(|clients| self.xds.set_clients(clients)));
        }
        let wanted = settings(new);
        if changes.touch("sources") || *self.settings.read() != wanted {
            // While the correlation is down nothing is published, so nothing half changed is. Started again, it
            // builds its graph anew behind its gate, and publishers get one full step.
            report("gateway", self.supervisor.pause("gateway").await.map_err(Into::into));
            self.change_sources(tidegate, old, new).await;
            self.correlation.close_gate();
            *self.settings.write() = wanted;
            report("gateway", self.supervisor.resume("gateway").await.map_err(Into::into));
        }
    }

    async fn replace_json(&self, config: &Config) -> anyhow::Result<()> {
        self.supervisor.remove("json").await?;
        self.add(publishers::json(config, self)).await
    }

    async fn change_sources(&self, tidegate: &Tidegate, old: &Config, new: &Config) {
        let gone = old.sources.iter().filter(|source| !new.sources.contains(source));
        for source in gone {
            tracing::info!(source = source.name, "source removed");
            report(&source.name, self.remove_source(&source.name).await);
        }
        let fresh = new.sources.iter().filter(|source| !old.sources.contains(source));
        for source in fresh {
            tracing::info!(source = source.name, kind = source.kind, "source added");
            report(&source.name, self.add_source(tidegate, new, source).await);
        }
        // It waits for the types that there were when it was started.
        report("gate", self.supervisor.restart("gate").await.map_err(Into::into));
    }
}

fn report(what: &str, done: anyhow::Result<()>) {
    if let Err(error) = done {
        tracing::error!(what, error = format!("{error:#}"), "a part of the new config is not in force");
    }
}

/// The actor that looks at the config file.
fn watcher(
    app: &App,
    config: &Arc<Config>,
    path: &Path,
    loader: &Loader,
    changes: mpsc::UnboundedSender<Reloaded>,
) -> ChildSpec {
    let (path, loader, config) = (path.to_owned(), loader.clone(), config.clone());
    let (env, problems) = (app.env.clone(), app.problems.clone());
    ChildSpec::task("config", move |context: TaskContext| {
        let reload = Reload::new(&path, loader.clone(), config.clone(), env.clone(), problems.clone());
        let changes = changes.clone();
        async move {
            let run = reload.run(move |reloaded| {
                // It fails only when the service is ending.
                let _ = changes.send(reloaded);
            });
            tokio::select! {
                biased;
                () = context.stop.stopped() => {}
                () = run => {}
            }
            Ok(())
        }
    })
    .restart(Restart::Permanent)
}
