//! Listeners, for LDS: sockets, TLS by SNI, and the HTTP connection manager.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    CidrRange, Http2ProtocolOptions, HttpProtocolOptions, TransportSocket, transport_socket,
};
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain as Chain, FilterChainMatch, Listener as Socket, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, InternalAddressConfig, RouteSpecifier, ServerHeaderTransformation, UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters,
};
use envoy_types::util::pack_any;
use prost::Message as _;

use super::{address, ads, duration, number, yes};
use crate::model::{FilterChain, Listener, Protocol, TlsTermination};
use crate::publish::xds::scope::Scope;

/// What the proxy's own statistics of a filter chain begin with, before its routing table's name: each socket's HTTP
/// and each HTTPS listener has its own.
const STAT_PREFIX: &str = "tidegate/";

/// Nothing is forwarded on a stream for so long: it is dead. Longer than most keep-alives of WebSocket and gRPC.
const STREAM_IDLE: Duration = Duration::from_secs(300);
/// A client takes so long to send a request's headers: it is an attack, or as good as one.
const REQUEST_HEADERS: Duration = Duration::from_secs(15);
/// A connection without streams.
const CONNECTION_IDLE: Duration = Duration::from_secs(3600);

/// Encodes a listener with those of its filter chains that a scope sees; `None` if that is none.
pub fn encode_listener(model: &Listener, scope: &Scope) -> Option<Vec<u8>> {
    let chains: Vec<_> = model.chains.iter().filter(|chain| scope.sees(&chain.gateways)).collect();
    if chains.is_empty() {
        return None;
    }
    let tls = chains.iter().any(|chain| matches!(chain.protocol, Protocol::Https(_)));
    let inspector = tls.then(|| ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack_any(TlsInspector::default()))),
        ..ListenerFilter::default()
    });
    let socket = Socket {
        name: model.id.to_string(),
        address: Some(address(model.id.address, model.id.port)),
        filter_chains: chains.into_iter().map(filter_chain).collect(),
        listener_filters: inspector.into_iter().collect(),
        ..Socket::default()
    };
    Some(socket.encode_to_vec())
}

fn filter_chain(model: &FilterChain) -> Chain {
    let (matching, transport_socket) = match &model.protocol {
        Protocol::Http => (None, None),
        Protocol::Https(tls) => {
            let matching = FilterChainMatch {
                server_names: tls.server_names.iter().map(ToString::to_string).collect(),
                transport_protocol: "tls".to_owned(),
                ..FilterChainMatch::default()
            };
            (Some(matching), Some(terminate(tls)))
        }
    };
    Chain {
        name: model.name.to_string(),
        filter_chain_match: matching,
        transport_socket,
        filters: vec![Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(pack_any(connection_manager(model)))),
        }],
        ..Chain::default()
    }
}

fn connection_manager(model: &FilterChain) -> HttpConnectionManager {
    // Access logs, authorization and rate limits become filters here when `model.policies` has a slot for them.
    let router = Router { suppress_envoy_headers: true, ..Router::default() };
    HttpConnectionManager {
        stat_prefix: format!("{STAT_PREFIX}{}", model.route_config),
        // HTTP/1 or HTTP/2 by ALPN, and on clear text by the preface (h2c with prior knowledge).
        codec_type: CodecType::Auto.into(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: model.route_config.to_string(),
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(router))),
            ..HttpFilter::default()
        }],
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() }],
        // The edge: the peer's address is the client's, and nobody is trusted with internal headers. An empty
        // list would mean Envoy's own idea of internal, so the list names what no client can have.
        use_remote_address: yes(),
        internal_address_config: Some(InternalAddressConfig { cidr_ranges: vec![nobody()], ..Default::default() }),
        // `/a/../b` is `/b` to every route; escaped slashes stay as they are, since they may be data.
        normalize_path: yes(),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(CONNECTION_IDLE)),
            ..HttpProtocolOptions::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            // What one client may hold: Envoy's guide for edge proxies.
            max_concurrent_streams: number(100),
            initial_stream_window_size: number(64 * 1024),
            initial_connection_window_size: number(1024 * 1024),
            ..Http2ProtocolOptions::default()
        }),
        stream_idle_timeout: Some(duration(STREAM_IDLE)),
        request_headers_timeout: Some(duration(REQUEST_HEADERS)),
        ..HttpConnectionManager::default()
    }
}

fn nobody() -> CidrRange {
    CidrRange { address_prefix: "255.255.255.255".to_owned(), prefix_len: number(32) }
}

fn terminate(tls: &TlsTermination) -> TransportSocket {
    let certificates =
        tls.certificates.iter().map(|id| SdsSecretConfig { name: id.to_string(), sds_config: Some(ads()) }).collect();
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: certificates,
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
    }
}
