//! What is wrong with somebody's input. A problem names the thing, the place and the remedy, and lives in
//! one registry, whichever stage found it, so that status, API and metrics tell one story.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;

use crate::id::ObjectRef;
use crate::watch;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where to look: `routes.yaml:17`, or empty when the object's own name says it all.
    pub place: String,
    /// The object, when it is known which one.
    pub object: Option<ObjectRef>,
    /// The field, such as `spec.rules[0].matches[1].path.value`, or empty.
    pub field: String,
    /// What is wrong and what to do about it, in a sentence.
    pub reason: String,
    /// What is served in the meantime.
    pub serving: Serving,
}

/// One field that is wrong, as a schema or a typed view finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: `spec.rules[0].matches[1].path.value`; a key that is not a plain word stands as `["key"]`. Empty for
    /// the object as a whole.
    pub path: String,
    /// What is wrong and what to do about it, in a sentence. Never the content of a secret.
    pub reason: String,
}

impl FieldError {
    /// An error of one field.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// `path: reason`.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

/// What is served while a problem stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serving {
    /// The last version that was good.
    LastGood,
    /// Nothing: there never was a good version, or the object grants access and so fails closed.
    Nothing,
    /// The object as it is; the problem is a warning.
    Current,
}

/// `place: object: field: reason`, leaving out what is not known.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}

/// All standing problems, by scope. A scope (say `source/demo` or `correlation/routes`) is owned by one
/// writer, which replaces or edits its own list and touches no other.
#[derive(Clone)]
pub struct Problems {
    inner: Arc<RwLock<BTreeMap<String, BTreeMap<String, Problem>>>>,
    version: watch::Sender<u64>,
}

impl Default for Problems {
    fn default() -> Self {
        Self { inner: Arc::default(), version: watch::Sender::new(0) }
    }
}

impl Problems {
    /// Sets one problem of a scope under an id of the writer's choice; true if that changed anything.
    pub fn set(&self, scope: &str, id: &str, problem: Problem) -> bool {
        let mut all = self.inner.write();
        let old = all.entry(scope.to_owned()).or_default().insert(id.to_owned(), problem.clone());
        drop(all);
        self.told(scope, old.as_ref() != Some(&problem))
    }

    /// Takes one problem back; true if it stood.
    pub fn clear(&self, scope: &str, id: &str) -> bool {
        let mut all = self.inner.write();
        let stood = all.get_mut(scope).is_some_and(|of_scope| of_scope.remove(id).is_some());
        drop(all);
        self.told(scope, stood)
    }

    /// Replaces all problems of a scope.
    pub fn replace(&self, scope: &str, problems: impl IntoIterator<Item = (String, Problem)>) {
        let new: BTreeMap<String, Problem> = problems.into_iter().collect();
        let mut all = self.inner.write();
        let changed = all.get(scope).map_or(!new.is_empty(), |old| *old != new);
        all.insert(scope.to_owned(), new);
        drop(all);
        self.told(scope, changed);
    }

    /// Changes whenever a problem does.
    pub fn on_change(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn told(&self, scope: &str, changed: bool) -> bool {
        if changed {
            let by = scope.split('/').next().unwrap_or(scope);
            metrics::gauge!("tidegate_problems", "by" => by.to_owned()).set(self.count(by) as f64);
            self.version.send_modify(|version| *version += 1);
        }
        changed
    }

    /// How many problems stand in scopes that begin with a word, such as `source` or `xds`.
    fn count(&self, by: &str) -> usize {
        let all = self.inner.read();
        let own = all.range(by.to_owned()..).take_while(|(scope, _)| scope.starts_with(by));
        own.filter(|(scope, _)| scope.split('/').next() == Some(by)).map(|(_, of_scope)| of_scope.len()).sum()
    }

    /// The objects of which an earlier version is served because of a problem, of all scopes that begin so.
    pub(crate) fn held_back(&self, scopes: &str) -> impl Iterator<Item = ObjectRef> + use<> {
        let all = self.inner.read();
        let of = all.iter().filter(|(scope, _)| scope.starts_with(scopes)).flat_map(|(_, of_scope)| of_scope.values());
        let held_back = of.filter(|problem| problem.serving == Serving::LastGood);
        held_back.filter_map(|problem| problem.object.clone()).collect::<Vec<_>>().into_iter()
    }

    /// Every standing problem with its scope, in a stable order.
    pub fn list(&self) -> Vec<(String, Problem)> {
        let all = self.inner.read();
        let flat = all.iter().flat_map(|(scope, of_scope)| of_scope.values().map(move |p| (scope.clone(), p.clone())));
        flat.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_follows_problems_hears_of_changes_and_of_nothing_else() {
        let problem = |reason: &str| Problem {
            place: String::new(),
            object: None,
            field: String::new(),
            reason: reason.to_owned(),
            serving: Serving::Current,
        };
        let problems = Problems::default();
        let mut changes = problems.on_change();
        let mut heard = || {
            let changed = changes.has_changed().unwrap();
            changes.mark_unchanged();
            changed
        };
        assert!(problems.set("a", "1", problem("x")) && heard());
        assert!(!problems.set("a", "1", problem("x")) && !heard());
        assert!(problems.set("a", "1", problem("y")) && heard());
        problems.replace("a", [("1".to_owned(), problem("y"))]);
        problems.replace("b", []);
        assert!(!heard(), "both say what they said");
        problems.replace("b", [("1".to_owned(), problem("x"))]);
        assert!(heard());
        assert!(!problems.clear("a", "2") && !heard());
        assert!(problems.clear("a", "1") && heard());
        problems.clone().replace("b", []);
        assert!(heard(), "clones are one registry");
    }
}
