//! What a run is given beside its config, and what offline translation is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tidegate_actors::problem::Problem;

use crate::admin::state::LogLevel;
use crate::cli::logging::LogHandle;
use crate::config::Loader;

/// What a run from the command line needs to know beside its config.
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

/// What the assembly needs of the process that it runs in.
#[derive(Clone)]
pub struct Hooks {
    /// What `/metrics` renders; `None` collects none.
    pub metrics: Option<PrometheusHandle>,
    /// Shows and sets what is logged.
    pub log: Arc<dyn LogLevel>,
}

/// A log level that cannot be changed, for runs inside another program.
struct FixedLog;

impl LogLevel for FixedLog {
    fn get(&self) -> String {
        "fixed".to_owned()
    }

    fn set(&self, _level: &str) -> Result<(), String> {
        Err("this program's log level cannot be changed at run time".to_owned())
    }
}

/// No metrics, and a log level that is somebody else's.
impl Default for Hooks {
    fn default() -> Self {
        Self { metrics: None, log: Arc::new(FixedLog) }
    }
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
