//! `log`: what is logged, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::problem::Check;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level (error, warn, info, debug, trace) or directives such as `info,tidegate::publish=debug`.
    pub level: String,
    /// text for people, json for machines.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Log {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        if let Err(reason) = check_level(&self.level) {
            check.problem("level", reason);
        }
    }
}

/// Whether text is a level or list of directives; the reason if it is not.
pub fn check_level(level: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A single word is a level; the filter itself would take any word for the name of a module.
    let words = level.split(',').map(|d| d.rsplit('=').next().unwrap_or(d).trim());
    for word in words {
        if !LEVELS.contains(&word.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "`{word}` is not a log level{}",
                super::problem::suggestion(word, LEVELS.iter().copied())
            ));
        }
    }
    EnvFilter::try_new(level).map(drop).map_err(|error| format!("not a log filter: {error}"))
}
