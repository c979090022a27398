//! The program: what Tidegate brings along, and the command line.

use std::process::ExitCode;

use tidegate::builder::Tidegate;

fn main() -> ExitCode {
    Tidegate::builder().main()
}
