//! Which kinds of object are known, and how one is checked before it is served.
//!
//! Invariant: this file knows no kind by name; whoever builds the [`Catalogue`] does.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::id::ResourceType;
pub use tidegate_actors::problem::FieldError;

/// Checks objects of one kind.
pub trait Schema: Send + Sync {
    /// Everything that makes an object unusable as a whole; empty when it is good. `raw` is its JSON.
    fn check(&self, raw: &[u8]) -> Vec<FieldError>;
}

impl<F: Fn(&[u8]) -> Vec<FieldError> + Send + Sync> Schema for F {
    fn check(&self, raw: &[u8]) -> Vec<FieldError> {
        self(raw)
    }
}

/// What is known about one kind.
#[derive(Clone)]
pub struct Entry {
    /// The type that its objects are served as, whatever version a manifest names.
    pub resource_type: ResourceType,
    /// How objects are checked; `None` accepts whatever has a name.
    pub schema: Option<Arc<dyn Schema>>,
    /// Whether the kind grants something, so that a broken version must not keep the last good one alive.
    pub fails_closed: bool,
}

/// The known kinds, by group and kind.
#[derive(Clone, Default)]
pub struct Catalogue {
    entries: BTreeMap<(String, String), Entry>,
}

impl Catalogue {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind that is checked by `schema`.
    #[must_use]
    pub fn with(self, resource_type: ResourceType, schema: impl Schema + 'static) -> Self {
        self.with_entry(Entry { resource_type, schema: Some(Arc::new(schema)), fails_closed: false })
    }

    /// Adds a kind whose objects are accepted as long as they have a name.
    #[must_use]
    pub fn with_unchecked(self, resource_type: ResourceType) -> Self {
        self.with_entry(Entry { resource_type, schema: None, fails_closed: false })
    }

    /// Adds a kind, or replaces what was known about it.
    #[must_use]
    pub fn with_entry(mut self, entry: Entry) -> Self {
        self.insert(entry);
        self
    }

    /// Adds a kind, or replaces what was known about it.
    pub fn insert(&mut self, entry: Entry) {
        let key = (entry.resource_type.group().to_owned(), entry.resource_type.kind().to_owned());
        self.entries.insert(key, entry);
    }

    /// What is known about a kind.
    pub fn get(&self, group: &str, kind: &str) -> Option<&Entry> {
        // The map's key is a pair of owned strings; a few dozen entries make the copy the cheaper evil.
        self.entries.get(&(group.to_owned(), kind.to_owned()))
    }

    /// All entries, sorted by group and kind.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The known type that somebody most likely meant who wrote this unknown one; `None` when it is more
    /// likely to be a kind that is simply not ours.
    pub fn suggest(&self, group: &str, kind: &str) -> Option<&ResourceType> {
        let known = self.entries.values().map(|entry| &entry.resource_type);
        let mut close: Vec<_> = known
            .filter_map(|known| {
                let (of_group, of_kind) = (distance(group, known.group())?, distance(kind, known.kind())?);
                // One of the two must be right, or there is no telling.
                (of_group == 0 || of_kind == 0).then_some((of_group + of_kind, known))
            })
            .collect();
        close.sort();
        close.first().map(|(_, known)| *known)
    }
}

/// How far two names are apart, if that can be a slip of the pen. Short names are apart by a letter or two
/// without any slip (`Pod`, `Node`; `TCPRoute`, `UDPRoute`), so they get less room.
fn distance(written: &str, known: &str) -> Option<usize> {
    if written == known {
        return Some(0);
    }
    if written.eq_ignore_ascii_case(known) {
        return Some(1);
    }
    let room = if known.len() < 5 { 0 } else { 1 + usize::from(known.len() >= 12) };
    let apart = strsim::damerau_levenshtein(&written.to_ascii_lowercase(), &known.to_ascii_lowercase());
    (apart <= room).then_some(apart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_actors::id::Scope;

    fn mk_catalogue() -> Catalogue {
        let gateway = "gateway.networking.k8s.io";
        Catalogue::new()
            .with_unchecked(ResourceType::new(gateway, "v1", "HTTPRoute", "httproutes", Scope::Namespaced))
            .with_unchecked(ResourceType::new(gateway, "v1", "TCPRoute", "tcproutes", Scope::Namespaced))
            .with_unchecked(ResourceType::new("", "v1", "Service", "services", Scope::Namespaced))
    }

    fn suggestion(group: &str, kind: &str) -> Option<String> {
        mk_catalogue().suggest(group, kind).map(|found| format!("{} {}", found.api_version(), found.kind()))
    }

    #[test]
    fn a_slip_of_the_pen_gets_a_suggestion() {
        let route = Some("gateway.networking.k8s.io/v1 HTTPRoute".to_owned());
        assert_eq!(suggestion("gateway.networking.k8s.io", "HTTPRuote"), route);
        assert_eq!(suggestion("gateway.networking.k8s.io", "HttpRoute"), route);
        assert_eq!(suggestion("gateway.network.k8s.io", "HTTPRoute"), None, "three letters are no slip");
        assert_eq!(suggestion("gateway.networkng.k8s.io", "HTTPRoute"), route);
        assert_eq!(suggestion("", "Servise"), Some("v1 Service".to_owned()));
    }

    #[test]
    fn a_kind_that_is_merely_not_ours_gets_none() {
        assert_eq!(suggestion("gateway.networking.k8s.io", "UDPRoute"), None);
        assert_eq!(suggestion("apps", "Deployment"), None);
        assert_eq!(suggestion("", "ServiceAccount"), None);
        assert_eq!(suggestion("serving.knative.dev", "Service"), None);
    }
}
