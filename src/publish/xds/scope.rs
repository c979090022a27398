//! Which Gateways a proxy serves. It says so itself, in its node's metadata.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Struct;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use serde::Serialize;
use tidegate_actors::id::Name;

use crate::model::GatewayId;

/// The metadata key: a list of `namespace/name`.
pub const METADATA_KEY: &str = "tidegate.gateways";

/// What a proxy is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Scope {
    /// Everything.
    All,
    /// What belongs to these Gateways: sorted (namespace, name).
    Gateways(Vec<(Name, Name)>),
}

impl Scope {
    /// Reads a node's metadata: `None` if it says nothing, an error if it cannot be understood.
    pub fn from_node(node: &Node) -> Result<Option<Self>, String> {
        let Some(value) = node.metadata.as_ref().and_then(lookup) else { return Ok(None) };
        let Some(ValueKind::ListValue(list)) = value else {
            return Err(format!("node metadata {METADATA_KEY} must be a list of namespace/name"));
        };
        let mut gateways = Vec::with_capacity(list.values.len());
        for value in &list.values {
            let Some(ValueKind::StringValue(text)) = &value.kind else {
                return Err(format!("node metadata {METADATA_KEY} holds something that is not text"));
            };
            match text.split_once('/') {
                Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                    gateways.push((namespace.into(), name.into()));
                }
                _ => return Err(format!("node metadata {METADATA_KEY}: {text:?} is not namespace/name")),
            }
        }
        gateways.sort();
        gateways.dedup();
        Ok(Some(Self::Gateways(gateways)))
    }

    /// Whether any of these Gateways is in it.
    pub fn sees(&self, gateways: &[GatewayId]) -> bool {
        match self {
            Self::All => true,
            Self::Gateways(own) => gateways
                .iter()
                .any(|id| own.iter().any(|(namespace, name)| *namespace == id.namespace && *name == id.name)),
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
    use envoy_types::pb::google::protobuf::{ListValue, Value};

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
    }

    #[test]
    fn a_node_that_says_nothing_has_no_scope_and_one_that_says_nonsense_is_told() {
        assert_eq!(Scope::from_node(&Node::default()), Ok(None));
        let error = Scope::from_node(&mk_node(&["public"])).unwrap_err();
        assert!(error.contains("\"public\" is not namespace/name"), "{error}");
    }
}
