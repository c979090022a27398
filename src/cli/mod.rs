//! The command line: one file a subcommand.

/// The admin API, asked.
pub mod client;
