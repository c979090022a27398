//! Responses read back from their bytes, as a client reads them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{address, data_source, socket_address, transport_socket};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost, route, route_action};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{DownstreamTlsContext, Secret, secret};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use super::world::{Content, Host};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::Response;
use crate::publish::xds::{delta, sotw};

/// A response as a client sees it.
#[derive(Clone, Debug)]
pub struct Told {
    pub kind: Kind,
    pub nonce: String,
    pub version: String,
    /// By name: content, and in delta its version.
    pub resources: BTreeMap<String, (Content, String)>,
    pub removed: Vec<String>,
}

/// Encodes a response and reads it.
pub fn read(response: &Response, inline: bool) -> Told {
    let mut resources = BTreeMap::new();
    let mut add = |name: Option<String>, version: String, any: Any| {
        let (own, content) = content(&any);
        assert!(name.is_none_or(|name| name == own), "a resource that calls itself otherwise");
        assert!(resources.insert(own, (content, version)).is_none(), "a name twice in one response");
    };
    if inline {
        let read = DiscoveryResponse::decode(sotw::encode(response).flat()).unwrap();
        for any in read.resources {
            add(None, String::new(), any);
        }
        let kind = Kind::from_type_url(&read.type_url).unwrap();
        return Told { kind, nonce: read.nonce, version: read.version_info, resources, removed: Vec::new() };
    }
    let read = DeltaDiscoveryResponse::decode(delta::encode(response).flat()).unwrap();
    for resource in read.resources {
        add(Some(resource.name), resource.version, resource.resource.unwrap());
    }
    let kind = Kind::from_type_url(&read.type_url).unwrap();
    let version = read.system_version_info;
    Told { kind, nonce: read.nonce, version, resources, removed: read.removed_resources }
}

thread_local! {
    static READ: RefCell<HashMap<Vec<u8>, (String, Content)>> = RefCell::default();
}

/// A resource's name and content. The same few come again and again, so they are remembered.
fn content(any: &Any) -> (String, Content) {
    READ.with_borrow_mut(|read| {
        if let Some(known) = read.get(&any.value) {
            return known.clone();
        }
        let new = decode(any);
        // Secrets have bytes of their own for every stream.
        if !matches!(new.1, Content::Secret(_)) {
            read.insert(any.value.clone(), new.clone());
        }
        new
    })
}

fn decode(any: &Any) -> (String, Content) {
    let bytes = any.value.as_slice();
    match Kind::from_type_url(&any.type_url).unwrap() {
        Kind::Cluster => {
            let cluster = Cluster::decode(bytes).unwrap();
            let seconds = cluster.connect_timeout.unwrap().seconds;
            (cluster.name, Content::Cluster(u8::try_from(seconds).unwrap()))
        }
        Kind::Endpoints => {
            let assignment = ClusterLoadAssignment::decode(bytes).unwrap();
            let first = assignment.endpoints.first().map(|locality| &locality.lb_endpoints[0]);
            let port = first.map(|endpoint| {
                let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { panic!() };
                let address = endpoint.address.as_ref().unwrap().address.as_ref().unwrap();
                let address::Address::SocketAddress(socket) = address else { panic!() };
                let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else { panic!() };
                u8::try_from(port).unwrap() - 1
            });
            (assignment.cluster_name, Content::Endpoints(port))
        }
        Kind::Secret => {
            let secret = Secret::decode(bytes).unwrap();
            let Some(secret::Type::TlsCertificate(tls)) = secret.r#type else { panic!() };
            let Some(data_source::Specifier::InlineBytes(key)) = tls.private_key.unwrap().specifier else { panic!() };
            (secret.name, Content::Secret(String::from_utf8(key).unwrap().parse().unwrap()))
        }
        Kind::Listener => {
            let listener = Listener::decode(bytes).unwrap();
            let chains = listener.filter_chains.into_iter().map(|chain| {
                let Some(filter::ConfigType::TypedConfig(manager)) = &chain.filters[0].config_type else { panic!() };
                let manager = HttpConnectionManager::decode(manager.value.as_slice()).unwrap();
                let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier else { panic!() };
                let secrets = chain.transport_socket.map_or_else(Vec::new, |socket| {
                    let Some(transport_socket::ConfigType::TypedConfig(tls)) = socket.config_type else { panic!() };
                    let tls = DownstreamTlsContext::decode(tls.value.as_slice()).unwrap();
                    let secrets = tls.common_tls_context.unwrap().tls_certificate_sds_secret_configs;
                    secrets.into_iter().map(|secret| secret.name).collect()
                });
                (rds.route_config_name, secrets)
            });
            (listener.name, Content::Listener(chains.collect()))
        }
        Kind::RouteConfig => {
            let table = RouteConfiguration::decode(bytes).unwrap();
            if table.vhds.is_some() {
                return (table.name, Content::Table);
            }
            let hosts = table.virtual_hosts.iter().map(|virtual_host| (virtual_host.name.clone(), host(virtual_host)));
            (table.name, Content::Inline(hosts.collect()))
        }
        Kind::VirtualHost => {
            let virtual_host = VirtualHost::decode(bytes).unwrap();
            let content = Content::Host(host(&virtual_host));
            (virtual_host.name, content)
        }
    }
}

fn host(of: &VirtualHost) -> Host {
    let (mut revision, mut leads_to) = (None, BTreeSet::new());
    for entry in &of.routes {
        match entry.action.as_ref().unwrap() {
            route::Action::DirectResponse(answer) => revision = Some(u8::try_from(answer.status - 200).unwrap()),
            route::Action::Route(forward) => {
                let Some(route_action::ClusterSpecifier::Cluster(name)) = &forward.cluster_specifier else { panic!() };
                leads_to.insert(name.clone());
            }
            _ => panic!("{entry:?}"),
        }
    }
    Host { revision, leads_to }
}
