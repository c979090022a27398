//! Environment variables that override keys of the file: `TIDEGATE__SECTION__KEY=value`. They are set in
//! the tree before it is typed, so they are checked like what is in the file, and a bad one is named.

use std::collections::BTreeMap;

use super::problem::Report;
use super::tree::{Node, Origin, Step};

/// What the names of overriding variables begin with. Two underscores separate the keys of a path, and a
/// number is the index of a list item: `TIDEGATE__SOURCES__0__PATH` is `sources[0].path`.
pub const PREFIX: &str = "TIDEGATE__";

/// Variables that override, by name.
pub(crate) type Overrides = BTreeMap<String, String>;

/// Of all variables, those that override.
pub(crate) fn overrides(env: impl IntoIterator<Item = (String, String)>) -> Overrides {
    env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

/// Sets every override in the tree.
pub(crate) fn apply(overrides: &Overrides, tree: &mut Node, report: &mut Report) {
    for (name, value) in overrides {
        let origin = Origin::Environment(name.clone());
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = path.split("__").collect();
        let applied = if path.iter().any(|step| step.is_empty()) {
            Err(format!("is not {PREFIX}SECTION__KEY: two underscores separate keys"))
        } else {
            tree.set(&path, value, &origin)
        };
        if let Err(reason) = applied {
            let shown: Vec<Step> = path.iter().map(|step| Step::Key((*step).to_owned())).collect();
            report.add(Some(&origin), &shown, reason);
        }
    }
}
