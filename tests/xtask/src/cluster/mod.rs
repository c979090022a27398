//! `cluster`: the program that runs a real Kubernetes for the tests, made of `tests/cluster` with Go; and `chart`, the one
//! that renders a Helm chart, made of `tests/chart`. Each is built once and kept in the cache under a name that is the
//! hash of all that it is made of.
//!
//! Laws: nothing half-built is ever at its final place; two runs at once build once; what is not used for long is
//! removed.

mod build;
mod toolchain;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use self::toolchain::Toolchain;
use crate::locate::LocateOptions;
use crate::run::{root, shown, title};

/// A program of the tests' own that is written in Go.
struct Program {
    /// What it is to people.
    what: &'static str,
    /// Its file, in its folder of the cache.
    file: &'static str,
    /// That folder, and that of its sources below `tests`.
    folder: &'static str,
    /// Names a built one.
    variable: &'static str,
    /// Builds it into a folder.
    build: fn(&build::Go<'_>, &Path) -> Result<()>,
}

/// Kubernetes itself.
const CLUSTER: Program = Program {
    what: "cluster program",
    file: "tidegate-cluster",
    folder: "cluster",
    variable: "TIDEGATE_CLUSTER",
    // Beside it the benchmark's client-go peer, a program of its own so that its memory is its own.
    build: |go, folder| go.build_cluster(folder, "tidegate-cluster", "tidegate-informer"),
};

/// Helm's engine.
const CHART: Program = Program {
    what: "chart program",
    file: "tidegate-chart",
    folder: "chart",
    variable: "TIDEGATE_CHART",
    build: |go, folder| go.build_chart(folder, "tidegate-chart"),
};

/// How many builds stay in the cache: worktrees at different commits take turns.
const KEPT: usize = 3;

/// Goes into the hash: change it when the way of building changes.
const RECIPE: &str = "1";

/// Finds or builds Kubernetes and returns the program's path.
pub fn find() -> Result<PathBuf> {
    CLUSTER.find()
}

impl Program {
    /// Finds or builds it and returns its path.
    fn find(&self) -> Result<PathBuf> {
        let Self { what, file, variable, .. } = self;
        let options = LocateOptions::from_environment(None);
        if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
            let named = PathBuf::from(named);
            if !named.is_file() {
                bail!("{variable} names {}, which is no file: correct it, or remove it to build one", named.display());
            }
            eprintln!("{what} at {} ({variable})", named.display());
            return Ok(named);
        }
        let cache =
            options.cache.with_context(|| format!("nowhere to keep the {what}: set TIDEGATE_CACHE to a directory"))?;
        let folder = cache.join(self.folder);
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;

