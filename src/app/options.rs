//! What a run is given beside its config.

use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::admin::state::LogLevel;

/// What a run is given beside its config.
#[derive(Clone)]
pub struct RunOptions {
    /// The config file, to be watched for changes; `None` for a config that came from nowhere.
    pub config_path: Option<PathBuf>,
    /// What `/metrics` renders; `None` collects none.
    pub metrics: Option<PrometheusHandle>,
    /// Shows and sets what is logged.
    pub log: Arc<dyn LogLevel>,
    /// An Envoy named on the command line.
    pub envoy: Option<PathBuf>,
    /// Starts the demo's backends, and prints what to try.
    pub demo: bool,
}

/// A log level that cannot be changed, for runs inside another program.
pub struct FixedLog;

impl LogLevel for FixedLog {
    fn get(&self) -> String {
        "fixed".to_owned()
    }

    fn set(&self, _level: &str) -> Result<(), String> {
        Err("this program's log level cannot be changed at run time".to_owned())
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { config_path: None, metrics: None, log: Arc::new(FixedLog), envoy: None, demo: false }
    }
}
