//! `lint`: formatting, lints, and what the dependencies are and come from.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cluster;
use crate::run::{cargo, output, root, run, title};

/// The version of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// Runs every check.
pub fn lint(require_advisories: bool) -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    // All features but that of libFuzzer, which is C++: who looks for lints needs no compiler for it.
    let features = ["--features", "tidegate/fuzzing,tidegate-actors/fuzzing,tidegate-actors/testing"];
    run(cargo(&["clippy", "--workspace", "--all-targets"]).args(features).args(["--", "-D", "warnings"]))?;
    go_format()?;
    let deny = cargo_deny()?;
    run(Command::new(&deny).args(["--all-features", "check", "bans", "licenses", "sources"]).current_dir(root()))?;
    advisories(&deny, require_advisories)
}

/// The parts that are written in Go.
fn go_format() -> Result<()> {
    title("gofmt -l tests/cluster tests/chart");
    let gofmt = cluster::gofmt()?;
    let formatted = Command::new(&gofmt).args(["-l", "tests/cluster", "tests/chart"]).current_dir(root()).output();
    let formatted = formatted.with_context(|| format!("could not start {}", gofmt.display()))?;
    let said = [formatted.stdout, formatted.stderr].concat();
    if !said.is_empty() {
        bail!("not formatted, run `gofmt -w tests/cluster tests/chart`:\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// Known vulnerabilities need a database that lies elsewhere than the crates. That it cannot be had is said, and is
/// an error only for who wants it to be: not being able to reach it says nothing about the code.
fn advisories(deny: &PathBuf, required: bool) -> Result<()> {
    title("cargo-deny fetch db");
    let fetched = Command::new(deny).args(["fetch", "db"]).current_dir(root()).output();
    let fetched = fetched.context("could not start cargo-deny")?;
    if fetched.status.success() {
        return run(Command::new(deny)
            .args(["--all-features", "check", "--disable-fetch", "advisories"])
            .current_dir(root()));
    }
    let said = String::from_utf8_lossy(&fetched.stderr);
    let reason = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gave no reason");
    if required {
        bail!("the advisory database cannot be fetched: {reason}");
    }
    println!("ADVISORIES NOT CHECKED: their database cannot be fetched from here ({reason})");
    Ok(())
}

/// cargo-deny in its pinned version: from our tools, or built into them now.
fn cargo_deny() -> Result<PathBuf> {
    let tools = tools()?;
    let path = tools.join("bin/cargo-deny");
    let wanted = format!("cargo-deny {CARGO_DENY}");
    if output(Command::new(&path).arg("--version")).as_deref() == Some(&wanted) {
        return Ok(path);
    }
    let mut install = cargo(&["install", "--locked", "--force", "--version", CARGO_DENY, "cargo-deny", "--root"]);
    // Its build has nothing to do with ours, and would only fill our target directory.
    install.arg(&tools).env_remove("CARGO_TARGET_DIR");
    run(&mut install).context("cargo-deny could not be installed")?;
    Ok(path)
}

/// Where developer tools are kept: `$TIDEGATE_TOOLS`, else in the user's cache.
fn tools() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    variable("TIDEGATE_TOOLS")
        .or_else(|| cache().map(|cache| cache.join("tidegate-ci/tools")))
        .context("nowhere to keep cargo-deny: set TIDEGATE_TOOLS to a writable directory")
}
