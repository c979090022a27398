//! The model as Envoy's configuration: one file an xDS type, pure functions from model values to bytes.
//!
//! Invariant: nothing here knows a client, a cache or the network.

mod cluster;
mod endpoint;
mod header;
mod listener;
mod route;
mod route_config;
mod secret;
mod virtual_host;

pub use cluster::encode_cluster;
pub use endpoint::{encode_endpoints, encode_no_endpoints};
pub use listener::encode_listener;
pub use route_config::{SENTINEL, encode_inline_route_config, encode_route_config, encode_sentinel};
pub use secret::encode_secret;
pub use virtual_host::{HostEncoding, encode_virtual_host};

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address, socket_address,
};
use envoy_types::pb::google::protobuf;

/// "Ask the stream that you got this from."
fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn address(ip: std::net::IpAddr, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: ip.to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

fn duration(duration: Duration) -> protobuf::Duration {
    // Envoy refuses what does not fit; three centuries are as good as for ever.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).min(9_000_000_000);
    protobuf::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

fn number(value: u32) -> Option<protobuf::UInt32Value> {
    Some(protobuf::UInt32Value { value })
}

fn yes() -> Option<protobuf::BoolValue> {
    Some(protobuf::BoolValue { value: true })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
