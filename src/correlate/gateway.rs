//! What a Gateway is by itself: whether it is ours and can be accepted, where its listeners are, which of them
//! stand, and what they ask of routes.

use std::net::IpAddr;

use tidegate_actors::id::Name;

use super::claims::Contest;
use super::hostname;
use super::settings::Settings;
use super::socket::{Claim, ListenerKey, Seniority};
use super::status::reason;
use crate::model::ListenerId;
use crate::resource::View;
use crate::resource::gateway::{Address, Gateway, GatewayListener, RoutesFrom};
use crate::resource::gateway_class::GatewayClass;
use crate::resource::types::GATEWAY_GROUP;

/// Whether a Gateway is accepted; `Err` has the reason and the message.
pub type Acceptance = Result<(), (&'static str, String)>;

/// A Gateway that exists.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownGateway {
    /// Of one of our classes.
    Ours(Plan),
    /// Of one of our classes, but another source's Gateway of the name comes first: as good as absent to all but
    /// its own status.
    SetAside(Contest),
    /// Of one of our controller's classes, and another shard's.
    AnotherShards,
    /// Of somebody else's.
    Foreign,
}

/// A Gateway of ours, looked at alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Whether it can be served at all.
    pub acceptance: Acceptance,
    /// Where it is served.
    pub addresses: Vec<IpAddr>,
    /// In the order of the spec.
    pub listeners: Vec<ListenerPlan>,
}

/// A listener, looked at with those of its Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerPlan {
    /// Its name.
    pub name: Name,
    /// Its port.
    pub port: u16,
    /// Its hosts.
    pub domain: Name,
    /// TLS is terminated.
    pub secure: bool,
    /// Why it cannot be served, if so.
    pub fault: Option<Fault>,
    /// HTTPRoutes may attach.
    pub takes_http_routes: bool,
    /// `allowedRoutes` names a kind that we cannot attach to it.
    pub unknown_kinds: Vec<Name>,
    /// Namespaces whose routes may attach.
    pub from: RoutesFrom,
    /// The sockets that it claims.
    pub sockets: Vec<ListenerId>,
}

/// Why a listener cannot be served.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// What it speaks is nothing that we can do.
    Protocol,
    /// It asks for something that we cannot do.
    Value(&'static str),
    /// Another listener of the Gateway has the port and speaks something else.
    ProtocolConflict(Name),
    /// Another listener of the Gateway has the port and the hostname.
    HostnameConflict(Name),
}

impl KnownGateway {
    /// Whether it is there for those who refer to it.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::SetAside(_))
    }
}

/// Whether a class accepts Gateways; `None` if it is not ours.
pub fn class_acceptance(settings: &Settings, class: &View<GatewayClass>) -> Option<Acceptance> {
    let ours = class.spec.controller == settings.controller && settings.shard.takes_class(&class.key().name);
    ours.then(|| {
        if class.spec.has_parameters {
            return Err((reason::INVALID_PARAMETERS, "parametersRef is not supported; remove it".to_owned()));
        }
        Ok(())
    })
}

