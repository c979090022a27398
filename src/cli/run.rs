//! `tidegate run`: config, log, then the application.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Exit};
use super::{Global, logging};
use crate::app::{self, RunOptions};
use crate::builder::Tidegate;
use crate::config::Loader;

/// Run the service.
#[derive(Debug, Args)]
pub struct Run {
    /// The config file.
    #[arg(short, long, env = "TIDEGATE_CONFIG", default_value = "tidegate.yaml", value_name = "FILE")]
    config: PathBuf,

    /// The Envoy to run as a child, instead of `proxy.path` in the config.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
}

impl Run {
    pub(super) fn execute(self, global: &Global, tidegate: &Tidegate, loader: Loader) -> Result<Exit, CliError> {
        start(global, tidegate, loader, self.config, self.envoy, false)
    }
}

/// What `run` and `demo` share. Returns when the service has ended.
pub(super) fn start(
    global: &Global,
    tidegate: &Tidegate,
    loader: Loader,
    path: PathBuf,
    envoy: Option<PathBuf>,
    demo: bool,
) -> Result<Exit, CliError> {
    let mut loader = loader;
    if let Some(level) = &global.log_level {
        loader = loader.with_override("log.level", level);
    }
    if let Some(envoy) = &envoy {
        // Named from where we are, not from where the config file is. Who names an Envoy wants it run, and told
        // if it cannot be.
        let path = std::path::absolute(envoy)?.display().to_string();
        loader = loader.with_override("proxy.path", path).with_override("proxy.managed", "true");
    }
    let config = loader.load(&path)?;
    let log = logging::init(&config.log)?;
    let options = RunOptions { config_path: path, loader, log, envoy, demo };
    app::run(tidegate, config, options).map_err(|error| CliError::App(error.into()))?;
    Ok(Exit::Ok)
}
