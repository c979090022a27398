//! Who an object is. Identity is (source, resource type, namespace, name) everywhere; no stage has a
//! shorter one of its own. All of it is cheap to clone.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A shared, immutable string: names of sources, namespaces, objects.
pub type Name = Arc<str>;

/// Whether objects of a type live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Objects have a namespace.
    Namespaced,
    /// Objects have none.
    Cluster,
}

/// A kind of object that a source can list and watch. Registries other than Kubernetes make the fields up.
#[derive(Clone, PartialEq, Eq)]
pub struct ResourceType(Arc<TypeParts>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TypeParts {
    group: String,
    version: String,
    kind: String,
    plural: String,
    scope: Scope,
}

/// Identities are compared all day, mostly with others of the same type, source and namespace, whose parts are shared:
/// then their address says that they are equal, and no text is looked at.
fn compare<T: Ord + ?Sized>(a: &Arc<T>, b: &Arc<T>) -> Ordering {
    if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.cmp(b) }
}

impl Ord for ResourceType {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for ResourceType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for ResourceType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Tells all types apart but for the versions of one.
        self.0.plural.hash(state);
        self.0.group.hash(state);
    }
}

impl ResourceType {
    /// `group` is empty for the core group; `plural` is the lower-case name used in paths.
    pub fn new(group: &str, version: &str, kind: &str, plural: &str, scope: Scope) -> Self {
        Self(Arc::new(TypeParts {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            scope,
        }))
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// API version, such as `v1`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// `group/version`, or `version` alone for the core group, as objects spell it.
    pub fn api_version(&self) -> String {
        if self.0.group.is_empty() { self.0.version.clone() } else { format!("{}/{}", self.0.group, self.0.version) }
    }

    /// Kind in CamelCase, such as `HTTPRoute`.
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// `httproutes.gateway.networking.k8s.io`, or `services` for the core group: the type whatever its version,
    /// for paths and names.
    pub fn plural_and_group(&self) -> String {
        let dot = if self.0.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.0.plural, self.0.group)
    }

    /// Lower-case plural, such as `httproutes`.
    pub fn plural(&self) -> &str {
        &self.0.plural
    }

    /// Whether objects have a namespace.
    pub fn scope(&self) -> Scope {
        self.0.scope
    }
}

/// `httproutes.gateway.networking.k8s.io/v1`, or `services/v1` for the core group.
impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.plural_and_group(), self.0.version)
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which object of a resource type: its source, namespace (none for cluster scope) and name.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The configured name of the source that the object came from.
    pub source: Name,
    /// Namespace; `None` for cluster-scoped types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Name.
    pub name: Name,
}

/// By source, then namespace, cluster-scoped ones first, then name.
impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let namespaces = || match (&self.namespace, &other.namespace) {
            (Some(one), Some(other)) => compare(one, other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        };
        compare(&self.source, &other.source).then_with(namespaces).then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ObjectKey {
    /// The key of a namespaced object.
    pub fn namespaced(source: &str, namespace: &str, name: &str) -> Self {
        Self { source: source.into(), namespace: Some(namespace.into()), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(source: &str, name: &str) -> Self {
        Self { source: source.into(), namespace: None, name: name.into() }
    }

    /// The namespace, or the empty string for cluster scope.
    pub fn namespace_or_empty(&self) -> &str {
        self.namespace.as_deref().unwrap_or("")
    }
}

/// `source:namespace/name`, or `source:name`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(ns) => write!(f, "{}:{ns}/{}", self.source, self.name),
            None => write!(f, "{}:{}", self.source, self.name),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The whole identity of an object, for statuses, problems and traces.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectRef {
    /// What it is.
    pub resource_type: ResourceType,
    /// Which one it is.
    pub key: ObjectKey,
}

/// `HTTPRoute source:namespace/name`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource_type.kind(), self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_source_then_namespace_then_name_whether_their_parts_are_shared_or_not() {
        let source = Name::from("b");
        let of = |namespace: Option<&str>, name: &str| ObjectKey {
            source: source.clone(),
            namespace: namespace.map(Name::from),
            name: name.into(),
        };
        let sorted = [
            ObjectKey::namespaced("a", "z", "z"),
            of(None, "a"),
            of(None, "b"),
            of(Some("a"), "b"),
            of(Some("b"), "a"),
            ObjectKey::namespaced("b", "b", "b"),
            ObjectKey::cluster("c", "a"),
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(one.cmp(other), at.cmp(&other_at), "{one} and {other}");
                assert_eq!(one == other, at == other_at);
            }
        }
        let unshared = ObjectKey::namespaced("b", "b", "b");
        assert_eq!((unshared.cmp(&sorted[5]), &unshared), (Ordering::Equal, &sorted[5]));
    }

    #[test]
    fn types_that_differ_in_their_version_alone_are_two() {
        let [one, other] = ["v1", "v2"].map(|version| ResourceType::new("g", version, "K", "ks", Scope::Cluster));
        assert!(one < other && one != other);
        let mut both = crate::Set::default();
        both.extend([one.clone(), other, ResourceType::new("g", "v1", "K", "ks", Scope::Cluster)]);
        assert_eq!((both.len(), both.contains(&one)), (2, true));
    }
}
