//! `publish`: where else the model goes. Publishers of another binary have their sections here, by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::registry::Section;
use super::values::Period;

/// Where else the model goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The model as a JSON file.
    pub json: JsonFile,
    /// Sections of registered publishers, by name.
    #[serde(flatten, skip_deserializing)]
    #[schemars(skip)]
    pub others: BTreeMap<String, Section>,
}

/// The model as a JSON file, replaced atomically at every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonFile {
    /// The file to write. Without it, none is written; the admin API has the model either way.
    pub path: Option<PathBuf>,
    /// Whether to indent it for people.
    pub pretty: bool,
    /// The shortest time between two writes of the file.
    pub interval: Period,
}

impl Default for JsonFile {
    fn default() -> Self {
        Self { path: None, pretty: false, interval: Period::from_millis(100) }
    }
}

impl Publish {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        let named = self.json.path.as_ref().is_none_or(|path| path.file_name().is_some());
        check.ensure(named, "json.path", "must name a file, not a directory");
    }
}
