//! What is read is what the encoders wrote, all of it, under the names that protobuf has for it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;
use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;

use super::read::any;
use super::table::{Form, Message, Shape, by_url, messages};
use super::*;
use crate::publish::xds::testing::*;
use crate::publish::xds::{Options, XdsPublisher, encode};

mod prost_types;

const CHAIN: &str = "-----BEGIN CERTIFICATE-----";
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

fn mk_publisher() -> XdsPublisher {
    let publisher = XdsPublisher::new(Options::default(), Problems::default(), Env::system());
    publisher.apply(&mk_rich(8080, 8443, (CHAIN, KEY)).0);
    publisher
}

/// The rich model's resources, and the forms of them that only some clients are sent.
fn mk_texts() -> Vec<Value> {
    let mut all: Vec<(Value, Vec<String>)> =
        mk_publisher().text().unwrap().into_iter().map(|text| (text.resource, text.unknown)).collect();
    let host = crate::publish::xds::rope::Rope::from(encode::encode_sentinel("t/~ none"));
    let salted = encode::encode_secret(&mk_secret("cert", CHAIN, KEY), Some(7));
    for (kind, bytes) in [
        (Kind::RouteConfig, encode::encode_inline_route_config("t", [&host]).flat().to_vec()),
        (Kind::Endpoints, encode::encode_no_endpoints("test/apps/one/80")),
        (Kind::Secret, salted),
    ] {
        let read = any(kind.type_url(), &bytes).unwrap();
        all.push((read.value, read.unknown));
    }
    for (value, unknown) in &all {
        assert!(unknown.is_empty(), "{unknown:?} in {value:#}");
    }
    all.into_iter().map(|(value, _)| value).collect()
}

#[test]
fn whatever_the_encoders_write_has_a_name_and_every_name_is_written() {
    let mut written = BTreeSet::new();
    for value in mk_texts() {
        visit(typed(&value), &value, &mut written);
    }
    let known: BTreeSet<(&str, u32)> = messages()
        .into_iter()
        .flat_map(|message| message.fields.iter().map(|field| (message.name, field.number)))
        .collect();
    let unused: Vec<_> = known.difference(&written).collect();
    assert!(unused.is_empty(), "neither encoder nor rich model writes {unused:?}");
}

fn typed(value: &Value) -> &'static Message {
    by_url(value["@type"].as_str().unwrap()).unwrap()
}

