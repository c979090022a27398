//! Clusters, for CDS: how to talk to a Service's endpoints, which come over EDS.

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster as Upstream};
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::util::pack_any;
use prost::Message as _;

use super::{ads, duration, number};
use crate::model::{AppProtocol, Cluster};

/// Where Envoy looks for the upstream's protocol.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Encodes a cluster.
pub fn encode_cluster(model: &Cluster) -> Vec<u8> {
    let protocol = match model.protocol {
        AppProtocol::H2c => ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()),
        // WebSocket is HTTP/1.1 with an upgrade, which every listener allows.
        AppProtocol::Http1 | AppProtocol::WebSocket => {
            ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())
        }
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })),
        ..HttpProtocolOptions::default()
    };
    Upstream {
        name: model.id.to_string(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), ..EdsClusterConfig::default() }),
        connect_timeout: Some(duration(model.connect_timeout)),
        lb_policy: LbPolicy::RoundRobin.into(),
        typed_extension_protocol_options: [(HTTP_OPTIONS.to_owned(), pack_any(options))].into(),
        // An endpoint that is gone from the Service is gone, whatever a health check thinks of it.
        ignore_health_on_host_removal: true,
        common_lb_config: Some(CommonLbConfig {
            // No panic mode: Envoy never sends traffic to what the Service does not list as serving.
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..CommonLbConfig::default()
        }),
        // Envoy's own limits (1,024 connections and requests) would cut off traffic that nobody asked to limit.
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: number(u32::MAX),
                max_pending_requests: number(u32::MAX),
                max_requests: number(u32::MAX),
                max_retries: number(u32::MAX),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        ..Upstream::default()
    }
    .encode_to_vec()
}
