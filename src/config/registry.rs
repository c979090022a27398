//! Which kinds of sources, publishers and correlations have sections in the config file, and what is in
//! them. Another binary registers its own, and they are checked, documented and refused like ours.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::de::collect;
use super::kubernetes::Kubernetes;
use super::problem::{Check, Report};
use super::source::Directory;
use super::tree::{Node, Step};

/// A typed section of the config file. Derive `Deserialize` with `deny_unknown_fields`, or typing errors in
/// it go unnoticed.
pub trait SectionType: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// Checks what types alone cannot say.
    fn check(&self, _check: &mut Check<'_>) {}

    /// Makes relative paths start from the config file's directory.
    fn resolve(&mut self, _base: &Path) {}
}

/// A section after parsing; ask for it by its type.
#[derive(Clone)]
pub struct Section {
    value: Arc<dyn Any + Send + Sync>,
    shown: serde_json::Value,
}

impl Section {
    /// A section made by hand, for tests and defaults.
    pub fn new<T: SectionType>(value: T) -> Self {
        // What cannot be serialised is shown as nothing, and then never seems to change.
        let shown = serde_json::to_value(&value).unwrap_or_default();
        Self { value: Arc::new(value), shown }
    }

    /// The section, if `T` is its type.
    pub fn get<T: SectionType>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

/// Sections are equal when they are written alike.
impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shown, f)
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}

type Parse = fn(&mut Node, &[Step], &Path, &mut Report) -> Option<Section>;

/// How one kind of section is read and described.
#[derive(Clone)]
pub(crate) struct Kind {
    pub parse: Parse,
    pub schema: fn(&mut SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    fn of<T: SectionType>() -> Self {
        Self { parse: parse::<T>, schema: SchemaGenerator::subschema_for::<T> }
    }
}

fn parse<T: SectionType>(node: &mut Node, path: &[Step], base: &Path, report: &mut Report) -> Option<Section> {
    let mut value: T = collect(node, path, report)?;
    value.check(&mut Check { tree: node, outer: path.to_vec(), prefix: Vec::new(), report });
    value.resolve(base);
    Some(Section::new(value))
}

/// Everything that can have a section.
#[derive(Clone)]
pub struct Registry {
    pub(crate) sources: BTreeMap<String, Kind>,
    pub(crate) publishers: BTreeMap<String, Kind>,
    pub(crate) correlations: BTreeMap<String, Kind>,
}

/// What this binary brings along.
impl Default for Registry {
    fn default() -> Self {
        let empty = Self { sources: BTreeMap::new(), publishers: BTreeMap::new(), correlations: BTreeMap::new() };
        empty.source::<Directory>(Directory::KIND).source::<Kubernetes>(Kubernetes::KIND)
    }
}

impl Registry {
    /// Adds a kind of source: entries of `sources` with this `kind` have the keys of `T`, beside `name`.
    #[must_use]
    pub fn source<T: SectionType>(mut self, kind: &str) -> Self {
        self.sources.insert(kind.to_owned(), Kind::of::<T>());
        self
    }

    /// Adds a publisher, whose section is `publish.NAME`.
    #[must_use]
    pub fn publisher<T: SectionType>(mut self, name: &str) -> Self {
        self.publishers.insert(name.to_owned(), Kind::of::<T>());
        self
    }

    /// Adds a correlation, whose section is `correlate.NAME`.
    #[must_use]
    pub fn correlation<T: SectionType>(mut self, name: &str) -> Self {
        self.correlations.insert(name.to_owned(), Kind::of::<T>());
        self
    }
}
