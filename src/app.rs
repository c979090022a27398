//! The actor tree, assembled in one readable place. This file only holds the functions that the command line
//! calls until the assembly is written.

use std::path::{Path, PathBuf};

use tidegate_actors::problem::Problem;

use crate::cli::logging::LogHandle;
use crate::config::{Config, Loader};

/// What a run needs to know beside its config.
pub struct RunOptions {
    /// The file that the config came from, watched for changes.
    pub config_path: PathBuf,
    /// How it is read again.
    pub loader: Loader,
    /// The log level, for the admin API and for reloads.
    pub log: LogHandle,
    /// The Envoy to run, if one was named.
    pub envoy: Option<PathBuf>,
    /// Whether this is the demo: echo backends, what to try, the token printed once.
    pub demo: bool,
}

/// What `translate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The gateway model.
    Model,
    /// The xDS resources.
    Xds,
}

/// A translation without a server.
pub struct Translation {
    /// What was asked for, without secret content.
    pub output: serde_json::Value,
    /// What is wrong with the manifests.
    pub problems: Vec<Problem>,
}

/// Runs until Ctrl-C, SIGTERM, or a core actor that cannot be kept running.
///
/// # Errors
/// Why it could not start or had to end.
pub fn run(_config: Config, _options: RunOptions) -> anyhow::Result<()> {
    anyhow::bail!("this build cannot run a gateway yet: the actor tree is not assembled")
}

/// What is wrong with a file or directory of manifests.
///
/// # Errors
/// When it cannot be read at all.
pub fn check(_path: &Path) -> anyhow::Result<Vec<Problem>> {
    anyhow::bail!("this build cannot check manifests yet: the translation is not connected")
}

/// Translates a file or directory of manifests.
///
/// # Errors
/// When it cannot be read at all.
pub fn translate(_path: &Path, _target: Target) -> anyhow::Result<Translation> {
    anyhow::bail!("this build cannot translate manifests yet: the translation is not connected")
}
