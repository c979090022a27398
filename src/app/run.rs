//! A whole run: start, find a proxy, wait for a reason to end, end in order.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tidegate_actors::env::Env;
use tidegate_actors::supervisor::Exit;
use tokio::signal::unix::{SignalKind, signal};

use super::{App, RunOptions, wants_proxy};
use crate::builder::Tidegate;
use crate::config::Config;
use crate::proxy::locate::{self, LocateOptions};

/// Runs until a signal says to end, or the tree fails.
///
/// # Errors
/// When it cannot start, or a core actor keeps failing.
pub async fn run(tidegate: &Tidegate, config: Arc<Config>, options: RunOptions) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let app = App::start(tidegate, &config, &options, Env::system()).await?;
    tracing::info!(admin = %app.admin, xds = ?app.xds_address, socket = %app.xds_socket.display(), "started");
    let serve = async {
        if let Some(required) = wants_proxy(&config) {
            add_proxy(&app, &config, &options, required).await?;
        }
        if options.demo {
            crate::demo::announce(&app, &config).await;
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    let ended = tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        exit = app.supervisor.ended() => ended(&exit),
        failed = serve => failed,
    };
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("ended by a second signal, before everything had stopped"),
        _ = terminate.recv() => bail!("ended by a second signal, before everything had stopped"),
        () = app.supervisor.shutdown(*config.shutdown_timeout) => {}
    }
    tracing::info!("stopped");
    ended
}

fn ended(exit: &Exit) -> anyhow::Result<()> {
    match exit {
        Exit::Stopped => Ok(()),
        failed => bail!("{failed}"),
    }
}

async fn add_proxy(app: &App, config: &Config, options: &RunOptions, required: bool) -> anyhow::Result<()> {
    let named = options.envoy.clone().or_else(|| config.proxy.path.clone());
    // It may have to be fetched, which takes a while and draws a progress bar.
    let found = tokio::task::spawn_blocking(move || locate::locate(&LocateOptions::from_environment(named))).await?;
    match found {
        Ok(found) => app.add_proxy(config, found.path).await,
        Err(error) if required => Err(error).context("`proxy.managed` is true, but there is no Envoy"),
        Err(error) => {
            let (address, socket) = (app.xds_address, app.xds_socket.display());
            tracing::warn!(%error, ?address, %socket, "no Envoy: xDS is served for any that `tidegate bootstrap` starts");
            Ok(())
        }
    }
}
