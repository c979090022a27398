//! The command line: one file a subcommand.

/// The admin API, asked.
pub mod client;

/// stub
pub fn main(_tidegate: crate::builder::Tidegate) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
