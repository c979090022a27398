//! Listeners, clusters, endpoints, secrets and tables.

use envoy_types::pb::envoy::config::cluster::v3::Cluster as Upstream;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::listener::v3::Listener as Socket;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret as Tls, secret};
use prost::Message as _;

use crate::model::{AppProtocol, Health, Listener};
use crate::publish::xds::encode::*;
use crate::publish::xds::kind::Kind;
use crate::publish::xds::scope::Scope;
use crate::publish::xds::status::PublishedResource;
use crate::publish::xds::testing::*;

#[test]
fn draining_endpoints_are_sent_only_when_none_is_ready() {
    let mut model = mk_endpoints("a", &["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]);
    let mut endpoints = model.endpoints.to_vec();
    endpoints[1].health = Health::Draining;
    endpoints[1].zone = Some("z".into());
    model.endpoints = endpoints.clone().into();
    assert_eq!(addresses(&encode_endpoints(&model)), ["10.0.0.1"]);
    endpoints[0].health = Health::Draining;
    model.endpoints = endpoints.into();
    assert_eq!(addresses(&encode_endpoints(&model)), ["10.0.0.1", "10.0.0.2"]);
    assert!(addresses(&encode_no_endpoints("x")).is_empty());
}

fn addresses(bytes: &[u8]) -> Vec<String> {
    let assignment = ClusterLoadAssignment::decode(bytes).unwrap();
    let hosts = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
    let address = |host: HostIdentifier| match host {
        HostIdentifier::Endpoint(endpoint) => format!("{:?}", endpoint.address),
        HostIdentifier::EndpointName(name) => name,
    };
    let texts = hosts.map(|host| address(host.host_identifier.unwrap()));
    texts.map(|text| text.split('"').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn a_cluster_takes_its_endpoints_from_eds_and_speaks_what_its_port_says() {
    let mut model = mk_cluster("a");
    let http1 = Upstream::decode(&*encode_cluster(&model)).unwrap();
    assert_eq!(http1.name, "test/apps/a/80");
    assert!(http1.eds_cluster_config.is_some() && http1.ignore_health_on_host_removal);
    model.protocol = AppProtocol::H2c;
    let h2c = Upstream::decode(&*encode_cluster(&model)).unwrap();
    assert_ne!(h2c.typed_extension_protocol_options, http1.typed_extension_protocol_options);
}

#[test]
fn an_https_listener_selects_by_name_and_an_http_listener_does_not_look_at_tls() {
    let mut model = mk_http_listener(8443, &["public"]);
    let http = Socket::decode(&*encode_listener(&model, &Scope::All).unwrap()).unwrap();
    assert!(http.listener_filters.is_empty() && http.filter_chains[0].transport_socket.is_none());
    model.chains = vec![mk_https_chain("public", "web", &["a.example.com", "*.b.example.com"], &["one", "two"])];
    let https = Socket::decode(&*encode_listener(&model, &Scope::All).unwrap()).unwrap();
    assert_eq!(https.listener_filters.len(), 1);
    let matching = https.filter_chains[0].filter_chain_match.as_ref().unwrap();
    assert_eq!(matching.server_names, ["a.example.com", "*.b.example.com"]);
    assert!(https.filter_chains[0].transport_socket.is_some());
}

#[test]
fn each_socket_and_each_https_listener_has_statistics_of_its_own() {
    let prefix = |listener: Listener| {
        let read = text(Kind::Listener, encode_listener(&listener, &Scope::All).unwrap());
        read["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"].as_str().unwrap().to_owned()
    };
    let mut https = mk_http_listener(8443, &["public"]);
    https.chains = vec![mk_https_chain("public", "web", &[], &["one"])];
    let prefixes = [mk_http_listener(8080, &["public"]), mk_http_listener(8081, &["public"]), https].map(prefix);
    let wanted =
        ["tidegate/http/127.0.0.1:8080", "tidegate/http/127.0.0.1:8081", "tidegate/https/test/infra/public/web"];
    assert_eq!(prefixes, wanted);
}

/// What is encoded, readable.
fn text(kind: Kind, body: Vec<u8>) -> serde_json::Value {
    let resource = PublishedResource { kind, name: String::new(), version: String::new(), body: body.into() };
    crate::publish::xds::text::text(&resource).unwrap().resource
}

#[test]
fn a_listener_without_a_filter_chain_in_scope_is_not_there() {
    let scope = Scope::Gateways(vec![("infra".into(), "other".into())]);
    assert!(encode_listener(&mk_http_listener(8080, &["public"]), &scope).is_none());
    assert!(encode_listener(&mk_http_listener(8080, &["public", "other"]), &scope).is_some());
}

#[test]
fn a_secret_holds_chain_and_key_and_its_debug_shows_neither() {
    let model = mk_secret("cert", "CHAIN", "KEY");
    let read = Tls::decode(&*encode_secret(&model, None)).unwrap();
    assert_eq!(read.name, "test/apps/cert");
    let Some(secret::Type::TlsCertificate(certificate)) = read.r#type else { panic!() };
    assert!(certificate.private_key.is_some());
    assert!(!format!("{model:?}").contains("KEY"));
    assert_ne!(encode_secret(&model, Some(1)), encode_secret(&model, Some(2)), "or Envoy would not look at it");
}

#[test]
fn a_table_has_its_hosts_apart_or_inline() {
    let apart = RouteConfiguration::decode(&*encode_route_config("t")).unwrap();
    assert!(apart.vhds.is_some() && apart.virtual_hosts.is_empty() && apart.ignore_port_in_host_matching);
    let hosts = ["t/a", "t/b"].map(|name| crate::publish::xds::rope::Rope::from(encode_sentinel(name)));
    let inline = RouteConfiguration::decode(encode_inline_route_config("t", &hosts).flat()).unwrap();
    assert!(inline.vhds.is_none());
    let names: Vec<_> = inline.virtual_hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["t/a", "t/b"]);
}
