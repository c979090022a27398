//! Gateway: listeners, their addresses, certificates, and which routes may attach.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use tidegate_actors::id::Name;

use super::field::{Checks, from_json};
use super::format;
use super::labels::Labels;
use super::meta::Kind;
use super::selector::{RawSelector, Selector};
use super::types::GATEWAY_GROUP;

/// What we read of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The name of its GatewayClass.
    pub class: Name,
    /// Its labels, by which a shard may be told its Gateways.
    pub labels: Labels,
    /// In the order of the spec.
    pub listeners: Vec<GatewayListener>,
    /// Requested addresses.
    pub addresses: Vec<Address>,
    /// Whether it refers to parameters. We know none.
    pub has_parameters: bool,
    /// Whether it asks for the validation of client certificates, which we cannot do.
    pub validates_clients: bool,
}

/// A requested address.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// This address.
    Ip(IpAddr),
    /// Any address, to be chosen by us.
    Any,
    /// Some type that we cannot serve: type and value.
    Other(Name, Name),
}

/// A listener of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayListener {
    /// Its name, unique in the Gateway.
    pub name: Name,
    /// The hosts that it serves; all if absent.
    pub hostname: Option<Name>,
    /// Its port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, or whatever we cannot serve.
    pub protocol: Name,
    /// Its certificates, in order; `None` without a `tls` section.
    pub certificates: Option<Vec<ObjectReference>>,
    /// Whether it asks for the validation of client certificates.
    pub validates_clients: bool,
    /// Namespaces whose routes may attach.
    pub from: RoutesFrom,
    /// Kinds of routes that may attach, as group and kind; empty for what the protocol implies.
    pub kinds: Vec<(Name, Name)>,
}

/// Namespaces whose routes may attach to a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum RoutesFrom {
    /// The Gateway's own.
    Same,
    /// Any.
    All,
    /// Those with matching labels.
    Selector(Selector),
    /// None.
    None,
}

/// A reference to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectReference {
    /// Group; empty for the core group.
    pub group: Name,
    /// Kind.
    pub kind: Name,
    /// Namespace; that of the referrer if absent.
    pub namespace: Option<Name>,
    /// Name.
    pub name: Name,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    metadata: RawMeta,
    spec: RawSpec,
}

#[derive(Default, Deserialize)]
struct RawMeta {
    labels: Option<BTreeMap<String, String>>,
}

