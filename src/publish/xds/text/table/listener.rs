//! Listeners and the HTTP connection manager.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::ServerHeaderTransformation;

use super::cluster::HTTP2_OPTIONS;
use super::{ADDRESS, CONFIG_SOURCE, Form, Message, many, names, one};

pub static LISTENER: Message = Message {
    name: "envoy.config.listener.v3.Listener",
    fields: &[
        one(1, "name", Form::Text),
        one(2, "address", Form::Message(&ADDRESS)),
        many(3, "filter_chains", Form::Message(&FILTER_CHAIN)),
        many(9, "listener_filters", Form::Message(&LISTENER_FILTER)),
    ],
};

static FILTER_CHAIN: Message = Message {
    name: "envoy.config.listener.v3.FilterChain",
    fields: &[
        one(1, "filter_chain_match", Form::Message(&FILTER_CHAIN_MATCH)),
        many(3, "filters", Form::Message(&FILTER)),
        one(6, "transport_socket", Form::Message(&TRANSPORT_SOCKET)),
        one(7, "name", Form::Text),
    ],
};

static FILTER_CHAIN_MATCH: Message = Message {
    name: "envoy.config.listener.v3.FilterChainMatch",
    fields: &[one(9, "transport_protocol", Form::Text), many(11, "server_names", Form::Text)],
};

static FILTER: Message = Message {
    name: "envoy.config.listener.v3.Filter",
    fields: &[one(1, "name", Form::Text), one(4, "typed_config", Form::Any)],
};

static TRANSPORT_SOCKET: Message = Message {
    name: "envoy.config.core.v3.TransportSocket",
    fields: &[one(1, "name", Form::Text), one(3, "typed_config", Form::Any)],
};

static LISTENER_FILTER: Message = Message {
    name: "envoy.config.listener.v3.ListenerFilter",
    fields: &[one(1, "name", Form::Text), one(3, "typed_config", Form::Any)],
};

pub static TLS_INSPECTOR: Message =
    Message { name: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", fields: &[] };

pub static CONNECTION_MANAGER: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    fields: &[
        one(2, "stat_prefix", Form::Text),
        one(3, "rds", Form::Message(&RDS)),
        many(5, "http_filters", Form::Message(&HTTP_FILTER)),
        one(9, "http2_protocol_options", Form::Message(&HTTP2_OPTIONS)),
        one(14, "use_remote_address", Form::FlagValue),
        many(23, "upgrade_configs", Form::Message(&UPGRADE_CONFIG)),
        one(24, "stream_idle_timeout", Form::Duration),
        one(25, "internal_address_config", Form::Message(&INTERNAL_ADDRESS_CONFIG)),
        one(30, "normalize_path", Form::FlagValue),
        one(34, "server_header_transformation", names!(ServerHeaderTransformation)),
        one(35, "common_http_protocol_options", Form::Message(&HTTP_OPTIONS)),
        one(41, "request_headers_timeout", Form::Duration),
    ],
};

static RDS: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
    fields: &[one(1, "config_source", Form::Message(&CONFIG_SOURCE)), one(2, "route_config_name", Form::Text)],
};

static HTTP_FILTER: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    fields: &[one(1, "name", Form::Text), one(4, "typed_config", Form::Any)],
};

static UPGRADE_CONFIG: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
    fields: &[one(1, "upgrade_type", Form::Text)],
};

static INTERNAL_ADDRESS_CONFIG: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
    fields: &[many(2, "cidr_ranges", Form::Message(&CIDR_RANGE))],
};

static CIDR_RANGE: Message = Message {
    name: "envoy.config.core.v3.CidrRange",
    fields: &[one(1, "address_prefix", Form::Text), one(2, "prefix_len", Form::NumberValue)],
};

static HTTP_OPTIONS: Message =
    Message { name: "envoy.config.core.v3.HttpProtocolOptions", fields: &[one(1, "idle_timeout", Form::Duration)] };

pub static ROUTER: Message = Message {
    name: "envoy.extensions.filters.http.router.v3.Router",
    fields: &[one(4, "suppress_envoy_headers", Form::Flag)],
};
