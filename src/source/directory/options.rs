//! How a directory is read and watched, with defaults that fit a few thousand manifests.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_actors::id::Name;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The configured name of the source.
    pub name: Name,
    /// The directory, or a single manifest file.
    pub path: PathBuf,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// How often the directory is looked through when it is polled.
    pub poll_interval: Duration,
    /// How often it is looked through although it is watched, for what events do not tell: network file
    /// systems, lost events.
    pub rescan_interval: Duration,
    /// How long to wait after one round of changes before the next is taken up; the first is taken up at once.
    pub coalesce: Duration,
    /// How long a file must stay as it is before an unfinished look of it (empty, not parsable) is believed. Five
    /// times as long if it is gone, fifty times if whoever writes it has not closed it.
    pub settle: Duration,
    /// The largest file, in bytes.
    pub max_file_bytes: u64,
    /// The largest object, in bytes of JSON.
    pub max_object_bytes: usize,
    /// The most files.
    pub max_files: usize,
    /// How many directories deep manifests may lie.
    pub max_depth: usize,
}

/// How changes of a directory are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// By the file system's events, or by polling where there are none to be had.
    #[default]
    Auto,
    /// By looking at [`Options::poll_interval`], for file systems that have no events, such as NFS.
    Poll,
}

impl Options {
    /// The defaults for a directory.
    pub fn new(name: impl Into<Name>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            watch: WatchMode::Auto,
            poll_interval: Duration::from_secs(1),
            rescan_interval: Duration::from_secs(15),
            coalesce: Duration::from_millis(3),
            settle: Duration::from_millis(20),
            max_file_bytes: 64 << 20,
            max_object_bytes: 2 << 20,
            max_files: 50_000,
            max_depth: 16,
        }
    }
}
