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
    /// The directory. A relative path starts from the config file's own directory.
    pub path: PathBuf,
    /// How often to look for changes where the file system tells of none. Zero: never.
    #[serde(default = "default_poll")]
    pub poll: Period,
    /// How long to wait for further changes after one, so that a file that is being written is read once.
    #[serde(default = "default_debounce")]
    pub debounce: Period,
}

fn default_poll() -> Period {
    Period::from_secs(5)
}

fn default_debounce() -> Period {
    Period::from_millis(20)
}

impl Directory {
    /// The kind's name in the config file.
    pub const KIND: &'static str = "directory";

    /// With everything but the path left to its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), poll: default_poll(), debounce: default_debounce() }
    }
}

impl SectionType for Directory {
    fn check(&self, check: &mut Check<'_>) {
        check.ensure(!self.path.as_os_str().is_empty(), "path", "must not be empty");
        let quick = self.debounce.as_secs() < 60;
        check.ensure(quick, "debounce", "must be shorter than a minute, or changes would seem to be ignored");
    }

    fn resolve(&mut self, base: &std::path::Path) {
        self.path = base.join(&self.path);
    }
}
