//! EndpointSlice: where a Service's pods are, and whether they take traffic.

use std::net::IpAddr;

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::format;
use super::meta::Kind;
use super::shared::shared;

/// What we read of an EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSlice {
    /// The Service that it belongs to, from the label `kubernetes.io/service-name`.
    pub service: Option<Name>,
    /// Its TCP ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints that have an IP address.
    pub endpoints: Vec<SliceEndpoint>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicePort {
    /// The name of the Service's port; empty if that has none.
    pub name: Name,
    /// The port that the pods listen on.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceEndpoint {
    /// The first address; the others mean the same pod.
    pub address: IpAddr,
    /// Takes new requests. Unknown counts as ready.
    pub ready: bool,
    /// Takes requests, whether or not it is terminating. Unknown: as `ready`.
    pub serving: bool,
    /// Is shutting down.
    pub terminating: bool,
    /// Where it is.
    pub zone: Option<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    metadata: RawMeta,
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<RawPort>>,
    #[serde(default)]
    endpoints: Option<Vec<RawEndpoint>>,
}

#[derive(Deserialize)]
struct RawMeta {
    labels: Option<RawLabels>,
}

#[derive(Deserialize)]
struct RawLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

#[derive(Deserialize)]
struct RawPort {
    name: Option<String>,
    port: Option<i64>,
    protocol: Option<String>,
}

#[derive(Deserialize)]
struct RawEndpoint {
    addresses: Vec<String>,
    conditions: Option<RawConditions>,
    zone: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Kind for EndpointSlice {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let raw: Raw = from_json(raw, checks)?;
        let known = ["IPv4", "IPv6", "FQDN"].contains(&&*raw.address_type);
        checks.field("addressType", |c| c.ensure(known, "must be IPv4, IPv6 or FQDN"));
        let ports = checks.some("ports", 20_000, raw.ports.unwrap_or_default(), |c, port| {
            let number = c.field("port", |c| port.port.map(|number| format::port(c, number)));
            let is_tcp = port.protocol.as_deref().unwrap_or("TCP") == "TCP";
            // A slice port without a number means "all ports", which a Service's port never does.
            number
                .filter(|_| is_tcp)
                .map(|port_number| SlicePort { name: shared(&port.name.unwrap_or_default()), port: port_number })
        });
        let endpoints = checks.some("endpoints", 1_000, raw.endpoints.unwrap_or_default(), |c, endpoint| {
            let address = c.field("addresses", |c| address(c, &raw.address_type, &endpoint.addresses));
            let conditions = endpoint.conditions.unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            address.map(|address| SliceEndpoint {
                address,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                zone: endpoint.zone.as_deref().map(shared),
            })
        });
        Some(Self { service: raw.metadata.labels.and_then(|labels| labels.service).map(Into::into), ports, endpoints })
    }
}

fn address(c: &mut Checks, kind: &str, addresses: &[String]) -> Option<IpAddr> {
    let Some(first) = addresses.first() else {
        c.error("must have at least one address");
        return None;
    };
    if kind == "FQDN" {
        return None;
    }
    c.index(0, |c| match first.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() == (kind == "IPv4") => Some(address),
        _ => {
            c.error(format!("must be an address of the slice's type, {kind}"));
            None
        }
    })
}
