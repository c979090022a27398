//! The resource types that are served: the built-in ones, and those that a CustomResourceDefinition adds. It knows
//! names and versions, and nothing of objects.

use serde::{Deserialize, Serialize};

/// One version in which a resource type is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindVersion {
    /// `v1`.
    pub name: String,
    /// Whether it is served at all.
    pub served: bool,
    /// Whether it has a `/status` that is written apart.
    pub status: bool,
}

/// One resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its group; empty for the core group.
    pub group: String,
    /// `services`.
    pub plural: String,
    /// `service`.
    pub singular: String,
    /// `Service`.
    pub kind: String,
    /// `ServiceList`.
    pub list_kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Its versions, most preferred first.
    pub versions: Vec<KindVersion>,
    /// The version that objects are kept in.
    pub storage: String,
    /// `svc`.
    pub short_names: Vec<String>,
    /// `all`, `gateway-api`.
    pub categories: Vec<String>,
    /// How its objects behave, where built-in types differ from custom ones.
    pub behaviour: Behaviour,
}

/// How objects behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Encoded as a Go struct is: `kind` first, and no `kind` and `apiVersion` in a list's items. Custom objects are
    /// encoded in the order of their keys instead.
    pub typed: bool,
    /// Whether `metadata.generation` counts changes.
    pub generation: bool,
    /// Whether an update without a resource version is taken.
    pub unconditional_update: bool,
    /// Whether an update of an object that is not there creates it.
    pub create_on_update: bool,
}

const TYPED: Behaviour =
    Behaviour { typed: true, generation: false, unconditional_update: true, create_on_update: false };

/// The behaviour of custom resources.
pub const CUSTOM: Behaviour =
    Behaviour { typed: false, generation: true, unconditional_update: false, create_on_update: false };

/// Group of CustomResourceDefinitions.
pub const CRD_GROUP: &str = "apiextensions.k8s.io";
/// [`Kind::id`] of CustomResourceDefinitions.
pub const CRD_ID: &str = "customresourcedefinitions.apiextensions.k8s.io";

impl Kind {
    /// `services`, or `httproutes.gateway.networking.k8s.io`: unique, and how messages name it.
    pub fn id(&self) -> String {
        id_of(&self.group, &self.plural)
    }

    /// `apiVersion` of its objects in a version.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// A version, if it is served.
    pub fn served(&self, version: &str) -> Option<&KindVersion> {
        self.versions.iter().find(|v| v.name == version && v.served)
    }

    /// The version that is asked for when nobody names one.
    pub fn preferred(&self) -> &str {
        self.versions.iter().find(|v| v.served).or(self.versions.first()).map_or("v1", |v| &v.name)
    }

    /// All verbs, as discovery shows them.
    pub const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// A type that needs no definition.
    fn built_in(group: &str, version: &str, plural: &str, kind: &str, short: &[&str]) -> Self {
        Self {
            group: group.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            namespaced: true,
            versions: vec![KindVersion { name: version.to_owned(), served: true, status: false }],
            storage: version.to_owned(),
            short_names: short.iter().map(|&name| name.to_owned()).collect(),
            categories: Vec::new(),
            behaviour: TYPED,
        }
    }

    fn with_status(mut self) -> Self {
        self.versions.iter_mut().for_each(|version| version.status = true);
        self
    }

    /// The types that are always there.
    pub fn all_built_in() -> Vec<Self> {
        let mut slices = Self::built_in("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", &[]);
        slices.behaviour.generation = true;
        let mut leases = Self::built_in("coordination.k8s.io", "v1", "leases", "Lease", &[]);
        leases.behaviour.create_on_update = true;
        let mut events = Self::built_in("", "v1", "events", "Event", &["ev"]);
        events.behaviour.create_on_update = true;
        let mut namespaces = Self::built_in("", "v1", "namespaces", "Namespace", &["ns"]).with_status();
        namespaces.namespaced = false;
        let mut crds =
            Self::built_in(CRD_GROUP, "v1", "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"])
                .with_status();
        crds.namespaced = false;
        crds.behaviour.generation = true;
        crds.behaviour.unconditional_update = false;
        let mut services = Self::built_in("", "v1", "services", "Service", &["svc"]).with_status();
        services.categories.push("all".to_owned());
        let mut kinds = vec![services, namespaces, crds, events.clone(), slices, leases];
        kinds.push(Self::built_in("", "v1", "secrets", "Secret", &[]));
        kinds.push(Self::built_in("", "v1", "configmaps", "ConfigMap", &["cm"]));
        kinds.push(Self::built_in("", "v1", "pods", "Pod", &["po"]).with_status());
        events.group = "events.k8s.io".to_owned();
        kinds.push(events);
        kinds
    }
}

/// [`Kind::id`] from its parts.
pub fn id_of(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// What matters of a CustomResourceDefinition's spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrdSpec {
    group: String,
    scope: String,
    names: CrdNames,
    versions: Vec<CrdVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CrdNames {
    plural: String,
    kind: String,
    #[serde(default)]
    singular: Option<String>,
    #[serde(default)]
    list_kind: Option<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CrdVersion {
    name: String,
    served: bool,
    #[serde(default)]
    storage: bool,
    #[serde(default)]
    subresources: Option<serde_json::Map<String, serde_json::Value>>,
}

impl CrdSpec {
    /// The type that the definition defines.
    pub fn kind(&self) -> Kind {
        let mut versions: Vec<KindVersion> = self
            .versions
            .iter()
            .map(|version| KindVersion {
                name: version.name.clone(),
                served: version.served,
                status: version.subresources.as_ref().is_some_and(|sub| sub.contains_key("status")),
            })
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(priority(&version.name)));
        Kind {
            group: self.group.clone(),
            plural: self.names.plural.clone(),
            singular: self.names.singular.clone().unwrap_or_else(|| self.names.kind.to_lowercase()),
            kind: self.names.kind.clone(),
            list_kind: self.names.list_kind.clone().unwrap_or_else(|| format!("{}List", self.names.kind)),
            namespaced: self.scope == "Namespaced",
            versions,
            storage: self.versions.iter().find(|version| version.storage).map_or_else(String::new, |v| v.name.clone()),
            short_names: self.names.short_names.clone(),
            categories: self.names.categories.clone(),
            behaviour: CUSTOM,
        }
    }
}

/// Kubernetes' version priority: v2 over v1 over v1beta2 over v1beta1 over v1alpha1 over anything else.
pub fn priority(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse::<u32>().ok().map(|number| (number, text[end..].to_owned()))
    };
    let Some((major, rest)) = version.strip_prefix('v').and_then(digits) else { return (0, 0, 0) };
    let stage = |word: &str| rest.strip_prefix(word).and_then(digits).map(|(minor, _)| minor);
    match (rest.as_str(), stage("beta"), stage("alpha")) {
        ("", _, _) => (3, major, 0),
        (_, Some(minor), _) => (2, major, minor),
        (_, _, Some(minor)) => (1, major, minor),
        _ => (0, 0, 0),
    }
}