/// Notes which fields of the table occur in a value.
fn visit(message: &'static Message, value: &Value, written: &mut BTreeSet<(&'static str, u32)>) {
    for (name, value) in value.as_object().unwrap().iter().filter(|(name, _)| *name != "@type") {
        let field = message.fields.iter().find(|field| field.name == name).unwrap();
        written.insert((message.name, field.number));
        let values: Vec<&Value> = match field.shape {
            Shape::One => vec![value],
            Shape::Many => value.as_array().unwrap().iter().collect(),
            Shape::Map => value.as_object().unwrap().values().collect(),
        };
        for value in values {
            match field.form {
                Form::Message(message) => visit(message, value, written),
                Form::Any => visit(typed(value), value, written),
                Form::Name(_) => assert!(value.is_string(), "{name} has a value without a name: {value}"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_resource_reads_as_protobuf_json() {
    let texts = mk_publisher().text().unwrap();
    let find = |kind: Kind, name: &str| {
        let text = texts.iter().find(|text| text.kind == kind && text.name == name);
        text.unwrap_or_else(|| panic!("{kind} {name}")).resource.clone()
    };
    let cluster = find(Kind::Cluster, "test/apps/two/80");
    assert_eq!(cluster["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(cluster["type"], "EDS");
    assert_eq!(cluster["connect_timeout"], "1.250500s");
    assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_retries"], u32::MAX);
    assert_eq!(cluster["common_lb_config"], json!({ "healthy_panic_threshold": {} }));
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    assert_eq!(
        cluster["typed_extension_protocol_options"],
        json!({ options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } })
    );
    let host = find(Kind::VirtualHost, "http/127.0.0.1:8080/a.example.com");
    assert_eq!(host["retry_policy"]["host_selection_retry_max_attempts"], "5");
    assert_eq!(host["routes"][0]["route"]["retry_policy"]["per_try_timeout"], "2.500s");
    assert_eq!(host["routes"][1]["route"]["timeout"], "0s");
    let listener = find(Kind::Listener, "127.0.0.1:8080");
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!((&manager["use_remote_address"], &manager["stream_idle_timeout"]), (&json!(true), &json!("300s")));
}

#[test]
fn a_secret_shows_its_chain_and_no_key() {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let publisher = mk_publisher();
    let texts = publisher.text().unwrap();
    let secret = texts.iter().find(|text| text.kind == Kind::Secret).unwrap();
    assert_eq!(secret.resource["tls_certificate"]["certificate_chain"]["inline_bytes"], base64(CHAIN));
    assert_eq!(secret.resource["tls_certificate"]["private_key"]["inline_bytes"], REDACTED);
    let all = document(&texts).unwrap().to_string();
    assert!(!all.contains(KEY) && !all.contains(&base64(KEY)) && !all.contains(&base64(KEY)[..16]));
    assert!(publisher.resources().iter().all(|resource| resource.kind != Kind::Secret));
}

#[test]
fn a_field_without_a_name_is_shown_by_its_number_without_content_and_reported() {
    let mut bytes = encode::encode_secret(&mk_secret("cert", CHAIN, KEY), None);
    prost::encoding::string::encode(17, &KEY.to_owned(), &mut bytes);
    prost::encoding::uint32::encode(18, &3, &mut bytes);
    // The name, as a number: known by number and not by how it is encoded.
    prost::encoding::uint32::encode(1, &4, &mut bytes);
    let read = any(Kind::Secret.type_url(), &bytes).unwrap();
    let of = "envoy.extensions.transport_sockets.tls.v3.Secret";
    assert_eq!(read.unknown, [17, 18, 1].map(|number| format!("{of} field {number}")));
    assert_eq!(read.value["field 17"], format!("<{} bytes>", KEY.len()));
    assert_eq!((&read.value["field 18"], &read.value["field 1"]), (&json!(3), &json!(4)));
    assert!(!read.value.to_string().contains(KEY));

    let read = any("type.googleapis.com/google.rpc.Status", &[1, 2, 3]).unwrap();
    assert_eq!(read.value, json!({ "@type": "type.googleapis.com/google.rpc.Status", "value": "<3 bytes>" }));
    assert_eq!(read.unknown, ["Any of type.googleapis.com/google.rpc.Status"]);
}

#[test]
fn durations_have_as_few_digits_as_they_need() {
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::google::protobuf::Duration;
    for (seconds, nanos, text) in [
        (0, 0, "0s"),
        (1, 0, "1s"),
        (0, 500_000_000, "0.500s"),
        (1, 20_000, "1.000020s"),
        (9, 1, "9.000000001s"),
        (-1, -500_000_000, "-1.500s"),
    ] {
        let cluster = Cluster { connect_timeout: Some(Duration { seconds, nanos }), ..Cluster::default() };
        let read = any(Kind::Cluster.type_url(), &cluster.encode_to_vec()).unwrap();
        assert_eq!(read.value["connect_timeout"], text);
    }
}

#[test]
fn bytes_that_end_too_early_are_an_error_that_names_message_and_field() {
    let bytes = encode::encode_no_endpoints("test/apps/one/80");
    let error = any(Kind::Endpoints.type_url(), &bytes[..bytes.len() - 1]).err().unwrap();
    assert_eq!(error.to_string(), "envoy.config.endpoint.v3.ClusterLoadAssignment: field 1 is cut off");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_an_error(bytes in prop::collection::vec(any_byte(), 0..64), at in 0_usize..200, to in any_byte()) {
        for kind in Kind::ALL {
            let _ = any(kind.type_url(), &bytes);
        }
        let mut bytes = encode::encode_cluster(&mk_cluster("one"));
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = any(Kind::Cluster.type_url(), &bytes);
    }
}

fn any_byte() -> impl Strategy<Value = u8> {
    0..=u8::MAX
}
