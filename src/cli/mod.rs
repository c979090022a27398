//! The command line: one file a subcommand, with its arguments and what it does.
//!
//! Laws: standard output holds the answer and nothing else, standard error the rest; exit codes are
//! 0 all is well, 1 problems were found, 2 called the wrong way, 3 failed.

/// The admin API of a running Tidegate, asked.
pub mod client;

/// Log lines, and their level.
pub mod logging;

/// Tables, JSON, YAML.
pub mod output;

mod actors;

mod bootstrap;

mod chaos;

mod completion;

mod demo;

mod error;

mod remote;

mod run;

mod schema;

mod status;

mod translate;

mod validate;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use error::{CliError, Exit};
use output::Format;

use crate::builder::Tidegate;
use crate::config::{Loader, check_level};

/// A gateway control plane on a dynamic multi-resource informer built of supervised actors.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "Exit codes: 0 all is well, 1 problems were found, 2 called the wrong way, 3 failed.\n\
                        Environment: TIDEGATE__SECTION__KEY=value overrides a key of the config file.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    global: Global,
}

/// Arguments that every command takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How to print the answer.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    /// What to log, instead of `log.level` in the config: a level or directives such as info,tidegate=debug.
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level)]
    log_level: Option<String>,
}

fn level(text: &str) -> Result<String, String> {
    check_level(text).map(|()| text.to_owned())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Run(run::Run),
    /// Run a gateway that answers, with everything it needs: two backends, Envoy, manifests to edit.
    Demo(demo::Demo),
    /// Check config files and manifests; print `file:line: reason` for each problem.
    Validate(validate::Validate),
    /// Translate manifests without a server.
    Translate(translate::Translate),
    /// Print an Envoy bootstrap for this Tidegate.
    Bootstrap(bootstrap::Bootstrap),
    /// Ask a running Tidegate how it is.
    Status(status::Status),
    /// Look at the actors of a running Tidegate, restart, pause or resume one.
    Actors(actors::Actors),
    /// Attack a running Tidegate that is not in production, and see how it bears it.
    Chaos(chaos::Chaos),
    /// Print the JSON Schema of the config file.
    Schema(schema::Schema),
    /// Print a completion script for a shell.
    Completion(completion::Completion),
}

/// The whole life of a process: what `main` returns. Usage errors, `--help` and `--version` end it, with exit
/// codes 2 and 0.
pub fn main(tidegate: &Tidegate) -> ExitCode {
    let parsed = command().try_get_matches().and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = parsed.unwrap_or_else(|error| error.exit());
    let mut out = std::io::stdout();
    let ended = cli.execute(tidegate, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    let exit = ended.unwrap_or_else(|error| {
        if let Some(report) = error.report() {
            // Nothing is left to be done when standard error is gone as well.
            let _ = writeln!(std::io::stderr(), "{report}");
        }
        error.exit()
    });
    ExitCode::from(exit as u8)
}

/// What this binary was run as: another one than ours has another name.
fn program() -> String {
    let run_as = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&run_as).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "tidegate".to_owned())
}

/// The command line under the name of this binary.
fn command() -> clap::Command {
    Cli::command().bin_name(program()).display_name(program())
}

impl Cli {
    /// Does it, with what this binary brings along.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn execute(self, tidegate: &Tidegate, out: &mut impl Write) -> Result<Exit, CliError> {
        let loader = Loader::new(tidegate.registry.clone()).with_env(environment());
        let global = self.global;
        match self.command {
            Command::Run(run) => run.execute(&global, tidegate, loader),
            Command::Demo(demo) => demo.execute(&global, tidegate, loader),
            Command::Validate(validate) => validate.execute(&global, tidegate, &loader, out),
            Command::Translate(translate) => translate.execute(&global, tidegate, out),
            Command::Bootstrap(bootstrap) => bootstrap.execute(&global, &loader, out),
            Command::Status(status) => status.execute(&global, &loader, out),
            Command::Actors(actors) => actors.execute(&global, &loader, out),
            Command::Chaos(chaos) => chaos.execute(&global, &loader, out),
            Command::Schema(_) => schema::execute(&global, &loader, out),
            Command::Completion(completion) => completion.execute(out),
        }
    }
}

/// The process's environment; `vars` itself would panic at a variable that is not Unicode.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Global {
    /// The format for a command that prints JSON or YAML only.
    fn document(&self, default: Format, command: &str) -> Result<Format, CliError> {
        match self.output.unwrap_or(default) {
            Format::Table => Err(CliError::Usage(format!("{command} prints no table; use -o json or -o yaml"))),
            format => Ok(format),
        }
    }
}
