//! Labels of an object, for the kinds whose labels decide something.

use std::collections::BTreeMap;

use tidegate_actors::id::Name;

/// Labels, sorted by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels(Vec<(Name, Name)>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|at| &*self.0[at].1)
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}