        let source = root().join("tests").join(self.folder);
        let toolchain = toolchain(&source, &cache)?;
        let go = build::Go::new(&source, &toolchain);
        let place = folder.join(key(&source, &toolchain.version)?);
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).with_context(|| format!("could not create {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("could not lock {}", lock_path.display()))?;
        // Whoever held the lock meanwhile was building the same thing.
        if !place.join(file).is_file() {
            let staging = folder.join("staging");
            remove(&staging)?;
            (self.build)(&go, &staging)?;
            remove(&place)?;
            fs::rename(&staging, &place).with_context(|| format!("could not rename {}", staging.display()))?;
        }
        fs::write(place.join("used"), "").with_context(|| format!("could not note that the {what} is in use"))?;
        prune(&folder, KEPT)?;
        let program = place.join(file);
        eprintln!("{what} at {}", program.display());
        Ok(program)
    }
}

/// Prints a program's path, or runs it with arguments.
fn run(program: &Path, arguments: &[String]) -> Result<()> {
    if arguments.is_empty() {
        println!("{}", program.display());
        return Ok(());
    }
    let mut command = Command::new(program);
    command.args(arguments);
    let status = command.status().with_context(|| format!("could not start {}", shown(&command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(&command));
    }
    Ok(())
}

/// The Go that builds the module in a folder.
fn toolchain(source: &Path, cache: &Path) -> Result<Toolchain> {
    let module = source.join("go.mod");
    let text = fs::read_to_string(&module).with_context(|| format!("could not read {}", module.display()))?;
    Toolchain::find(&text, cache)
}

/// The `gofmt` of the Go that builds Kubernetes.
pub fn gofmt() -> Result<PathBuf> {
    let cache = LocateOptions::from_environment(None).cache.context("there is no cache: set TIDEGATE_CACHE")?;
    Ok(toolchain(&root().join("tests").join(CLUSTER.folder), &cache)?.gofmt())
}

/// The programs for tests, each with the variable that names it. Who runs a selection may need none: then that there is
/// none is only said, and what needs it fails and says so too.
pub fn find_for(selection: &[String]) -> Result<Vec<(&'static str, PathBuf)>> {
    title("Kubernetes and Helm");
    let mut found = Vec::new();
    for program in [CLUSTER, CHART] {
        match program.find() {
            Ok(path) => found.push((program.variable, path)),
            Err(error) if !selection.is_empty() => {
                eprintln!("no {}, what needs it will fail: {error:#}", program.what);
            }
            Err(error) => return Err(error).with_context(|| format!("the {} is needed", program.what)),
        }
    }
    Ok(found)
}

/// The command: builds, and prints the path or runs the program with arguments.
pub fn cluster(arguments: &[String]) -> Result<()> {
    run(&find()?, arguments)
}

/// The same for Helm's engine.
pub fn chart(arguments: &[String]) -> Result<()> {
    run(&CHART.find()?, arguments)
}

/// The hash of the sources, of which Go builds them, and of how.
fn key(source: &Path, go: &str) -> Result<String> {
    let mut files = Vec::new();
    collect(source, &mut files).with_context(|| format!("could not list {}", source.display()))?;
    files.sort();
    let mut hasher = Sha256::new();
    hasher.update(format!("{RECIPE}\n{go}\n"));
    for file in files {
        let text = fs::read(&file).with_context(|| format!("could not read {}", file.display()))?;
        let name = file.strip_prefix(source).unwrap_or(&file);
        hasher.update(format!("{} {}\n", name.display(), text.len()));
        hasher.update(text);
    }
    Ok(hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What Go reads: its files, and the modules' versions and hashes.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| ["go", "mod", "sum"].iter().any(|kind| extension == *kind)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Removes all builds but the last used ones.
fn prune(folder: &Path, kept: usize) -> Result<()> {
    let mut builds: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?.flatten() {
        let used = fs::metadata(entry.path().join("used")).and_then(|metadata| metadata.modified());
        // What was never used is no build of ours.
        builds.extend(used.ok().map(|used| (used, entry.path())));
    }
    builds.sort();
    let spare = builds.len().saturating_sub(kept);
    builds.drain(..spare).try_for_each(|(_, build)| remove(&build))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_source(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_key_changes_with_whatever_go_reads_and_with_nothing_else() {
        let files = [("go.sum", "a"), ("main.go", "b"), ("informer/main.go", "c")];
        let first = key(mk_source(&files).path(), "go1.26.8").unwrap();

        let more = [&files[..], &[("pin.sh", "d")]].concat();
        assert_eq!(key(mk_source(&more).path(), "go1.26.8").unwrap(), first);
        assert_ne!(key(mk_source(&files).path(), "go1.26.9").unwrap(), first);
        for at in 0..files.len() {
            let mut changed = files;
            changed[at].1 = "x";
            assert_ne!(key(mk_source(&changed).path(), "go1.26.8").unwrap(), first, "{}", changed[at].0);
        }
    }

    #[test]
    fn the_builds_that_were_used_last_stay_and_other_files_too() {
        let cache = mk_source(&[("old/used", ""), ("middle/used", ""), ("new/used", ""), ("lock", "")]);
        let at = |name: &str, seconds| {
            let used = File::options().write(true).open(cache.path().join(name).join("used")).unwrap();
            used.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        at("new", 3_000);
        at("middle", 2_000);
        at("old", 1_000);

        prune(cache.path(), 2).unwrap();

        let mut left: Vec<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["lock", "middle", "new"]);
    }
}
