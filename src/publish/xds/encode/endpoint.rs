//! Endpoints of a cluster, for EDS.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as Host, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use prost::Message as _;

use super::address;
use crate::model::{Endpoints, Health};

/// Encodes the endpoints that should get traffic: the ready ones, or, if there are none, those that still
/// serve while they terminate (KEP-1669).
pub fn encode_endpoints(model: &Endpoints) -> Vec<u8> {
    let any_ready = model.endpoints.iter().any(|endpoint| endpoint.health == Health::Ready);
    let mut zones: BTreeMap<&str, Vec<LbEndpoint>> = BTreeMap::new();
    for endpoint in model.endpoints.iter().filter(|endpoint| !any_ready || endpoint.health == Health::Ready) {
        zones.entry(endpoint.zone.as_deref().unwrap_or("")).or_default().push(LbEndpoint {
            // Draining ones are sent as healthy when they are all there is: Envoy's own DRAINING gets no traffic.
            health_status: HealthStatus::Healthy.into(),
            host_identifier: Some(HostIdentifier::Endpoint(Host {
                address: Some(address(endpoint.address, endpoint.port)),
                ..Host::default()
            })),
            ..LbEndpoint::default()
        });
    }
    let localities = zones.into_iter().map(|(zone, lb_endpoints)| LocalityLbEndpoints {
        locality: (!zone.is_empty()).then(|| Locality { zone: zone.to_owned(), ..Locality::default() }),
        lb_endpoints,
        ..LocalityLbEndpoints::default()
    });
    ClusterLoadAssignment {
        cluster_name: model.id.to_string(),
        endpoints: localities.collect(),
        ..ClusterLoadAssignment::default()
    }
    .encode_to_vec()
}

/// "None", for a cluster of which nothing is known: without an answer it would never become active, and its
/// requests would wait instead of being answered 503.
pub fn encode_no_endpoints(cluster: &str) -> Vec<u8> {
    ClusterLoadAssignment { cluster_name: cluster.to_owned(), ..ClusterLoadAssignment::default() }.encode_to_vec()
}
