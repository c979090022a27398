//! `tidegate validate`: everything that is wrong with config files and manifests, one line a problem.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Global;
use super::error::{CliError, Exit};
use super::output::{Format, document};
use crate::app;
use crate::builder::Tidegate;
use crate::config::{BackendRange, Loader};

/// Check config files and manifests.
#[derive(Debug, Args)]
pub struct Validate {
    /// Config files, manifests, or directories of manifests.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    /// Addresses that endpoints may have although they lead to the proxy's own machine or network segment, as
    /// `gateway.allow_backends` of a config allows them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RANGE")]
    allow_backends: Vec<BackendRange>,
}

/// One problem, wherever it was found.
#[derive(Serialize)]
struct Found {
    place: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    reason: String,
}

impl Validate {
    pub(super) fn execute(
        self,
        global: &Global,
        tidegate: &Tidegate,
        loader: &Loader,
        out: &mut impl Write,
    ) -> Result<Exit, CliError> {
        let mut found = Vec::new();
        for path in &self.paths {
            if !path.exists() {
                return Err(CliError::Usage(format!("there is no file or directory {}", path.display())));
            }
            if is_config(path) {
                if let Err(errors) = loader.load(path) {
                    let problems = errors.problems.into_iter();
                    found.extend(problems.map(|p| Found { place: p.place, field: p.key, reason: p.reason }));
                }
            } else {
                let problems = app::check(tidegate, path, &self.allow_backends);
                let problems = problems.map_err(|error| CliError::App(error.into()))?.into_iter();
                found.extend(problems.map(|p| match p.object {
                    Some(object) if p.place.is_empty() => {
                        Found { place: object.to_string(), field: p.field, reason: p.reason }
                    }
                    Some(object) => Found { place: p.place, field: p.field, reason: format!("{object}: {}", p.reason) },
                    None => Found { place: p.place, field: p.field, reason: p.reason },
                }));
            }
        }
        match global.output {
            Some(format @ (Format::Json | Format::Yaml)) => document(out, &found, format)?,
            _ => {
                for problem in &found {
                    let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
                    writeln!(out, "{}: {field}{}", problem.place, problem.reason)?;
                }
            }
        }
        Ok(if found.is_empty() { Exit::Ok } else { Exit::Problems })
    }
}

/// A config has sections at the top, a manifest says what it is. This goes by lines, so that a file that does
/// not parse is refused by whoever it was meant for.
fn is_config(path: &Path) -> bool {
    if path.is_dir() {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    if text.trim_start().starts_with(['{', '[']) {
        return !text.contains("\"apiVersion\"");
    }
    // Only at the top: the `kind` of a source is indented, or in a list.
    !text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}
