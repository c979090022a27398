//! `gateway`: which Gateways are ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;

/// Which Gateways are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// GatewayClasses with this `spec.controllerName` are ours.
    pub controller_name: String,
    /// Resource types, as `plural.group`, that must have synced (or be known to be absent) before a first
    /// configuration is published. Empty: all types that the gateway reads.
    pub required_types: Vec<String>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { controller_name: "tidegate.dev/gateway-controller".to_owned(), required_types: Vec::new() }
    }
}

impl Gateway {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        // Gateway API, GatewayController: a domain, a slash, a path.
        let parts = self.controller_name.split_once('/');
        let good = parts.is_some_and(|(domain, path)| domain.contains('.') && !path.is_empty());
        check.ensure(good, "controller_name", "must be a domain and a path, such as example.com/gateway-controller");
        for (index, name) in self.required_types.iter().enumerate() {
            let plain = !name.is_empty() && !name.contains(['/', '*', ' ']);
            check.ensure(
                plain,
                &format!("required_types[{index}]"),
                "must be `plural.group`, such as httproutes.gateway.networking.k8s.io",
            );
        }
    }
}
