//! Services as clusters, EndpointSlices as endpoints.

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::id::{Name, ObjectKey};
use tidegate_actors::problem::{Problem, Serving};

use super::settings::AllowedBackends;
use crate::model::{AppProtocol, Cluster, ClusterId, Endpoint, Endpoints, GatewayId, Health, Policies};
use crate::resource::View;
use crate::resource::endpoint_slice::EndpointSlice;
use crate::resource::service::{Service, ServicePort};

/// Time for a TCP connection to an endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is spoken on a port, if it is something that we can speak.
pub fn app_protocol(port: &ServicePort) -> Option<AppProtocol> {
    if !port.is_tcp {
        return None;
    }
    match port.app_protocol.as_deref().unwrap_or("") {
        "" | "http" => Some(AppProtocol::Http1),
        "kubernetes.io/h2c" | "h2c" | "grpc" => Some(AppProtocol::H2c),
        "kubernetes.io/ws" | "ws" => Some(AppProtocol::WebSocket),
        _ => None,
    }
}

/// A port of a Service, as the model names it.
pub fn cluster_id(service: &ObjectKey, port: u16) -> ClusterId {
    ClusterId {
        source: service.source.clone(),
        namespace: service.namespace.clone().unwrap_or_else(|| "".into()),
        service: service.name.clone(),
        port,
    }
}

/// The Service of a cluster.
pub fn service_key(id: &ClusterId) -> ObjectKey {
    ObjectKey { source: id.source.clone(), namespace: Some(id.namespace.clone()), name: id.service.clone() }
}

/// What routes see of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// It has endpoints of its own.
    Normal,
    /// It is an alias in DNS.
    ExternalName,
}

/// What routes see of a Service.
pub fn service_state(service: &Service) -> ServiceState {
    if service.is_external_name { ServiceState::ExternalName } else { ServiceState::Normal }
}

/// What routes see of a Service's port: whether it can be spoken to. All else they need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Requests can go there.
    Usable,
    /// It speaks nothing that we can speak.
    UnknownProtocol,
}

/// The ports of a Service, each number once.
pub fn ports(service: &View<Service>) -> Vec<(ClusterId, PortState)> {
    let state = |number: u16| {
        let usable = service.spec.port(number).is_some_and(|port| app_protocol(port).is_some());
        if usable { PortState::Usable } else { PortState::UnknownProtocol }
    };
    let numbers: std::collections::BTreeSet<u16> = service.spec.ports.iter().map(|port| port.port).collect();
    numbers.into_iter().map(|number| (cluster_id(service.key(), number), state(number))).collect()
}

/// The cluster of a port that routes of these Gateways use.
pub fn cluster(id: &ClusterId, service: &View<Service>, gateways: Arc<[GatewayId]>) -> Option<Cluster> {
    let protocol = app_protocol(service.spec.port(id.port)?)?;
    Some(Cluster {
        id: id.clone(),
        protocol,
        connect_timeout: CONNECT_TIMEOUT,
        policies: Policies::default(),
        gateways,
        origin: service.object.clone(),
    })
}

/// The endpoints of a port, from all slices of its Service; without those whose addresses are refused.
pub fn endpoints(
    id: &ClusterId,
    service: &Service,
    slices: &[(ObjectKey, Arc<View<EndpointSlice>>)],
    allowed: AllowedBackends,
) -> Option<Endpoints> {
    let port_name: &Name = &service.port(id.port)?.name;
    let mut endpoints = Vec::new();
    for (_, slice) in slices {
        for port in slice.spec.ports.iter().filter(|port| port.name == *port_name) {
            let usable = slice.spec.endpoints.iter().filter(|endpoint| allowed.refuse(endpoint.address).is_none());
            for endpoint in usable {
                let health = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
                    (true, _) => Health::Ready,
                    (false, true) => Health::Draining,
                    (false, false) => continue,
                };
                let (address, zone) = (endpoint.address, endpoint.zone.clone());
                endpoints.push(Endpoint { address, port: port.port, zone, health });
            }
        }
    }
    // An address may be in two slices while it moves from one to the other; ready counts.
    endpoints.sort_by(|a, b| (a.address, a.port, a.health, &a.zone).cmp(&(b.address, b.port, b.health, &b.zone)));
    endpoints.dedup_by(|b, a| (a.address, a.port) == (b.address, b.port));
    let origins = slices.iter().map(|(_, slice)| slice.object.clone()).collect();
    Some(Endpoints { id: id.clone(), endpoints: endpoints.into(), origins })
}

/// What is said of a slice with addresses that are refused: the first, and how many there are.
pub fn refused(slice: &View<EndpointSlice>, allowed: AllowedBackends) -> Vec<Problem> {
    let endpoints = slice.spec.endpoints.iter().enumerate();
    let mut refused = endpoints.filter_map(|(at, endpoint)| Some((at, allowed.refuse(endpoint.address)?)));
    let Some((at, reason)) = refused.next() else { return Vec::new() };
    let others = match refused.count() {
        0 => String::new(),
        others => format!("; {others} more like it"),
    };
    let problem = Problem {
        place: String::new(),
        object: Some(slice.object.clone()),
        field: format!("endpoints[{at}].addresses[0]"),
        reason: format!("{reason}; it gets no traffic{others}"),
        serving: Serving::Current,
    };
    vec![problem]
}
