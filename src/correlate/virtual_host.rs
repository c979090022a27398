//! The model's listeners and virtual hosts, put together from seats, certificates and routes.

use std::cmp::Reverse;
use std::sync::Arc;

use super::certificate::Certificates;
use super::hostname;
use super::route::HostKey;
use super::socket::{BareHost, ListenerKey, Seats, route_config};
use crate::model::{
    FilterChain, GatewayId, Listener, ListenerId, Match, PathMatch, Policies, Precedence, Protocol, Route, RouteAction,
    RouteFilters, SecretId, Seq, TlsTermination, VirtualHost, VirtualHostId,
};
use crate::resource::types;
use tidegate_actors::id::ObjectRef;

/// What a socket does; nothing, if none of its listeners can be served.
pub fn listener(
    socket: &ListenerId,
    seats: &Seats,
    mut certificates: impl FnMut(&ListenerKey) -> Option<Arc<Certificates>>,
) -> Option<Listener> {
    let chains = if seats.secure {
        let chain = |(domain, key): (&tidegate_actors::id::Name, &ListenerKey)| {
            let usable = certificates(key)?.usable.clone();
            let name = route_config(socket, true, key);
            let server_names = if &**domain == hostname::ALL { Vec::new() } else { vec![domain.clone()] };
            let tls = TlsTermination { server_names: server_names.into(), certificates: usable.into() };
            (!tls.certificates.is_empty()).then(|| FilterChain {
                name: name.clone(),
                gateways: vec![key.gateway_id()],
                protocol: Protocol::Https(tls),
                route_config: name,
                policies: Policies::default(),
                listeners: vec![(origin(key), key.name.clone())],
                origins: vec![origin(key)],
            })
        };
        seats.by_domain.iter().filter_map(chain).collect()
    } else {
        let mut keys: Vec<&ListenerKey> = seats.by_domain.values().collect();
        keys.sort();
        let listeners = keys.iter().map(|key| (origin(key), key.name.clone())).collect();
        keys.dedup_by(|a, b| a.gateway == b.gateway);
        let route_config = format!("http/{socket}").into();
        let mut gateways: Vec<GatewayId> = keys.iter().map(|key| key.gateway_id()).collect();
        gateways.sort();
        let origins = keys.iter().map(|key| origin(key)).collect();
        let (name, protocol, policies) = ("http".into(), Protocol::Http, Policies::default());
        vec![FilterChain { name, gateways, protocol, route_config, policies, listeners, origins }]
    };
    (!chains.is_empty()).then_some(Listener { id: *socket, chains })
}

/// The certificates that a socket serves, and for which Gateway.
pub fn certificates(listener: &Listener) -> impl Iterator<Item = (SecretId, GatewayId)> {
    listener.chains.iter().flat_map(|chain| {
        let certificates = match &chain.protocol {
            Protocol::Https(tls) => &tls.certificates[..],
            Protocol::Http => &[],
        };
        let users =
            certificates.iter().flat_map(|id| chain.gateways.iter().map(|gateway| (id.clone(), gateway.clone())));
        users.collect::<Vec<_>>()
    })
}

/// A virtual host that routes are in.
pub fn with_routes(host: &HostKey, routes: &Seq<Precedence, Route>) -> VirtualHost {
    VirtualHost {
        id: host.id.clone(),
        gateway: host.gateway.clone(),
        routes: routes.clone(),
        policies: Policies::default(),
    }
}

/// A virtual host that is there without any route.
pub fn bare(id: VirtualHostId, host: &BareHost) -> VirtualHost {
    let routes = host.misdirected.then(|| misdirected(&host.listener));
    VirtualHost {
        id,
        gateway: host.listener.gateway_id(),
        routes: routes.into_iter().collect(),
        policies: Policies::default(),
    }
}

fn misdirected(listener: &ListenerKey) -> (Precedence, Arc<Route>) {
    let place = Precedence {
        path_kind: 2,
        path_len: Reverse(1),
        method: Reverse(false),
        headers: Reverse(0),
        query: Reverse(0),
        created: 0,
        object: ("".into(), "".into()),
        rule: 0,
        matching: 0,
    };
    let reason = "this connection was made for another listener's hosts".to_owned();
    let route = Route {
        name: "misdirected".into(),
        matching: Match { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() },
        action: RouteAction::Respond { status: 421, reason },
        filters: RouteFilters::default(),
        policies: Policies::default(),
        origin: origin(listener),
    };
    (place, Arc::new(route))
}

fn origin(listener: &ListenerKey) -> ObjectRef {
    ObjectRef { resource_type: types::gateway(), key: listener.gateway.clone() }
}
