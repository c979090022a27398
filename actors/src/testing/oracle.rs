//! What must be true of a system, whatever happens to it; each says how it is not, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};

use super::MemorySource;
use crate::store::Lister;

/// A law that did not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which law; the same words each time.
    pub law: String,
    /// What was found.
    pub how: String,
}

impl Violation {
    /// A law and what was found.
    pub fn new(law: &str, how: impl Into<String>) -> Self {
        Self { law: law.to_owned(), how: how.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.how)
    }
}

/// Store equals source: how what a store holds differs from what its source has. A type that the source does not have
/// any more has no objects.
pub fn store_equals_source(lister: &Lister, source: &MemorySource) -> Option<String> {
    let held: BTreeMap<_, _> = lister.list().into_iter().map(|object| (object.key().clone(), object)).collect();
    let there = source.objects(lister.resource_type());
    let show = |object: &std::sync::Arc<crate::object::Object>| format!("{object:?}");
    let held = held.iter().map(|(key, object)| (key.to_string(), show(object))).collect();
    let there = there.iter().map(|(key, object)| (key.to_string(), show(object))).collect();
    difference(&held, &there).map(|how| format!("{}:{}: {how}", lister.source(), lister.resource_type()))
}

/// Output equals a computation from scratch, and anything else that is compared key by key: what is there, and what
/// should be.
pub fn difference<K: Ord + Debug, V: PartialEq + Debug>(
    is: &BTreeMap<K, V>,
    should_be: &BTreeMap<K, V>,
) -> Option<String> {
    const SHOWN: usize = 4;
    let keys: BTreeSet<&K> = is.keys().chain(should_be.keys()).collect();
    let different: Vec<&K> = keys.into_iter().filter(|key| is.get(key) != should_be.get(key)).collect();
    let shown = different.iter().take(SHOWN).map(|key| match (is.get(key), should_be.get(key)) {
        (Some(is), Some(should_be)) => format!("{key:?} is {is:?}, should be {should_be:?}"),
        (Some(is), None) => format!("{key:?} is {is:?}, should not be there"),
        (None, should_be) => format!("{key:?} is missing, should be {should_be:?}"),
    });
    let shown: Vec<String> = shown.collect();
    let more = different.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!different.is_empty()).then(|| format!("{}{more}", shown.join("; ")))
}

/// Monotonic versions: what one observer sees never goes back.
#[derive(Clone, Debug, Default)]
pub struct Monotonic {
    newest: BTreeMap<String, u64>,
}

impl Monotonic {
    /// Somebody sees this version of something.
    pub fn observe(&mut self, of: &str, version: u64) -> Option<String> {
        let newest = self.newest.entry(of.to_owned()).or_insert(version);
        if version < *newest {
            return Some(format!("{of} went back from version {newest} to {version}"));
        }
        *newest = version;
        None
    }

    /// From here on anything may be seen: the observer begins anew.
    pub fn forget(&mut self) {
        self.newest.clear();
    }
}

/// Never emptier: what an observer has seen goes only if something that it depends on was touched.
///
/// What changes on its way through a system arrives late and mixed, so an entry that vanishes may owe it to a touch of
/// any time since everything was last known to be quiet: [`settle`](Self::settle) says that it is.
#[derive(Clone, Debug, Default)]
pub struct NeverEmptier {
    seen: BTreeSet<String>,
    touched: BTreeSet<String>,
}

impl NeverEmptier {
    /// Something was touched, by a name that entries know as one of their causes.
    pub fn touch(&mut self, cause: &str) {
        if !self.touched.contains(cause) {
            self.touched.insert(cause.to_owned());
        }
    }

    /// All is quiet, and everybody has seen the last of what was touched so far.
    pub fn settle(&mut self) {
        self.touched.clear();
    }

    /// The observer sees these entries now; `causes` names what one that vanished depends on.
    pub fn observe(&mut self, now: BTreeSet<String>, causes: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        let gone = self.seen.difference(&now);
        let unexplained = gone.filter(|entry| !causes(entry).iter().any(|cause| self.touched.contains(cause)));
        let unexplained =
            unexplained.map(|entry| format!("{entry} vanished, and nothing that it depends on was touched")).collect();
        self.seen = now;
        unexplained
    }

    /// The observer begins anew, with nothing.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_key_and_only_a_few_of_them() {
        let is: BTreeMap<_, _> = (0..9).map(|n| (n, n)).collect();
        assert_eq!(difference(&is, &is), None);
        let one = BTreeMap::from([(1, 7)]);
        assert_eq!(difference(&one, &BTreeMap::from([(1, 8)])).as_deref(), Some("1 is 7, should be 8"));
        assert_eq!(difference(&BTreeMap::new(), &one).as_deref(), Some("1 is missing, should be Some(7)"));
        let many = difference(&is, &BTreeMap::new()).unwrap_or_default();
        assert!(many.starts_with("0 is 0, should not be there; ") && many.ends_with("; and 5 more"), "{many}");
    }

    #[test]
    fn a_version_that_goes_back_is_told_once_for_each_time() {
        let mut versions = Monotonic::default();
        assert_eq!([versions.observe("a", 2), versions.observe("a", 2), versions.observe("b", 1)], [None, None, None]);
        assert_eq!(versions.observe("a", 1).as_deref(), Some("a went back from version 2 to 1"));
        versions.forget();
        assert_eq!(versions.observe("a", 1), None);
    }

    #[test]
    fn what_vanishes_needs_a_cause_since_all_was_quiet() {
        let entries = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let causes = |entry: &str| vec![entry.to_owned()];
        let mut law = NeverEmptier::default();
        assert!(law.observe(entries(&["a", "b"]), causes).is_empty());
        law.touch("a");
        assert!(law.observe(entries(&["b"]), causes).is_empty());
        assert!(law.observe(entries(&["a", "b"]), causes).is_empty());
        law.settle();
        let told = law.observe(entries(&["b"]), causes);
        assert_eq!(told, ["a vanished, and nothing that it depends on was touched"]);
    }
}
