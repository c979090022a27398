//! Clusters and their endpoints.

use envoy_types::pb::envoy::config::cluster::v3::cluster::DiscoveryType;
use envoy_types::pb::envoy::config::core::v3::HealthStatus;

use super::{ADDRESS, CONFIG_SOURCE, Form, Message, many, map, names, one};

pub static CLUSTER: Message = Message {
    name: "envoy.config.cluster.v3.Cluster",
    fields: &[
        one(1, "name", Form::Text),
        one(2, "type", names!(DiscoveryType)),
        one(3, "eds_cluster_config", Form::Message(&EDS_CLUSTER_CONFIG)),
        one(4, "connect_timeout", Form::Duration),
        one(10, "circuit_breakers", Form::Message(&CIRCUIT_BREAKERS)),
        one(27, "common_lb_config", Form::Message(&COMMON_LB_CONFIG)),
        one(32, "ignore_health_on_host_removal", Form::Flag),
        map(36, "typed_extension_protocol_options", Form::Any),
    ],
};

static EDS_CLUSTER_CONFIG: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
    fields: &[one(1, "eds_config", Form::Message(&CONFIG_SOURCE))],
};

static CIRCUIT_BREAKERS: Message = Message {
    name: "envoy.config.cluster.v3.CircuitBreakers",
    fields: &[many(1, "thresholds", Form::Message(&THRESHOLDS))],
};

static THRESHOLDS: Message = Message {
    name: "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
    fields: &[
        one(2, "max_connections", Form::NumberValue),
        one(3, "max_pending_requests", Form::NumberValue),
        one(4, "max_requests", Form::NumberValue),
        one(5, "max_retries", Form::NumberValue),
    ],
};

static COMMON_LB_CONFIG: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CommonLbConfig",
    fields: &[one(1, "healthy_panic_threshold", Form::Message(&PERCENT))],
};

static PERCENT: Message = Message { name: "envoy.type.v3.Percent", fields: &[] };

pub static HTTP_OPTIONS: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    fields: &[one(3, "explicit_http_config", Form::Message(&EXPLICIT_HTTP_CONFIG))],
};

static EXPLICIT_HTTP_CONFIG: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
    fields: &[
        one(1, "http_protocol_options", Form::Message(&HTTP1_OPTIONS)),
        one(2, "http2_protocol_options", Form::Message(&HTTP2_OPTIONS)),
    ],
};

static HTTP1_OPTIONS: Message = Message { name: "envoy.config.core.v3.Http1ProtocolOptions", fields: &[] };

/// Upstream and downstream alike.
pub static HTTP2_OPTIONS: Message = Message {
    name: "envoy.config.core.v3.Http2ProtocolOptions",
    fields: &[
        one(2, "max_concurrent_streams", Form::NumberValue),
        one(3, "initial_stream_window_size", Form::NumberValue),
        one(4, "initial_connection_window_size", Form::NumberValue),
    ],
};

pub static LOAD_ASSIGNMENT: Message = Message {
    name: "envoy.config.endpoint.v3.ClusterLoadAssignment",
    fields: &[one(1, "cluster_name", Form::Text), many(2, "endpoints", Form::Message(&LOCALITY_ENDPOINTS))],
};

static LOCALITY_ENDPOINTS: Message = Message {
    name: "envoy.config.endpoint.v3.LocalityLbEndpoints",
    fields: &[one(1, "locality", Form::Message(&LOCALITY)), many(2, "lb_endpoints", Form::Message(&LB_ENDPOINT))],
};

static LOCALITY: Message = Message { name: "envoy.config.core.v3.Locality", fields: &[one(2, "zone", Form::Text)] };

static LB_ENDPOINT: Message = Message {
    name: "envoy.config.endpoint.v3.LbEndpoint",
    fields: &[one(1, "endpoint", Form::Message(&ENDPOINT)), one(2, "health_status", names!(HealthStatus))],
};

static ENDPOINT: Message =
    Message { name: "envoy.config.endpoint.v3.Endpoint", fields: &[one(1, "address", Form::Message(&ADDRESS))] };
