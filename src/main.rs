//! Arguments, then configuration, then run.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::Cli;

fn main() -> ExitCode {
    // Usage errors, --help and --version end here, with exit codes 2 and 0.
    let cli = Cli::parse();
    let mut out = std::io::stdout();
    let ended = cli.execute(&mut out).and_then(|exit| {
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
