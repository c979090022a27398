//! Log lines to standard error, as text or JSON, with a level that can be changed while we run.

use std::io::IsTerminal as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::admin::LogLevel;
use crate::config::{Log, LogFormat, check_level};

/// Shows and sets the level. Cheap to clone.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Arc<Mutex<String>>,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("log level: {0}")]
    Level(String),
    /// The process logs already.
    #[error("start logging")]
    Taken(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the whole process.
///
/// # Errors
/// When the level is not well formed, or logging was started before.
pub fn init(log: &Log) -> Result<LogHandle, LogError> {
    let (handle, filter) = filter(&log.level)?;
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Box::new(fmt::layer().with_writer(std::io::stderr).with_ansi(colours))
        }
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Taken)?;
    Ok(handle)
}

fn filter(level: &str) -> Result<(LogHandle, reload::Layer<EnvFilter, Registry>), LogError> {
    check_level(level).map_err(LogError::Level)?;
    let parsed = EnvFilter::try_new(level).map_err(|error| LogError::Level(error.to_string()))?;
    let (layer, handle) = reload::Layer::new(parsed);
    Ok((LogHandle { filter: handle, level: Arc::new(Mutex::new(level.to_owned())) }, layer))
}

impl LogLevel for LogHandle {
    fn get(&self) -> String {
        self.level.lock().clone()
    }

    fn set(&self, level: &str) -> Result<(), String> {
        check_level(level)?;
        let parsed = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        self.filter.reload(parsed).map_err(|error| format!("the log level cannot be changed: {error}"))?;
        level.clone_into(&mut self.level.lock());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_level_changes_while_logging_goes_on_and_nonsense_changes_nothing() {
        let (handle, layer) = filter("warn").unwrap();
        let _guard = tracing_subscriber::registry().with(layer).set_default();
        assert!(!tracing::enabled!(target: "tidegate", Level::DEBUG));
        handle.set("debug").unwrap();
        assert!(tracing::enabled!(target: "tidegate", Level::DEBUG));
        assert!(handle.set("loud").is_err());
        assert!(tracing::enabled!(target: "tidegate", Level::DEBUG));
        assert_eq!(handle.get(), "debug");
    }
}
