//! What a proxy understands of a resource: what it refers to, and what the laws look at.

use std::fmt;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use prost::Message as _;
use tidegate::publish::xds::Kind;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Nothing that matters.
    Other,
    /// The tables and certificates that it refers to.
    Listener { tables: Vec<String>, secrets: Vec<String> },
    /// Virtual hosts, one or a table's.
    Hosts(Vec<Host>),
    /// Addresses.
    Endpoints(Vec<String>),
}

/// A virtual host: its name, and its routes with the clusters that they lead to.
#[derive(Clone, PartialEq)]
pub struct Host {
    pub name: String,
    pub routes: Vec<(String, Vec<String>)>,
    /// As it is on the wire.
    pub body: VirtualHost,
}

/// The rest of the message would fill pages.
impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.routes)
    }
}

pub fn facts(kind: Kind, body: &[u8]) -> Facts {
    match kind {
        Kind::Listener => listener(&Listener::decode(body).unwrap()),
        Kind::RouteConfig => {
            Facts::Hosts(RouteConfiguration::decode(body).unwrap().virtual_hosts.into_iter().map(host).collect())
        }
        Kind::VirtualHost => Facts::Hosts(vec![host(VirtualHost::decode(body).unwrap())]),
        Kind::Endpoints => endpoints(&ClusterLoadAssignment::decode(body).unwrap()),
        Kind::Cluster | Kind::Secret => Facts::Other,
    }
}

/// The name is the first field of everything that is sent.
pub fn name_of(body: &[u8]) -> String {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    Named::decode(body).unwrap().name
}

fn listener(listener: &Listener) -> Facts {
    let (mut tables, mut secrets) = (Vec::new(), Vec::new());
    for chain in &listener.filter_chains {
        for filter in &chain.filters {
            let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
            let manager = HttpConnectionManager::decode(&*any.value).unwrap();
            if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
                tables.push(rds.route_config_name);
            }
        }
        let socket = chain.transport_socket.as_ref().and_then(|socket| socket.config_type.as_ref());
        if let Some(envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType::TypedConfig(any)) = socket {
            let tls = DownstreamTlsContext::decode(&*any.value).unwrap().common_tls_context.unwrap();
            secrets.extend(tls.tls_certificate_sds_secret_configs.into_iter().map(|secret| secret.name));
        }
    }
    Facts::Listener { tables, secrets }
}

fn host(host: VirtualHost) -> Host {
    let routes = host.routes.iter().map(|route| {
        let clusters = match &route.action {
            Some(Action::Route(action)) => match &action.cluster_specifier {
                Some(ClusterSpecifier::Cluster(name)) => vec![name.clone()],
                Some(ClusterSpecifier::WeightedClusters(all)) => {
                    all.clusters.iter().map(|cluster| cluster.name.clone()).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        (route.name.clone(), clusters)
    });
    Host { name: host.name.clone(), routes: routes.collect(), body: host }
}

fn endpoints(assignment: &ClusterLoadAssignment) -> Facts {
    let hosts = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let addresses = hosts.filter_map(|host| match &host.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => Some(format!("{:?}", endpoint.address)),
        _ => None,
    });
    Facts::Endpoints(addresses.collect())
}
