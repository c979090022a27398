//! What Gateways and GatewayClasses are told.

use tidegate_actors::id::Name;

use super::certificate::Certificates;
use super::gateway::{Acceptance, Fault, ListenerPlan, Plan};
use super::socket::{ListenerKey, Lost};
use super::status::{
    ClassStatus, Condition, GatewayStatus, ListenerStatus, RouteKind, StatusAddress, Truth, condition, reason,
};
use crate::resource::View;
use crate::resource::gateway::Gateway;
use crate::resource::gateway_class::GatewayClass;
use crate::resource::types::GATEWAY_GROUP;

/// What a class is told.
pub fn class_status(class: &View<GatewayClass>, acceptance: &Acceptance) -> ClassStatus {
    let (status, reason, message) = match acceptance {
        Ok(()) => (Truth::True, reason::ACCEPTED, "Gateways of this class are served".to_owned()),
        Err((reason, message)) => (Truth::False, *reason, message.clone()),
    };
    ClassStatus { conditions: vec![Condition::new(condition::ACCEPTED, status, reason, message, class.generation)] }
}

/// What a Gateway is told of which nothing is served.
pub fn refused(accepted: Condition) -> GatewayStatus {
    let programmed = Condition::new(
        condition::PROGRAMMED,
        Truth::False,
        reason::INVALID,
        "it is not accepted",
        accepted.observed_generation,
    );
    GatewayStatus { addresses: Vec::new(), conditions: vec![accepted, programmed], listeners: Vec::new() }
}

/// What is known of a listener beyond its own Gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerFacts {
    /// Sockets on which it has its seat.
    pub seats: usize,
    /// Why it lost a seat.
    pub lost: Option<Lost>,
    /// Its certificates, if it terminates TLS.
    pub certificates: Option<Certificates>,
    /// Names of the listeners with overlapping hosts, if it terminates TLS.
    pub overlapping: Vec<String>,
    /// Routes that are attached to it.
    pub attached_routes: usize,
}

