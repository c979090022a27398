//! Service: its ports. Where its pods are is in EndpointSlices.

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::format;
use super::meta::Kind;

/// What we read of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// An alias for a name in DNS, which we do not follow (the Gateway API advises against it, CVE-2021-25740).
    pub is_external_name: bool,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// Its name, by which EndpointSlices know it; empty if the only port has none.
    pub name: Name,
    /// Its number.
    pub port: u16,
    /// Whether it is TCP.
    pub is_tcp: bool,
    /// What is spoken on it.
    pub app_protocol: Option<Name>,
}

impl Service {
    /// The TCP port of this number, or else any other of it.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        let mut of_number = self.ports.iter().filter(|port| port.port == number);
        let first = of_number.next()?;
        if first.is_tcp { Some(first) } else { of_number.find(|port| port.is_tcp).or(Some(first)) }
    }
}

#[derive(Deserialize)]
struct Raw {
    spec: RawSpec,
}

#[derive(Deserialize)]
struct RawSpec {
    r#type: Option<String>,
    #[serde(default)]
    ports: Vec<RawPort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    port: i64,
    protocol: Option<String>,
    app_protocol: Option<String>,
}

impl Kind for Service {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let Raw { spec } = from_json(raw, checks)?;
        Some(checks.field("spec", |c| {
            c.field("type", |c| {
                let known = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
                let ok = spec.r#type.as_deref().is_none_or(|kind| known.contains(&kind));
                c.ensure(ok, "must be ClusterIP, NodePort, LoadBalancer or ExternalName");
            });
            let several = spec.ports.len() > 1;
            let ports = c.each("ports", usize::MAX, spec.ports, |c, port| {
                let name = port.name.unwrap_or_default();
                c.field("name", |c| {
                    c.ensure(!several || !name.is_empty(), "is required where there are several ports");
                    c.ensure(
                        name.is_empty() || format::is_label(&name),
                        "must be a name of lower case letters, digits and dashes",
                    );
                });
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                c.field("protocol", |c| {
                    c.ensure(["TCP", "UDP", "SCTP"].contains(&protocol), "must be TCP, UDP or SCTP")
                });
                ServicePort {
                    name: name.into(),
                    port: c.field("port", |c| format::port(c, port.port)),
                    is_tcp: protocol == "TCP",
                    app_protocol: port.app_protocol.map(Into::into),
                }
            });
            Self { is_external_name: spec.r#type.as_deref() == Some("ExternalName"), ports }
        }))
    }
}
