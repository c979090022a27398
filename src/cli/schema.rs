//! `tidegate schema`: the JSON Schema of the config file.

use std::io::Write;

use clap::Args;

use super::Global;
use super::error::{CliError, Exit};
use super::output::{Format, document};
use crate::config::Loader;

/// Print the JSON Schema of the config file.
#[derive(Debug, Args)]
pub struct Schema {}

pub(super) fn execute(global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
    let format = global.document(Format::Json, "schema")?;
    document(out, &loader.schema(), format)?;
    Ok(Exit::Ok)
}
