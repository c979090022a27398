//! Which Gateways a proxy serves. It says so itself, in its node's metadata; where it has proven who it is, what it may
//! serve is decided by `admission`.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use serde::Serialize;
use tidegate_actors::id::Name;

use crate::model::GatewayId;

/// The metadata key: a list of `namespace/name`.
pub const METADATA_KEY: &str = "tidegate.gateways";

/// As a Gateway's name: all of the namespace.
const ANY: &str = "*";

/// What a proxy is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Scope {
    /// Everything.
    All,
    /// What belongs to these Gateways: sorted (namespace, name). The name [`ANY`] is every Gateway of the namespace.
    Gateways(Vec<(Name, Name)>),
}

impl Scope {
    /// Reads a node's metadata: `None` if it says nothing, an error if it cannot be understood.
    pub fn from_node(node: &Node) -> Result<Option<Self>, String> {
        let Some(value) = node.metadata.as_ref().and_then(lookup) else { return Ok(None) };
        let Some(ValueKind::ListValue(list)) = value else {
            return Err(format!("node metadata {METADATA_KEY} must be a list of namespace/name"));
        };
        let text = |value: &Value| match &value.kind {
            Some(ValueKind::StringValue(text)) => Ok(text.clone()),
            _ => Err(format!("node metadata {METADATA_KEY} holds something that is not text")),
        };
        let names = list.values.iter().map(text).collect::<Result<Vec<String>, _>>()?;
        let named = Self::named(names.iter().map(String::as_str));
        named.map(Some).map_err(|reason| format!("node metadata {METADATA_KEY}: {reason}"))
    }

    /// These Gateways, each as `namespace/name` or `namespace/*`.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let parse = |text: &str| match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok((Name::from(namespace), Name::from(name)))
            }
            _ => Err(format!("{text:?} is not namespace/name")),
        };
        let mut gateways = names.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        gateways.sort();
        gateways.dedup();
        Ok(Self::Gateways(gateways))
    }

    /// What is in one or the other.
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gateways(mut all), Self::Gateways(others)) => {
                all.extend(others);
                all.sort();
                all.dedup();
                Self::Gateways(all)
            }
            _ => Self::All,
        }
    }

    /// Something that is in `claimed` and not in this, if there is any.
    pub fn lacks(&self, claimed: &Self) -> Option<String> {
        match (self, claimed) {
            (Self::All, _) => None,
            (Self::Gateways(_), Self::All) => Some(ANY.to_owned()),
            (Self::Gateways(own), Self::Gateways(claimed)) => {
                let is_in = |(namespace, name): &&(Name, Name)| {
                    own.iter().any(|(of, any)| of == namespace && (&**any == ANY || any == name))
                };
                let beyond = claimed.iter().find(|gateway| !is_in(gateway));
                beyond.map(|(namespace, name)| format!("{namespace}/{name}"))
            }
        }
    }

    /// Whether any of these Gateways is in it.
    pub fn sees(&self, gateways: &[GatewayId]) -> bool {
        match self {
            Self::All => true,
            Self::Gateways(own) => gateways
                .iter()
                .any(|id| own.iter().any(|(of, name)| *of == id.namespace && (*name == id.name || &**name == ANY))),
        }
    }

    /// The Gateways as `namespace/name`; `None` for all.
    pub fn names(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Gateways(own) => Some(own.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()),
        }
    }
}

/// Under the key itself, or as `tidegate: {gateways: [...]}`, which is how a dotted key looks to YAML tools
/// that expand it.
fn lookup(metadata: &Struct) -> Option<Option<&ValueKind>> {
    if let Some(value) = metadata.fields.get(METADATA_KEY) {
        return Some(value.kind.as_ref());
    }
    let Some(ValueKind::StructValue(own)) = &metadata.fields.get("tidegate")?.kind else { return None };
    Some(own.fields.get("gateways")?.kind.as_ref())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use envoy_types::pb::google::protobuf::ListValue;

    fn mk_node(gateways: &[&str]) -> Node {
        let values =
            gateways.iter().map(|text| Value { kind: Some(ValueKind::StringValue((*text).to_owned())) }).collect();
        let list = Value { kind: Some(ValueKind::ListValue(ListValue { values })) };
        Node { metadata: Some(Struct { fields: [(METADATA_KEY.to_owned(), list)].into() }), ..Node::default() }
    }

    fn mk_gateway(namespace: &str, name: &str) -> GatewayId {
        GatewayId { source: "demo".into(), namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn a_node_that_names_gateways_sees_only_theirs() {
        let scope = Scope::from_node(&mk_node(&["infra/public"])).unwrap().unwrap();
        assert!(scope.sees(&[mk_gateway("other", "public"), mk_gateway("infra", "public")]));
        assert!(!scope.sees(&[mk_gateway("infra", "private")]));
        assert!(!scope.sees(&[]));
        assert_eq!(scope.names(), Some(vec!["infra/public".to_owned()]));
        let scope = Scope::from_node(&mk_node(&["infra/*"])).unwrap().unwrap();
        assert!(scope.sees(&[mk_gateway("infra", "private")]) && !scope.sees(&[mk_gateway("other", "private")]));
    }

    #[test]
    fn a_node_that_says_nothing_has_no_scope_and_one_that_says_nonsense_is_told() {
        assert_eq!(Scope::from_node(&Node::default()), Ok(None));
        let error = Scope::from_node(&mk_node(&["public"])).unwrap_err();
        assert!(error.contains("\"public\" is not namespace/name"), "{error}");
    }
}
