//! What is read of a CustomResourceDefinition: whose objects it defines, and in which versions they are served now.

use std::cmp::Reverse;

use serde::Deserialize;
use tidegate_actors::id::{ResourceType, Scope};

/// A type whatever its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeName {
    pub group: String,
    pub plural: String,
}

/// How a type is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub kind: String,
    pub scope: Scope,
    /// The versions that are served, the preferred one first; none: it is not served now.
    pub versions: Vec<String>,
}

impl TypeName {
    pub fn new(group: &str, plural: &str) -> Self {
        Self { group: group.to_owned(), plural: plural.to_owned() }
    }
}

/// `plural.group`.
impl std::fmt::Display for TypeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.plural, self.group)
    }
}

impl Definition {
    /// The type in one of its versions.
    pub fn resource_type(&self, name: &TypeName, version: &str) -> ResourceType {
        ResourceType::new(&name.group, version, &self.kind, &name.plural, self.scope)
    }
}

/// The type of definitions themselves.
pub(super) fn definitions() -> ResourceType {
    let kind = "CustomResourceDefinition";
    ResourceType::new("apiextensions.k8s.io", "v1", kind, "customresourcedefinitions", Scope::Cluster)
}

/// The type of the registrations of API groups that other servers serve.
pub(super) fn services() -> ResourceType {
    ResourceType::new("apiregistration.k8s.io", "v1", "APIService", "apiservices", Scope::Cluster)
}

/// The name of the type that a definition of this name defines: the API server sees to it that they are the same.
pub(super) fn defined_by(name: &str) -> Option<TypeName> {
    name.split_once('.').map(|(plural, group)| TypeName::new(group, plural))
}

#[derive(Deserialize)]
struct Raw {
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Deserialize)]
struct RawSpec {
    group: String,
    names: RawNames,
    scope: Scope,
    versions: Vec<RawVersion>,
}

#[derive(Deserialize)]
struct RawNames {
    kind: String,
    plural: String,
}

#[derive(Deserialize)]
struct RawVersion {
    name: String,
    served: bool,
}

#[derive(Default, Deserialize)]
struct RawStatus {
    #[serde(default)]
    conditions: Vec<RawCondition>,
}

#[derive(Deserialize)]
struct RawCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Reads a definition; nothing of it but this is kept. `None` if it is none.
pub(super) fn read(raw: &[u8]) -> Option<(TypeName, Definition)> {
    let Raw { spec, status } = serde_json::from_slice(raw).ok()?;
    // The API server serves the type from then on, and not before.
    let established = status.conditions.iter().any(|of| of.kind == "Established" && of.status == "True");
    let served = spec.versions.into_iter().filter(|version| established && version.served);
    let mut versions: Vec<String> = served.map(|version| version.name).collect();
    versions.sort_by_cached_key(|version| Reverse(rank(version)));
    let name = TypeName { group: spec.group, plural: spec.names.plural };
    Some((name, Definition { kind: spec.names.kind, scope: spec.scope, versions }))
}

/// How Kubernetes ranks versions: v10 over v2 over v1 over v2beta1 over v1alpha1 over whatever else, that by name,
/// the first in the alphabet first.
fn rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let other = || (0, 0, 0, Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return other() };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse() else { return other() };
    let (stability, minor) = match (rest, rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        ("", ..) => (3, "0"),
        (_, Some(minor), _) => (2, minor),
        (_, _, Some(minor)) => (1, minor),
        _ => return other(),
    };
    match minor.parse() {
        Ok(minor) => (stability, major, minor, Reverse(String::new())),
        Err(_) => other(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_definition(established: &str, versions: &[(&str, bool)]) -> String {
        let versions = versions.iter().map(|(name, served)| {
            format!(r#"{{"name":"{name}","served":{served},"storage":true,"schema":{{"openAPIV3Schema":{{}}}}}}"#)
        });
        let versions = versions.collect::<Vec<_>>().join(",");
        format!(
            r#"{{"metadata":{{"name":"widgets.example.com"}},"spec":{{"group":"example.com","scope":"Cluster",
            "names":{{"kind":"Widget","plural":"widgets","listKind":"WidgetList"}},"versions":[{versions}]}},
            "status":{{"conditions":[{{"type":"Established","status":"{established}"}}]}}}}"#
        )
    }

    #[test]
    fn what_a_definition_serves_is_read_preferred_version_first() {
        let text = mk_definition("True", &[("v1alpha1", true), ("v1", true), ("v3", false), ("v2beta1", true)]);
        let (name, definition) = read(text.as_bytes()).unwrap();
        assert_eq!(name, defined_by("widgets.example.com").unwrap());
        assert_eq!(definition.versions, ["v1", "v2beta1", "v1alpha1"]);
        let resource_type = definition.resource_type(&name, "v1");
        assert_eq!((resource_type.to_string().as_str(), resource_type.kind()), ("widgets.example.com/v1", "Widget"));
        assert_eq!(resource_type.scope(), Scope::Cluster);
    }

    #[test]
    fn a_definition_that_is_not_established_serves_nothing() {
        let (_, definition) = read(mk_definition("False", &[("v1", true)]).as_bytes()).unwrap();
        assert_eq!(definition.versions, Vec::<String>::new());
        assert_eq!(read(b"{}"), None);
    }

    #[test]
    fn versions_are_ranked_as_kubernetes_ranks_them() {
        let ranked = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        let mut sorted = ranked.to_vec();
        sorted.reverse();
        sorted.sort_by_cached_key(|version| Reverse(rank(version)));
        assert_eq!(sorted, ranked);
    }
}