/// What a Gateway is told; one entry of `facts` for each listener, in order.
pub fn gateway_status(gateway: &View<Gateway>, plan: &Plan, facts: &[ListenerFacts]) -> GatewayStatus {
    let listeners: Vec<ListenerStatus> = plan
        .listeners
        .iter()
        .zip(facts)
        .map(|(listener, facts)| listener_status(gateway, plan, listener, facts))
        .collect();
    let holds = |of: &ListenerStatus, kind: &str| {
        of.conditions.iter().any(|condition| condition.r#type == kind && condition.status == Truth::True)
    };
    let rejected: Vec<&str> = listeners.iter().filter(|l| !holds(l, condition::ACCEPTED)).map(|l| &*l.name).collect();
    let unprogrammed: Vec<&str> =
        listeners.iter().filter(|l| !holds(l, condition::PROGRAMMED)).map(|l| &*l.name).collect();
    let condition =
        |kind, status, reason, message: String| Condition::new(kind, status, reason, message, gateway.generation);
    let accepted = match &plan.acceptance {
        Err((reason, message)) => {
            let status = if *reason == reason::PENDING { Truth::Unknown } else { Truth::False };
            condition(condition::ACCEPTED, status, reason, message.clone())
        }
        Ok(()) if rejected.len() == listeners.len() => {
            let message = "no listener is valid; see their conditions".to_owned();
            condition(condition::ACCEPTED, Truth::False, reason::LISTENERS_NOT_VALID, message)
        }
        Ok(()) if !rejected.is_empty() => {
            let message = format!("served without the listeners {}; see their conditions", rejected.join(", "));
            condition(condition::ACCEPTED, Truth::True, reason::LISTENERS_NOT_VALID, message)
        }
        Ok(()) => condition(condition::ACCEPTED, Truth::True, reason::ACCEPTED, "all listeners are valid".to_owned()),
    };
    let programmed = match accepted.status {
        Truth::Unknown => {
            condition(condition::PROGRAMMED, Truth::Unknown, reason::PENDING, "it is not accepted".to_owned())
        }
        Truth::True if unprogrammed.len() < listeners.len() => {
            let message = match &*unprogrammed.join(", ") {
                "" => "all listeners are served".to_owned(),
                names => format!("served without the listeners {names}; see their conditions"),
            };
            condition(condition::PROGRAMMED, Truth::True, reason::PROGRAMMED, message)
        }
        _ => condition(condition::PROGRAMMED, Truth::False, reason::INVALID, "no listener is served".to_owned()),
    };
    let is_served = programmed.status == Truth::True;
    // Who binds every address has none to name; where it can be reached, others know.
    let addresses = plan.addresses.iter().filter(|address| is_served && !address.is_unspecified());
    let addresses =
        addresses.map(|address| StatusAddress { r#type: "IPAddress".into(), value: address.to_string().into() });
    GatewayStatus { addresses: addresses.collect(), conditions: vec![accepted, programmed], listeners }
}

fn listener_status(
    gateway: &View<Gateway>,
    plan: &Plan,
    listener: &ListenerPlan,
    facts: &ListenerFacts,
) -> ListenerStatus {
    let condition =
        |kind, status, reason, message: String| Condition::new(kind, status, reason, message, gateway.generation);
    let conflict = conflict(listener, facts);
    let accepted = match (&listener.fault, &conflict) {
        (Some(Fault::Protocol), _) => {
            let message = "HTTP and HTTPS are served, no other protocol".to_owned();
            condition(condition::ACCEPTED, Truth::False, reason::UNSUPPORTED_PROTOCOL, message)
        }
        (Some(Fault::Value(message)), _) => {
            condition(condition::ACCEPTED, Truth::False, reason::UNSUPPORTED_VALUE, (*message).to_owned())
        }
        // A listener that lost one of several addresses is served on the others.
        (fault, Some((_, message))) if fault.is_some() || facts.seats == 0 => {
            condition(condition::ACCEPTED, Truth::False, reason::PORT_UNAVAILABLE, message.clone())
        }
        _ => condition(condition::ACCEPTED, Truth::True, reason::ACCEPTED, "the listener is valid".to_owned()),
    };
    let resolved = resolved(listener, facts);
    let has_certificate = facts.certificates.as_ref().is_none_or(|certificates| !certificates.usable.is_empty());
    let programmed = if accepted.status != Truth::True {
        (Truth::False, reason::INVALID, "the listener is not accepted".to_owned())
    } else if plan.acceptance.is_err() {
        (Truth::False, reason::PENDING, "the Gateway is not accepted".to_owned())
    } else if !has_certificate {
        (Truth::False, reason::INVALID, "there is no certificate to serve".to_owned())
    } else {
        (Truth::True, reason::PROGRAMMED, "the listener is served".to_owned())
    };
    let conflicted = match conflict {
        Some((reason, message)) => (Truth::True, reason, message),
        None => (Truth::False, reason::NO_CONFLICTS, "the listener is distinct".to_owned()),
    };
    let mut conditions = vec![
        accepted,
        condition(condition::PROGRAMMED, programmed.0, programmed.1, programmed.2),
        condition(condition::RESOLVED_REFS, resolved.0, resolved.1, resolved.2),
        condition(condition::CONFLICTED, conflicted.0, conflicted.1, conflicted.2),
    ];
    if !facts.overlapping.is_empty() {
        let message = format!(
            "shares hosts with {}; a client may reuse a connection, which is then answered 421",
            facts.overlapping.join(", ")
        );
        let reason = reason::OVERLAPPING_HOSTNAMES;
        conditions.push(condition(condition::OVERLAPPING_TLS_CONFIG, Truth::True, reason, message));
    }
    let kind: Name = "HTTPRoute".into();
    let supported = listener.takes_http_routes.then(|| RouteKind { group: GATEWAY_GROUP.into(), kind });
    ListenerStatus {
        name: listener.name.clone(),
        supported_kinds: supported.into_iter().collect(),
        attached_routes: facts.attached_routes,
        conditions,
    }
}

fn resolved(listener: &ListenerPlan, facts: &ListenerFacts) -> (Truth, &'static str, String) {
    if let Some((reason, message)) = facts.certificates.as_ref().and_then(|c| c.problem.clone()) {
        return (Truth::False, reason, message);
    }
    if !listener.unknown_kinds.is_empty() {
        let message = format!("{} cannot attach to a listener of its protocol", listener.unknown_kinds.join(", "));
        return (Truth::False, reason::INVALID_ROUTE_KINDS, message);
    }
    (Truth::True, reason::RESOLVED_REFS, "all references are resolved".to_owned())
}

fn conflict(listener: &ListenerPlan, facts: &ListenerFacts) -> Option<(&'static str, String)> {
    let foreign = |other: &ListenerKey| {
        format!("{} of the Gateway {}/{}", other.name, other.gateway.namespace_or_empty(), other.gateway.name)
    };
    let protocol = |other: String| {
        (reason::PROTOCOL_CONFLICT, format!("the listener {other} speaks another protocol on port {}", listener.port))
    };
    let hostname = |other: String| {
        (reason::HOSTNAME_CONFLICT, format!("the listener {other} has the same hostname on port {}", listener.port))
    };
    match (&listener.fault, &facts.lost) {
        (Some(Fault::ProtocolConflict(other)), _) => Some(protocol(other.to_string())),
        (Some(Fault::HostnameConflict(other)), _) => Some(hostname(other.to_string())),
        (None, Some(Lost::Protocol(other))) => Some(protocol(foreign(other))),
        (None, Some(Lost::Domain(other))) => Some(hostname(foreign(other))),
        _ => None,
    }
}
