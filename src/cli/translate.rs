//! `tidegate translate`: manifests to the model or to xDS resources, without a server.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Global;
use super::error::{CliError, Exit};
use super::output::{Format, document};
use crate::app::{self, Target};
use crate::builder::Tidegate;
use crate::config::BackendRange;

/// Translate manifests without a server.
#[derive(Debug, Args)]
pub struct Translate {
    /// A manifest or a directory of manifests.
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,

    /// What to translate them to.
    #[arg(long, value_enum, default_value = "model")]
    to: Target,

    /// Addresses that endpoints may have although they lead to the proxy's own machine or network segment, as
    /// `gateway.allow_backends` of a config allows them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "RANGE")]
    allow_backends: Vec<BackendRange>,
}

impl Translate {
    pub(super) fn execute(self, global: &Global, tidegate: &Tidegate, out: &mut impl Write) -> Result<Exit, CliError> {
        let format = global.document(Format::Yaml, "translate")?;
        if !self.path.exists() {
            return Err(CliError::Usage(format!("there is no file or directory {}", self.path.display())));
        }
        let translation = app::translate(tidegate, &self.path, self.to, &self.allow_backends);
        let translation = translation.map_err(|error| CliError::App(error.into()))?;
        document(out, &translation.output, format)?;
        for problem in &translation.problems {
            // The answer is on standard output; what is wrong with the question is not part of it.
            writeln!(std::io::stderr(), "{problem}")?;
        }
        Ok(if translation.problems.is_empty() { Exit::Ok } else { Exit::Problems })
    }
}
