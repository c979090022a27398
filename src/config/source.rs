//! `sources`: where objects come from, in the order in which references are resolved and conflicts decided.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::registry::{Section, SectionType};
use super::values::Period;

/// One entry of `sources`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceConfig {
    /// Its name, which stands in the identity of every object from it.
    pub name: String,
    /// What kind of source it is; decides which further keys there are.
    pub kind: String,
    /// The keys of that kind.
    #[serde(flatten)]
    pub section: Section,
}

impl SourceConfig {
    /// The keys of the kind, if `T` is what was registered for it.
    pub fn section<T: SectionType>(&self) -> Option<&T> {
        self.section.get()
    }
}

/// A directory of manifests, YAML and JSON, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The directory, or a single manifest file. A relative path starts from the config file's own directory.
    pub path: PathBuf,
    /// How changes are noticed: auto (file system events, or polling where there are none) or poll.
    #[serde(default)]
    pub watch: WatchMode,
    /// How often the directory is looked through when it is polled.
    #[serde(default = "default_poll")]
    pub poll: Period,
    /// How often it is looked through although it is watched, for what events do not tell of.
    #[serde(default = "default_rescan")]
    pub rescan: Period,
    /// How long a file must stay as it is before an unfinished look of it is believed: empty, not parsable. Five
    /// times as long if it is gone, fifty times if whoever writes it has not closed it.
    #[serde(default = "default_settle")]
    pub settle: Period,
    /// The most files.
    #[serde(default = "default_max_files")]
    pub max_files: usize,
    /// How many directories deep manifests may lie.
    #[serde(default = "default_max_depth")]
    pub max_depth: usize,
}

/// How changes of a directory are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WatchMode {
    /// By the file system's events, or by polling where there are none.
    #[default]
    Auto,
    /// By polling, for file systems without events, such as NFS.
    Poll,
}

fn default_poll() -> Period {
    Period::from_secs(1)
}

fn default_rescan() -> Period {
    Period::from_secs(15)
}

fn default_settle() -> Period {
    Period::from_millis(20)
}

fn default_max_files() -> usize {
    50_000
}

fn default_max_depth() -> usize {
    16
}

impl Directory {
    /// The kind's name in the config file.
    pub const KIND: &'static str = "directory";

    /// With everything but the path left to its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            watch: WatchMode::Auto,
            poll: default_poll(),
            rescan: default_rescan(),
            settle: default_settle(),
            max_files: default_max_files(),
            max_depth: default_max_depth(),
        }
    }
}

impl SectionType for Directory {
    fn check(&self, check: &mut Check<'_>) {
        check.ensure(!self.path.as_os_str().is_empty(), "path", "must not be empty");
        for (key, period) in [("poll", self.poll), ("rescan", self.rescan)] {
            check.ensure(!period.is_zero(), key, "must be longer than zero");
        }
        let quick = self.settle.as_secs() < 60;
        check.ensure(quick, "settle", "must be shorter than a minute, or changes would seem to be ignored");
        check.ensure(self.max_files > 0, "max_files", "must be at least 1");
        check.ensure(self.max_depth > 0, "max_depth", "must be at least 1");
    }

    fn resolve(&mut self, base: &std::path::Path) {
        self.path = base.join(&self.path);
    }
}
