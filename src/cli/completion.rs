//! `tidegate completion`: a completion script for a shell.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::error::{CliError, Exit};
use super::{command, program};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    pub(super) fn execute(self, out: &mut impl Write) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), program(), &mut script);
        out.write_all(&script)?;
        Ok(Exit::Ok)
    }
}
