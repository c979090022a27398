//! The table against prost's types: each field is set alone, under its number, and prost must find it where the
//! table says that it is.

use std::collections::BTreeMap;
use std::fmt::Debug;

use envoy_types::pb::envoy::config::{cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint};
use envoy_types::pb::envoy::config::{listener::v3 as listener, route::v3 as route};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
use envoy_types::pb::envoy::r#type::{matcher::v3 as matcher, v3 as types};
use prost::{Message, Name, encoding};

use super::messages;
use crate::publish::xds::text::table::{Field, Form};

/// What prost finds in some bytes: by field, as its `Debug` has it.
type Look = fn(&[u8]) -> BTreeMap<String, String>;

fn look<M: Message + Default + Debug>(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = format!("{:#?}", M::decode(bytes).unwrap());
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| line.starts_with("    ")) {
        let line = &line[4..];
        if !line.starts_with([' ', '}', ']', ')']) {
            current = line.split(':').next().unwrap().trim_start_matches("r#").to_owned();
        }
        fields.entry(current.clone()).or_default().push_str(line);
    }
    fields
}

fn entry<M: Message + Default + Debug + Name>() -> (String, Look) {
    (M::full_name(), look::<M>)
}

fn prost_types() -> BTreeMap<String, Look> {
    [
        entry::<cluster::Cluster>(),
        entry::<cluster::cluster::EdsClusterConfig>(),
        entry::<cluster::CircuitBreakers>(),
        entry::<cluster::circuit_breakers::Thresholds>(),
        entry::<cluster::cluster::CommonLbConfig>(),
        entry::<types::Percent>(),
        entry::<types::FractionalPercent>(),
        entry::<upstream::HttpProtocolOptions>(),
        entry::<upstream::http_protocol_options::ExplicitHttpConfig>(),
        entry::<core::Http1ProtocolOptions>(),
        entry::<core::Http2ProtocolOptions>(),
        entry::<core::HttpProtocolOptions>(),
        entry::<core::Address>(),
        entry::<core::SocketAddress>(),
        entry::<core::ConfigSource>(),
        entry::<core::AggregatedConfigSource>(),
        entry::<core::CidrRange>(),
        entry::<core::DataSource>(),
        entry::<core::HeaderValue>(),
        entry::<core::HeaderValueOption>(),
        entry::<core::Locality>(),
        entry::<core::RuntimeFractionalPercent>(),
        entry::<core::TransportSocket>(),
        entry::<endpoint::ClusterLoadAssignment>(),
        entry::<endpoint::LocalityLbEndpoints>(),
        entry::<endpoint::LbEndpoint>(),
        entry::<endpoint::Endpoint>(),
        entry::<listener::Listener>(),
        entry::<listener::FilterChain>(),
        entry::<listener::FilterChainMatch>(),
        entry::<listener::Filter>(),
        entry::<listener::ListenerFilter>(),
        entry::<TlsInspector>(),
        entry::<Router>(),
        entry::<http::HttpConnectionManager>(),
        entry::<http::Rds>(),
        entry::<http::HttpFilter>(),
        entry::<http::http_connection_manager::UpgradeConfig>(),
        entry::<http::http_connection_manager::InternalAddressConfig>(),
        entry::<tls::Secret>(),
        entry::<tls::TlsCertificate>(),
        entry::<tls::DownstreamTlsContext>(),
        entry::<tls::CommonTlsContext>(),
        entry::<tls::TlsParameters>(),
        entry::<tls::SdsSecretConfig>(),
        entry::<route::RouteConfiguration>(),
        entry::<route::Vhds>(),
        entry::<route::VirtualHost>(),
        entry::<route::Route>(),
        entry::<route::RouteMatch>(),
        entry::<route::HeaderMatcher>(),
        entry::<route::QueryParameterMatcher>(),
        entry::<route::RouteAction>(),
        entry::<route::route_action::RequestMirrorPolicy>(),
        entry::<route::WeightedCluster>(),
        entry::<route::weighted_cluster::ClusterWeight>(),
        entry::<route::RetryPolicy>(),
        entry::<route::retry_policy::RetryHostPredicate>(),
        entry::<route::RedirectAction>(),
        entry::<route::DirectResponseAction>(),
        entry::<PreviousHostsPredicate>(),
        entry::<matcher::StringMatcher>(),
        entry::<matcher::RegexMatcher>(),
        entry::<matcher::RegexMatchAndSubstitute>(),
    ]
    .into()
}

/// A field with something in it.
fn filled(field: &Field) -> Vec<u8> {
    let mut bytes = Vec::new();
    match field.form {
        Form::Text | Form::Bytes | Form::Hidden => {
            encoding::string::encode(field.number, &"some".to_owned(), &mut bytes);
        }
        Form::Flag | Form::Number | Form::Long | Form::Name(_) => {
            encoding::uint64::encode(field.number, &1, &mut bytes);
        }
        Form::Message(_) | Form::Any | Form::Duration | Form::NumberValue | Form::FlagValue => {
            encoding::bytes::encode(field.number, &Vec::new(), &mut bytes);
        }
    }
    bytes
}

/// `InlineBytes` of `inline_bytes`: what prost calls a member of a oneof.
fn variant(name: &str) -> String {
    name.split('_').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..])).collect()
}

#[test]
fn every_field_of_the_table_is_where_prost_has_it() {
    let prost_types = prost_types();
    for message in messages() {
        let look = prost_types.get(message.name).unwrap_or_else(|| panic!("no prost type for {}", message.name));
        let empty = look(&[]);
        for field in message.fields {
            let filled = look(&filled(field));
            let changed: Vec<&String> = filled.keys().filter(|name| filled.get(*name) != empty.get(*name)).collect();
            let [changed] = changed[..] else { panic!("{} {}: {changed:?}", message.name, field.name) };
            let is_variant = filled[changed].contains(&format!("{}(", variant(field.name)));
            assert!(changed == field.name || is_variant, "{} {} is prost's {changed}", message.name, field.name);
        }
    }
}
