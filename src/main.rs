//! The program: what Tidegate brings along, and the command line.

use std::process::ExitCode;

use tidegate::builder::Tidegate;

/// musl's own makes a warm start take twice as long as the C library's of other systems.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Tidegate::builder().main()
}
