//! Where a route attaches: from its reference to a Gateway and its hostnames to the listeners that take it,
//! and the domains that it serves there.

use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};

use super::gateway::{ListenerPlan, Plan};
use super::hostname;
use super::socket::{ListenerKey, Seats, route_config};
use super::status::reason;
use crate::model::{ListenerId, VirtualHostId};
use crate::resource::View;
use crate::resource::gateway::RoutesFrom;
use crate::resource::http_route::{HttpRoute, ParentRef};
use crate::resource::selector::Selector;

/// What attaching reads.
pub trait Ground {
    /// Whether a selector selects the namespace that the route is in.
    fn selects(&mut self, selector: &Selector) -> bool;

    /// Who sits on a socket.
    fn seats(&mut self, socket: &ListenerId) -> Option<Arc<Seats>>;
}

/// A listener that takes a route, and what the route serves there.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// The listener.
    pub listener: ListenerKey,
    /// Its port.
    pub port: u16,
    /// TLS is terminated.
    pub secure: bool,
    /// The virtual hosts that the route's rules are in. May be none, if other listeners are more specific for
    /// all of its hosts.
    pub hosts: Vec<VirtualHostId>,
}

/// Why no listener takes a route: reason and message, and whether that is a wait rather than a refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The condition's reason.
    pub reason: &'static str,
    /// The condition's message.
    pub message: String,
}

/// Attaches a route by one of its references, to the Gateway of `key`. The listeners are those that stand, are
/// named, allow it, and share a host with it.
pub fn attach(
    route: &View<HttpRoute>,
    parent: &ParentRef,
    key: &ObjectKey,
    gateway: &Plan,
    ground: &mut impl Ground,
) -> Result<Vec<Attached>, Refused> {
    let refused = |reason, message: String| Err(Refused { reason, message });
    if let Err((_, message)) = &gateway.acceptance {
        return refused(reason::PENDING, format!("the Gateway is not accepted: {message}"));
    }
    let named = |listener: &&ListenerPlan| {
        parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    };
    let listeners: Vec<&ListenerPlan> = gateway.listeners.iter().filter(named).collect();
    if listeners.is_empty() {
        let message = "the Gateway has no listener of this sectionName and port".to_owned();
        return refused(reason::NO_MATCHING_PARENT, message);
    }
    let mut allows = |listener: &&ListenerPlan| {
        let same = route.key().namespace == key.namespace;
        listener.takes_http_routes
            && match &listener.from {
                RoutesFrom::Same => same,
                RoutesFrom::All => true,
                RoutesFrom::None => false,
                RoutesFrom::Selector(selector) => ground.selects(selector),
            }
    };
    let listeners: Vec<_> = listeners.into_iter().filter(&mut allows).collect();
    if listeners.is_empty() {
        let message = "no listener allows routes of this kind from this namespace; see its allowedRoutes".to_owned();
        return refused(reason::NOT_ALLOWED_BY_LISTENERS, message);
    }
    let seated = listeners.into_iter().filter_map(|listener| {
        let sockets = sockets(listener, key, ground);
        (!sockets.is_empty()).then_some((listener, sockets))
    });
    let seated: Vec<_> = seated.collect();
    if seated.is_empty() {
        let message = "no listener that allows the route is accepted; see their conditions".to_owned();
        return refused(reason::PENDING, message);
    }
    let attached = seated.into_iter().filter_map(|(listener, sockets)| {
        let domains = hostname::intersect(&listener.domain, &route.spec.hostnames);
        (!domains.is_empty()).then(|| serve(listener, key, &sockets, &domains))
    });
    let attached: Vec<_> = attached.collect();
    if attached.is_empty() {
        let message = "no listener that allows the route shares a hostname with it".to_owned();
        return refused(reason::NO_MATCHING_LISTENER_HOSTNAME, message);
    }
    Ok(attached)
}

/// The sockets on which a listener has its seat.
fn sockets(listener: &ListenerPlan, gateway: &ObjectKey, ground: &mut impl Ground) -> Vec<(ListenerId, Arc<Seats>)> {
    if listener.fault.is_some() {
        return Vec::new();
    }
    let seat = |socket: &ListenerId| {
        let seats = ground.seats(socket)?;
        let holder = seats.by_domain.get(&listener.domain)?;
        (holder.gateway == *gateway && holder.name == listener.name).then_some((*socket, seats))
    };
    listener.sockets.iter().filter_map(seat).collect()
}

fn serve(
    listener: &ListenerPlan,
    gateway: &ObjectKey,
    sockets: &[(ListenerId, Arc<Seats>)],
    domains: &[Name],
) -> Attached {
    let key = ListenerKey { gateway: gateway.clone(), name: listener.name.clone() };
    let mut hosts = Vec::new();
    for (socket, seats) in sockets {
        let table = route_config(socket, listener.secure, &key);
        for domain in domains.iter().filter(|domain| seats.holder(domain) == Some(&key)) {
            let host = VirtualHostId { route_config: table.clone(), domain: domain.clone() };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    Attached { listener: key, port: listener.port, secure: listener.secure, hosts }
}
