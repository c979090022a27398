//! `gateway`: which Gateways are ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tidegate_actors::store::Selector;

use super::problem::Check;
use super::{Kubernetes, SourceConfig};

/// Which Gateways are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// GatewayClasses with this `spec.controllerName` are ours.
    pub controller_name: String,
    /// This shard's GatewayClasses: of all that have the controller's name, only Gateways of these are ours. Empty: all.
    pub classes: Vec<String>,
    /// This shard's Gateways: only those are ours whose labels match this selector, such as `shard=a` or `!shard`.
    /// Without it, all.
    pub selector: Option<String>,
    /// Which addresses endpoints may have although they lead to the proxy's own machine (loopback) or network segment
    /// (link_local, metadata services of clouds included). Without these, such endpoints get no traffic, and are named.
    pub allow_backends: Vec<BackendRange>,
    /// Resource types, as `plural.group`, that must have synced (or be known to be absent) before a first
    /// configuration is published. Empty: all types that the gateway reads.
    pub required_types: Vec<String>,
}

/// Addresses of endpoints that are refused unless the config allows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum BackendRange {
    /// The proxy's own machine.
    Loopback,
    /// The proxy's own network segment.
    LinkLocal,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            controller_name: "tidegate.dev/gateway-controller".to_owned(),
            classes: Vec::new(),
            selector: None,
            allow_backends: Vec::new(),
            required_types: Vec::new(),
        }
    }
}

impl Gateway {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        // Gateway API, GatewayController: a domain, a slash, a path.
        let parts = self.controller_name.split_once('/');
        let good = parts.is_some_and(|(domain, path)| domain.contains('.') && !path.is_empty());
        check.ensure(good, "controller_name", "must be a domain and a path, such as example.com/gateway-controller");
        for (index, class) in self.classes.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            let good = (1..=253).contains(&class.len()) && class.chars().all(plain);
            let key = format!("classes[{index}]");
            check.ensure(good, &key, "is no GatewayClass's name: at most 253 of a-z, 0-9, - and .");
            check.ensure(!self.classes[..index].contains(class), &key, "is listed twice");
        }
        if let Some(selector) = &self.selector {
            match selector.parse::<Selector>() {
                Err(error) => check.problem("selector", error.to_string()),
                Ok(parsed) if parsed.requirements().is_empty() => {
                    check.problem("selector", "selects everything; leave it out for that");
                }
                Ok(_) => {}
            }
        }
        for (index, range) in self.allow_backends.iter().enumerate() {
            let twice = self.allow_backends[..index].contains(range);
            check.ensure(!twice, &format!("allow_backends[{index}]"), "is listed twice");
        }
        for (index, name) in self.required_types.iter().enumerate() {
            let plain = !name.is_empty() && !name.contains(['/', '*', ' ']);
            check.ensure(
                plain,
                &format!("required_types[{index}]"),
                "must be `plural.group`, such as httproutes.gateway.networking.k8s.io",
            );
        }
    }

    /// Whether only a part of the controller's Gateways are ours.
    pub fn is_shard(&self) -> bool {
        !self.classes.is_empty() || self.selector.is_some()
    }

    /// The selector, parsed; one that does not parse was refused before.
    pub fn labels(&self) -> Selector {
        self.selector.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A shard that had the Lease of another would wait for it to end, and its Gateways would be told nothing.
    pub(crate) fn check_leases(&self, sources: &[SourceConfig], check: &mut Check<'_>) {
        let shared = Kubernetes::default().status.lease.name;
        let key = if self.selector.is_some() { "selector" } else { "classes" };
        for source in sources.iter().filter(|_| self.is_shard()) {
            let status = source.section::<Kubernetes>().map(|kubernetes| &kubernetes.status);
            if status.is_some_and(|status| status.write && status.lease.name == shared) {
                let name = &source.name;
                let reason = format!(
                    "makes this a shard, which needs a Lease of its own: set `status.lease.name` of the source `{name}` \
                     to one that no other shard has, such as {shared}-a"
                );
                check.problem(key, reason);
            }
        }
    }
}