/// Looks at a Gateway of one of our classes.
pub fn plan(settings: &Settings, class: &Acceptance, gateway: &Gateway) -> Plan {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in &gateway.addresses {
        let address = match address {
            Address::Ip(address) => *address,
            Address::Any => settings.bind,
            Address::Other(..) => continue,
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if gateway.addresses.is_empty() {
        addresses.push(settings.bind);
    }
    let listeners = gateway.listeners.iter().map(|listener| listener_plan(gateway, listener, &addresses));
    let listeners: Vec<_> = listeners.collect();
    Plan { acceptance: acceptance(class, gateway, &listeners), addresses, listeners }
}

fn acceptance(class: &Acceptance, gateway: &Gateway, listeners: &[ListenerPlan]) -> Acceptance {
    if class.is_err() {
        return Err((reason::PENDING, format!("the GatewayClass {} is not accepted", gateway.class)));
    }
    if gateway.has_parameters {
        let message = "infrastructure.parametersRef is not supported; remove it";
        return Err((reason::INVALID_PARAMETERS, message.to_owned()));
    }
    let unsupported = gateway.addresses.iter().find_map(|address| match address {
        Address::Other(kind, value) => Some(format!("{kind} {value}")),
        _ => None,
    });
    if let Some(address) = unsupported {
        let message = format!("addresses of the type IPAddress are served, not {address}");
        return Err((reason::UNSUPPORTED_ADDRESS, message));
    }
    if listeners.iter().all(|listener| listener.fault.is_some()) {
        return Err((reason::LISTENERS_NOT_VALID, "no listener is valid; see their conditions".to_owned()));
    }
    Ok(())
}

fn listener_plan(gateway: &Gateway, listener: &GatewayListener, addresses: &[IpAddr]) -> ListenerPlan {
    let is_http = ["HTTP", "HTTPS"].contains(&&*listener.protocol);
    let is_http_route = |(group, kind): &&(Name, Name)| &**group == GATEWAY_GROUP && &**kind == "HTTPRoute";
    let known = listener.kinds.iter().filter(is_http_route).count();
    let unknown = listener.kinds.iter().filter(|kind| !is_http || !is_http_route(kind));
    let sockets = addresses.iter().map(|address| ListenerId { address: *address, port: listener.port });
    ListenerPlan {
        name: listener.name.clone(),
        port: listener.port,
        domain: hostname::domain(listener.hostname.as_ref()),
        secure: &*listener.protocol == "HTTPS",
        fault: fault(gateway, listener),
        takes_http_routes: is_http && (listener.kinds.is_empty() || known > 0),
        unknown_kinds: unknown.map(|(_, kind)| kind.clone()).collect(),
        from: listener.from.clone(),
        sockets: sockets.collect(),
    }
}

fn fault(gateway: &Gateway, listener: &GatewayListener) -> Option<Fault> {
    if !["HTTP", "HTTPS"].contains(&&*listener.protocol) {
        return Some(Fault::Protocol);
    }
    if &*listener.protocol == "HTTPS" && (listener.validates_clients || gateway.validates_clients) {
        return Some(Fault::Value("the validation of client certificates is not supported"));
    }
    let others = gateway.listeners.iter().filter(|other| other.name != listener.name && other.port == listener.port);
    for other in others.filter(|other| ["HTTP", "HTTPS"].contains(&&*other.protocol)) {
        if other.protocol != listener.protocol {
            return Some(Fault::ProtocolConflict(other.name.clone()));
        }
        if hostname::domain(other.hostname.as_ref()) == hostname::domain(listener.hostname.as_ref()) {
            return Some(Fault::HostnameConflict(other.name.clone()));
        }
    }
    None
}

/// What the listeners of a Gateway that is accepted claim, socket by socket.
pub fn claims(gateway: &View<Gateway>, plan: &Plan) -> Vec<(ListenerId, Seniority, Claim)> {
    if plan.acceptance.is_err() {
        return Vec::new();
    }
    let key = gateway.key();
    let name = format!("{}/{}", key.namespace_or_empty(), key.name);
    let standing = plan.listeners.iter().enumerate().filter(|(_, listener)| listener.fault.is_none());
    let claims = standing.flat_map(|(at, listener)| {
        let seniority = Seniority {
            created: if gateway.created == 0 { i64::MAX } else { gateway.created },
            gateway: (name.clone(), key.source.clone()),
            listener: at,
        };
        let claim = Claim {
            listener: ListenerKey { gateway: key.clone(), name: listener.name.clone() },
            secure: listener.secure,
            domain: listener.domain.clone(),
        };
        listener.sockets.iter().map(move |socket| (*socket, seniority.clone(), claim.clone()))
    });
    claims.collect()
}
