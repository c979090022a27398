//! Calling Go: which one, with what environment, and what it says while it works.
//!
//! Law: of the user's own Go settings only those count that say where modules come from and where caches are.

use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::toolchain::Toolchain;

/// The module whose files the program needs beside itself.
const GATEWAY_API: &str = "sigs.k8s.io/gateway-api";

/// Builds the module in `source`.
pub struct Go<'a> {
    source: PathBuf,
    toolchain: &'a Toolchain,
}

impl<'a> Go<'a> {
    /// With this Go.
    pub fn new(source: &Path, toolchain: &'a Toolchain) -> Self {
        Self { source: source.to_owned(), toolchain }
    }

    /// Builds what renders charts into a folder.
    pub fn build_chart(&self, folder: &Path, program: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let begun = Instant::now();
        eprintln!(
            "building {program} with {} (1 to 3 minutes the first time, kept after that)",
            self.toolchain.version
        );
        let packages = self.ask(&["list", "-deps", "."])?.lines().count() as u64;
        self.compile(&["-ldflags", "-s -w", "-o"], &folder.join(program), ".", packages)?;
        eprintln!("built {program} in {:.0} s", begun.elapsed().as_secs_f32());
        Ok(())
    }

    /// Builds Kubernetes and its informer into a folder, with the files that they need.
    pub fn build_cluster(&self, folder: &Path, program: &str, informer: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let begun = Instant::now();
        eprintln!(
            "building {program} with {} (10 to 20 minutes the first time, kept after that)",
            self.toolchain.version
        );
        let kubernetes = self.ask(&["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"])?;
        let [major, minor] = match kubernetes.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>()[..] {
            [major, minor] => [major, minor],
            _ => bail!("go.mod names Kubernetes {kubernetes}, which is no version"),
        };
        // Without these it would call itself v0.0.0.
        let version = "k8s.io/component-base/version";
        let link = format!(
            "-s -w -X {version}.gitVersion={kubernetes} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
        );
        let packages = self.ask(&["list", "-deps", "."])?.lines().count() as u64;
        self.compile(&["-ldflags", &link, "-o"], &folder.join(program), ".", packages)?;
        self.compile(&["-ldflags", "-s -w", "-o"], &folder.join(informer), "./informer", 0)?;

        // `-m` with a directory needs the module's files: the build has brought them.
        let module = self.ask(&["list", "-m", "-f", "{{.Dir}}", GATEWAY_API])?;
        let definitions = Path::new(&module).join("config/crd/experimental");
        copy_yaml(&definitions, &folder.join("crds"))
            .with_context(|| format!("could not copy the definitions in {}", definitions.display()))?;
        eprintln!("built {program} with Kubernetes {kubernetes} in {:.0} s", begun.elapsed().as_secs_f32());
        Ok(())
    }

    fn command(&self, nice: bool) -> Command {
        let go = &self.toolchain.go;
        let mut command = if nice { Command::new("nice") } else { Command::new(go) };
        if nice {
            command.args(["-n", "10"]).arg(go);
        }
        command
            .current_dir(&self.source)
            // No C compiler, no other Go than the one that the cache's key names, no workspace above us, and go.mod as it is.
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly")
            .stdin(Stdio::null());
        command
    }

    /// The answer of a short question.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(false).args(arguments).output().context("could not start go")?;
        if !output.status.success() {
            bail!("go {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// `go build`, whose every line is either a package that is about to be compiled or something to be seen.
    fn compile(&self, arguments: &[&str], to: &Path, package: &str, packages: u64) -> Result<()> {
        let mut command = self.command(true);
        // Debug information would double the time and the cache.
        command.args(["build", "-v", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"]);
        command.args(arguments).arg(to).arg(package).stderr(Stdio::piped());
        let mut child = command.spawn().context("could not start `nice go build`")?;
        let mut progress = Progress::start(packages);
        let mut said = Vec::new();
        if let Some(output) = child.stderr.take() {
            for line in BufReader::new(output).lines() {
                let line = line.context("could not read what go says")?;
                if line.contains(' ') { said.push(line) } else { progress.compiled() }
            }
        }
        let status = child.wait().context("could not wait for go")?;
        progress.finish();
        if !status.success() {
            let from = said.len().saturating_sub(30);
            bail!("go build {package} failed with {status}:\n{}", said[from..].join("\n"));
        }
        Ok(())
    }
}

fn copy_yaml(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == "yaml")) {
            // Written, not copied: the module cache's files are read-only, and the next build removes ours.
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// A bar on a terminal; elsewhere a line a minute.
struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    begun: Instant,
    told: Instant,
}

impl Progress {
    fn start(total: u64) -> Self {
        let now = Instant::now();
        let bar = (total > 0 && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} packages {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message("go build");
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { bar, total, done: 0, begun: now, told: now }
    }

    fn compiled(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.total > 0 && self.told.elapsed() > Duration::from_secs(60) => {
                self.told = Instant::now();
                let minutes = self.begun.elapsed().as_secs() / 60;
                eprintln!("go build: {} packages compiled of at most {}, {minutes} min", self.done, self.total);
            }
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
