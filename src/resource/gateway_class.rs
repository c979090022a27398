//! GatewayClass: which controller serves the Gateways of a class.

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::meta::Kind;

/// What we read of a GatewayClass.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayClass {
    /// `spec.controllerName`.
    pub controller: Name,
    /// Whether it has a `parametersRef`. We know no parameters.
    pub has_parameters: bool,
}

#[derive(Deserialize)]
struct Raw {
    spec: RawSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    controller_name: String,
    parameters_ref: Option<serde::de::IgnoredAny>,
}

impl Kind for GatewayClass {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let Raw { spec } = from_json(raw, checks)?;
        checks.field("spec", |c| {
            c.field("controllerName", |c| {
                let parts = spec.controller_name.split_once('/');
                let ok = parts.is_some_and(|(domain, path)| super::format::is_subdomain(domain) && !path.is_empty());
                c.ensure(ok && spec.controller_name.len() <= 253, "must be a domain, a slash and a path");
            });
        });
        Some(Self { controller: spec.controller_name.into(), has_parameters: spec.parameters_ref.is_some() })
    }
}
