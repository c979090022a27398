//! Namespace: its labels, which `allowedRoutes` selects by.

use serde::Deserialize;

use super::field::{Checks, from_json};
use super::labels::Labels;
use super::meta::Kind;

/// What we read of a Namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Its labels.
    pub labels: Labels,
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
        Some(Self { labels: labels.into() })
    }
}