/// Of a Gateway that cannot be read: whose it is.
#[derive(Deserialize)]
struct Loose {
    spec: LooseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LooseSpec {
    gateway_class_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    gateway_class_name: String,
    listeners: Vec<RawListener>,
    #[serde(default)]
    addresses: Vec<RawAddress>,
    infrastructure: Option<RawInfrastructure>,
    tls: Option<RawGatewayTls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawInfrastructure {
    parameters_ref: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RawGatewayTls {
    frontend: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RawAddress {
    r#type: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawListener {
    name: String,
    hostname: Option<String>,
    port: i64,
    protocol: String,
    tls: Option<RawTls>,
    allowed_routes: Option<RawAllowed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTls {
    mode: Option<String>,
    #[serde(default)]
    certificate_refs: Vec<RawReference>,
    #[serde(default)]
    options: BTreeMap<String, String>,
    frontend_validation: Option<serde::de::IgnoredAny>,
}

/// As manifests spell a reference; the defaults differ by field.
#[derive(Deserialize)]
pub(super) struct RawReference {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
}

impl RawReference {
    /// Checks it; `group` and `kind` are what stands for absent ones.
    pub fn read(self, c: &mut Checks, default_group: &str, default_kind: &str) -> ObjectReference {
        let group = self.group.unwrap_or_else(|| default_group.to_owned());
        let kind = self.kind.unwrap_or_else(|| default_kind.to_owned());
        ObjectReference {
            group: c.field("group", |c| format::group(c, group)),
            kind: c.field("kind", |c| format::kind(c, kind)),
            namespace: c.field("namespace", |c| self.namespace.map(|name| format::namespace(c, name))),
            name: c.field("name", |c| format::object_name(c, self.name)),
        }
    }
}

#[derive(Deserialize)]
struct RawAllowed {
    namespaces: Option<RawNamespaces>,
    #[serde(default)]
    kinds: Vec<RawKind>,
}

#[derive(Deserialize)]
struct RawNamespaces {
    from: Option<String>,
    selector: Option<RawSelector>,
}

#[derive(Deserialize)]
struct RawKind {
    group: Option<String>,
    kind: String,
}

impl Kind for Gateway {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let Raw { metadata, spec } = from_json(raw, checks)?;
        Some(checks.field("spec", |c| {
            c.field("listeners", |c| c.ensure(!spec.listeners.is_empty(), "must have at least one listener"));
            let listeners = c.each("listeners", 64, spec.listeners, listener);
            c.field("listeners", |c| distinct(c, &listeners));
            Self {
                class: c.field("gatewayClassName", |c| format::object_name(c, spec.gateway_class_name)),
                labels: metadata.labels.unwrap_or_default().into(),
                listeners,
                addresses: c.each("addresses", 16, spec.addresses, address),
                has_parameters: spec.infrastructure.is_some_and(|i| i.parameters_ref.is_some()),
                validates_clients: spec.tls.is_some_and(|tls| tls.frontend.is_some()),
            }
        }))
    }
}

impl Gateway {
    /// The class that an object names that may otherwise be broken.
    pub fn class_of(raw: &[u8]) -> Option<Name> {
        let loose: Loose = serde_json::from_slice(raw).ok()?;
        Some(loose.spec.gateway_class_name.into())
    }
}

fn listener(c: &mut Checks, raw: RawListener) -> GatewayListener {
    let protocol = raw.protocol;
    c.field("protocol", |c| {
        c.ensure(matches!(protocol.len(), 1..=255), "must be a protocol of 1 to 255 characters");
    });
    let hostname = raw.hostname.filter(|hostname| !hostname.is_empty());
    if hostname.is_some() && ["TCP", "UDP"].contains(&&*protocol) {
        c.field("hostname", |c| c.error("must not be set for this protocol"));
    }
    c.field("tls", |c| tls(c, &protocol, raw.tls.as_ref()));
    let allowed = raw.allowed_routes.unwrap_or(RawAllowed { namespaces: None, kinds: Vec::new() });
    let (from, kinds) = c.field("allowedRoutes", |c| allowed_routes(c, allowed));
    let validates_clients = raw.tls.as_ref().is_some_and(|tls| tls.frontend_validation.is_some());
    GatewayListener {
        name: c.field("name", |c| format::section_name(c, raw.name)),
        hostname: c.field("hostname", |c| hostname.map(|hostname| format::hostname(c, hostname))),
        port: c.field("port", |c| format::port(c, raw.port)),
        validates_clients,
        certificates: raw.tls.map(|tls| {
            let each = |c: &mut Checks, r: RawReference| r.read(c, "", "Secret");
            c.field("tls", |c| c.each("certificateRefs", 64, tls.certificate_refs, each))
        }),
        protocol: protocol.into(),
        from,
        kinds,
    }
}

fn tls(c: &mut Checks, protocol: &str, tls: Option<&RawTls>) {
    let mode = tls.map(|tls| tls.mode.as_deref().unwrap_or("Terminate"));
    match (protocol, mode) {
        ("HTTP" | "TCP" | "UDP", Some(_)) => c.error("must not be set for this protocol"),
        ("HTTPS", Some(mode)) if mode != "Terminate" => {
            c.field("mode", |c| c.error("must be Terminate for the protocol HTTPS"));
        }
        ("TLS", None) => c.error("must be set for the protocol TLS"),
        (_, Some(mode)) if !["Terminate", "Passthrough"].contains(&mode) => {
            c.field("mode", |c| c.error("must be Terminate or Passthrough"));
        }
        _ => {}
    }
    let nothing = |tls: &RawTls| tls.certificate_refs.is_empty() && tls.options.is_empty();
    if mode == Some("Terminate") && tls.is_some_and(nothing) {
        c.field("certificateRefs", |c| c.error("must name at least one certificate to terminate TLS"));
    }
}

fn allowed_routes(c: &mut Checks, raw: RawAllowed) -> (RoutesFrom, Vec<(Name, Name)>) {
    let kinds = c.each("kinds", 8, raw.kinds, |c, raw| {
        let group = raw.group.unwrap_or_else(|| GATEWAY_GROUP.to_owned());
        (c.field("group", |c| format::group(c, group)), c.field("kind", |c| format::kind(c, raw.kind)))
    });
    let raw = raw.namespaces.unwrap_or(RawNamespaces { from: None, selector: None });
    let from = c.field("namespaces", |c| match (raw.from.as_deref().unwrap_or("Same"), raw.selector) {
        ("Same", _) => RoutesFrom::Same,
        ("All", _) => RoutesFrom::All,
        ("None", _) => RoutesFrom::None,
        ("Selector", Some(selector)) => RoutesFrom::Selector(c.field("selector", |c| selector.read(c))),
        // The specification leaves this open; selecting nothing is the answer that opens nothing.
        ("Selector", None) => RoutesFrom::None,
        _ => {
            c.field("from", |c| c.error("must be Same, All, Selector or None"));
            RoutesFrom::None
        }
    });
    (from, kinds)
}

fn address(c: &mut Checks, raw: RawAddress) -> Address {
    let kind = raw.r#type.unwrap_or_else(|| "IPAddress".to_owned());
    let value = raw.value.unwrap_or_default();
    match (&*kind, value.parse::<IpAddr>()) {
        ("IPAddress", Ok(address)) => Address::Ip(address),
        ("IPAddress", Err(_)) if value.is_empty() => Address::Any,
        ("IPAddress", Err(_)) => {
            c.field("value", |c| c.error("must be an IPv4 or IPv6 address"));
            Address::Any
        }
        ("Hostname", _) => {
            let ok = value.is_empty() || format::is_hostname(&value);
            c.field("value", |c| c.ensure(ok, "must be a hostname"));
            Address::Other(kind.into(), value.into())
        }
        _ => {
            let ok =
                kind.split_once('/').is_some_and(|(domain, path)| format::is_subdomain(domain) && !path.is_empty());
            c.field("type", |c| {
                c.ensure(ok, "must be IPAddress, Hostname or a domain and a name with a slash between")
            });
            Address::Other(kind.into(), value.into())
        }
    }
}

/// Each listener needs a name of its own, and a combination of port, protocol and hostname of its own.
fn distinct(c: &mut Checks, listeners: &[GatewayListener]) {
    for (at, listener) in listeners.iter().enumerate() {
        c.index(at, |c| {
            for earlier in &listeners[..at] {
                let place = |l: &GatewayListener| (l.port, l.protocol.clone(), l.hostname.clone());
                if earlier.name == listener.name {
                    c.field("name", |c| c.error("is the name of an earlier listener; each needs its own"));
                } else if place(earlier) == place(listener) {
                    c.error(format!("has the port, protocol and hostname of the listener {}", earlier.name));
                }
            }
        });
    }
}
