//! Routing tables, for RDS: with their virtual hosts apart (delta clients) or inline (state of the world).

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, Vhds, VirtualHost};
use prost::Message as _;

use super::ads;
use crate::publish::xds::rope::Rope;
use crate::publish::xds::wire;

/// The domain and the last part of the name of the virtual host that every table has, so that none is ever
/// without one. A request can not ask for it: a tilde followed by a space is no host.
pub const SENTINEL: &str = "~ none";

/// Field of `virtual_hosts` in `RouteConfiguration`.
const VIRTUAL_HOSTS: u32 = 2;

fn table(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        // Hostnames of the Gateway API have no port; the Host header goes on to the backend as it came.
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

/// Encodes a table whose virtual hosts come over VHDS.
///
/// What Envoy 1.40 does with several of them on one delta stream: it asks for VirtualHost once, with an empty
/// list, when it gets the first such table, and never again for later ones. It drops a virtual host whose table
/// it does not have (and still remembers its version), and a table's listener waits until it was given or
/// denied at least one virtual host of that table. Hence the sentinel, and hence virtual hosts are sent
/// whenever their table was, after it was acknowledged.
pub fn encode_route_config(name: &str) -> Vec<u8> {
    RouteConfiguration { vhds: Some(Vhds { config_source: Some(ads()) }), ..table(name) }.encode_to_vec()
}

/// Encodes a table with encoded virtual hosts in it.
pub fn encode_inline_route_config<'a>(name: &str, hosts: impl IntoIterator<Item = &'a Rope>) -> Rope {
    let mut rope = Rope::from(table(name).encode_to_vec());
    for host in hosts {
        wire::nested(VIRTUAL_HOSTS, host, &mut rope);
    }
    rope
}

/// Encodes a table's sentinel: no routes, so whatever asked for it would be answered 404.
pub fn encode_sentinel(name: &str) -> Vec<u8> {
    VirtualHost { name: name.to_owned(), domains: vec![SENTINEL.to_owned()], ..VirtualHost::default() }.encode_to_vec()
}
