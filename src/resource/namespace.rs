//! Namespace: its labels, which `allowedRoutes` selects by.

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::meta::Kind;

/// What we read of a Namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Sorted by key.
    pub labels: Vec<(Name, Name)>,
}

impl Namespace {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|at| &*self.labels[at].1)
    }
}

#[derive(Deserialize)]
struct Raw {
    metadata: RawMeta,
}

#[derive(Deserialize)]
struct RawMeta {
    name: String,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

impl Kind for Namespace {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let Raw { metadata } = from_json(raw, checks)?;
        let mut labels = metadata.labels.unwrap_or_default();
        // The API server sets this label on every namespace; other sources get it here.
        labels.insert("kubernetes.io/metadata.name".to_owned(), metadata.name);
        Some(Self { labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect() })
    }
}
