//! A whole run: start, find a proxy, wait for a reason to end, end in order.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidegate_actors::env::Env;
use tidegate_actors::supervisor::{Exit, State};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::{App, Hooks, RunOptions, wants_proxy};
use crate::builder::Tidegate;
use crate::config::{Config, Directory};
use crate::demo;
use crate::proxy::bootstrap::AdminAddress;
use crate::proxy::envoy_admin::{EnvoyAdmin, EnvoyState};
use crate::proxy::locate::{self, LocateOptions};

/// Signals that come closer together than this are one.
const ONE_SIGNAL: Duration = Duration::from_millis(250);

/// Runs until a signal says to end, or the tree fails.
///
/// # Errors
/// When it cannot start, or a core actor keeps failing.
pub fn run(tidegate: &Tidegate, config: Config, options: RunOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let ended = runtime.block_on(serve(tidegate, Arc::new(config), options));
    // What still blocks a thread (a fetch, a look at a dead file system) must not hold the process up.
    runtime.shutdown_background();
    ended
}

async fn serve(tidegate: &Tidegate, config: Arc<Config>, options: RunOptions) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let metrics = crate::admin::metrics::install().context("collect metrics")?;
    let hooks = Hooks { metrics: Some(metrics), log: Arc::new(options.log.clone()) };
    let app = App::start(tidegate, &config, &hooks, Env::system()).await?;
    tracing::info!(admin = %app.admin, xds = ?app.xds_address, socket = %app.xds_socket.display(), "started");
    let work = async {
        if options.demo {
            for backend in demo::backends(&app.factory).await {
                app.add(backend).await?;
            }
        }
        let proxy = match wants_proxy(&config) {
            Some(required) => add_proxy(&app, &config, &options, required).await?,
            None => false,
        };
        app.xds.ready().await;
        if options.demo {
            announce(&app, &config, proxy).await?;
        }
        app.follow(tidegate, &config, &options.config_path, &options.loader, &hooks).await
    };
    let ended = tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        exit = app.supervisor.ended() => ended(&exit),
        failed = work => failed,
    };
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        biased;
        () = again(&mut interrupt, &mut terminate) => {
            // It was being drained: left behind, it would hold its ports and be of no use to the next start.
            if let Some(pid) = app.kill_proxy()? {
                tracing::warn!(pid, "Envoy killed");
            }
            bail!("ended by a second signal, before everything had stopped")
        }
        () = app.supervisor.shutdown(*config.shutdown_timeout) => {}
    }
    tracing::info!("stopped");
    ended
}

/// Waits for one more signal that was meant as such. Who signals us and then our process group, as `timeout` and
/// some shells do, says one thing twice.
async fn again(interrupt: &mut Signal, terminate: &mut Signal) {
    let first = Instant::now();
    while first.elapsed() < ONE_SIGNAL {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

fn ended(exit: &Exit) -> anyhow::Result<()> {
    match exit {
        Exit::Stopped => Ok(()),
        failed => bail!("{failed}"),
    }
}

async fn add_proxy(app: &App, config: &Config, options: &RunOptions, required: bool) -> anyhow::Result<bool> {
    let named = options.envoy.clone().or_else(|| config.proxy.path.clone());
    // It may have to be fetched, which takes a while and draws a progress bar.
    let found = tokio::task::spawn_blocking(move || locate::locate(&LocateOptions::from_environment(named))).await?;
    match found {
        Ok(found) => app.add_proxy(config, found.path).await.map(|()| true),
        Err(error) if required => Err(error).context("`proxy.managed` is true, but there is no Envoy"),
        Err(error) => {
            let (address, socket) = (app.xds_address, app.xds_socket.display());
            tracing::warn!(%error, ?address, %socket, "no Envoy: xDS is served for any that `tidegate bootstrap` starts");
            Ok(false)
        }
    }
}

/// Prints what to try once the local Envoy has its first configuration, or at once if there is none.
async fn announce(app: &App, config: &Config, proxy: bool) -> anyhow::Result<()> {
    // It is asked itself: in the tree it is running for a moment before it has said anything.
    let envoy = EnvoyAdmin::new(AdminAddress::Tcp(config.proxy.admin_address));
    let answers = async || {
        let runs = app.supervisor.tree().find("envoy").is_some_and(|envoy| envoy.state == State::Running);
        runs && app.model.get().version > 0 && matches!(envoy.state().await, Ok(EnvoyState::Live))
    };
    let mut told = None;
    while proxy && !answers().await {
        // Why it takes long, once for each reason.
        let failed = app.supervisor.tree().find("envoy").and_then(|envoy| envoy.last_error.clone());
        if let Some(reason) = failed.filter(|reason| told.as_ref() != Some(reason)) {
            writeln!(std::io::stdout(), "Not yet: {reason}").context("print why it takes long")?;
            told = Some(reason);
        }
        app.env.clock.sleep(Duration::from_millis(20)).await;
    }
    let folder = config.sources.first().and_then(|source| source.section::<Directory>());
    let routes = folder.map(|folder| folder.path.join("routes.yaml")).unwrap_or_default();
    // Standard output is the demo's own; what is logged goes to standard error.
    writeln!(std::io::stdout(), "{}", demo::announcement(app, proxy, &routes)).context("print what to try")
}
