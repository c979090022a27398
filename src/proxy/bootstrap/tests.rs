//! What a bootstrap says, and which options are refused. That Envoy takes it is checked in `tests/proxy.rs`.

use serde_json::{Value, json};

use super::*;

fn mk_options() -> BootstrapOptions {
    BootstrapOptions::new(
        "local",
        XdsAddress::Socket("/run/tidegate/xds.sock".into()),
        AdminAddress::Socket("/run/tidegate/admin.sock".into()),
    )
}

fn mk_value(options: &BootstrapOptions) -> Value {
    serde_json::from_str(&Bootstrap::new(options).unwrap().to_json().unwrap()).unwrap()
}

#[test]
fn a_proxy_asks_by_delta_ads_over_a_unix_socket() {
    let value = mk_value(&mk_options());

    let ads = &value["dynamic_resources"]["ads_config"];
    assert_eq!(ads["api_type"], "DELTA_GRPC");
    assert_eq!(ads["set_node_on_first_message_only"], true);
    let cluster = &value["static_resources"]["clusters"][0];
    assert_eq!(cluster["name"], ads["grpc_services"][0]["envoy_grpc"]["cluster_name"]);
    assert_eq!(cluster["type"], "STATIC");
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"]["pipe"]["path"], "/run/tidegate/xds.sock");
    assert_eq!(value["admin"]["address"]["pipe"], json!({ "path": "/run/tidegate/admin.sock", "mode": 0o600 }));
}

#[test]
fn an_ip_address_is_static_and_a_name_is_resolved() {
    let mut options = mk_options();
    for (host, kind) in [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("tidegate.example", "STRICT_DNS")] {
        options.xds = XdsAddress::Tcp { host: host.to_owned(), port: 9011 };
        let cluster = &mk_value(&options)["static_resources"]["clusters"][0];
        assert_eq!(cluster["type"], kind);
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(endpoint["address"]["socket_address"], json!({ "address": host, "port_value": 9011 }));
    }
}

#[test]
fn node_metadata_names_the_gateways_only_when_there_are_some() {
    let mut options = mk_options();
    assert_eq!(mk_value(&options)["node"]["metadata"], json!({}));

    options.gateways = vec!["demo/demo".to_owned(), "demo/other".to_owned()];
    assert_eq!(mk_value(&options)["node"]["metadata"], json!({ "tidegate.gateways": ["demo/demo", "demo/other"] }));
}

#[test]
fn equal_options_give_equal_text_in_both_formats() {
    let (first, second) = (Bootstrap::new(&mk_options()).unwrap(), Bootstrap::new(&mk_options()).unwrap());
    assert_eq!(first.to_json().unwrap(), second.to_json().unwrap());
    let yaml = first.to_yaml().unwrap();
    assert_eq!(yaml, second.to_yaml().unwrap());
    assert!(yaml.contains("\n  id: local\n"), "{yaml}");
}

#[test]
fn an_admin_address_that_others_can_reach_is_refused() {
    for (address, allowed) in
        [("127.0.0.1:9901", true), ("[::1]:9901", true), ("0.0.0.0:9901", false), ("10.0.0.1:1", false)]
    {
        let address: SocketAddr = address.parse().unwrap();
        let options = BootstrapOptions { admin: AdminAddress::Tcp(address), ..mk_options() };
        let made = Bootstrap::new(&options).map(|_| ());
        let expected = if allowed { Ok(()) } else { Err(BootstrapError::AdminNotLoopback { address }) };
        assert_eq!(made, expected);
    }
}

#[test]
fn what_could_not_work_is_refused_with_its_remedy() {
    let long = PathBuf::from(format!("/{}", "d".repeat(107)));
    let cases = [
        (BootstrapOptions { node_id: String::new(), ..mk_options() }, "node's id is empty"),
        (BootstrapOptions { node_cluster: String::new(), ..mk_options() }, "node's cluster is empty"),
        (BootstrapOptions { gateways: vec!["demo".to_owned()], ..mk_options() }, "write namespace/name"),
        (BootstrapOptions { gateways: vec!["a/b/c".to_owned()], ..mk_options() }, "write namespace/name"),
        (
            BootstrapOptions { xds: XdsAddress::Socket(long), ..mk_options() },
            "has 108 bytes, and the system allows 107",
        ),
        (BootstrapOptions { xds: XdsAddress::Socket("xds.sock".into()), ..mk_options() }, "write it in full"),
    ];
    for (options, part) in cases {
        let message = Bootstrap::new(&options).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn over_tls_a_proxy_shows_its_certificate_and_takes_only_the_name_that_it_connects_to_for_us() {
    let tls = TlsOptions {
        certificate: "/tls/tls.crt".into(),
        key: "/tls/tls.key".into(),
        ca: "/tls/ca.crt".into(),
        san: None,
    };
    let mut options = mk_options();
    let uri = "spiffe://cluster.local/ns/tidegate/sa/tidegate";
    let cases = [
        ("tidegate.tidegate.svc", None, ("DNS", "tidegate.tidegate.svc"), json!("tidegate.tidegate.svc")),
        ("tidegate.tidegate.svc", Some(uri), ("URI", uri), json!("tidegate.tidegate.svc")),
        ("192.0.2.1", None, ("IP_ADDRESS", "192.0.2.1"), Value::Null),
    ];
    for (host, san, (kind, name), sni) in cases {
        options.xds = XdsAddress::Tcp { host: host.to_owned(), port: 18000 };
        options.tls = Some(TlsOptions { san: san.map(str::to_owned), ..tls.clone() });
        let socket = &mk_value(&options)["static_resources"]["clusters"][0]["transport_socket"];
        assert_eq!(socket["name"], "envoy.transport_sockets.tls");
        let context = &socket["typed_config"];
        assert_eq!(context["sni"], sni);
        let common = &context["common_tls_context"];
        assert_eq!(common["tls_certificates"][0]["private_key"]["filename"], "/tls/tls.key");
        assert_eq!(common["validation_context"]["trusted_ca"]["filename"], "/tls/ca.crt");
        let matcher = json!([{ "san_type": kind, "matcher": { "exact": name } }]);
        assert_eq!(common["validation_context"]["match_typed_subject_alt_names"], matcher);
    }
    let refused = |options: &BootstrapOptions| Bootstrap::new(options).unwrap_err().to_string();
    options.tls = Some(TlsOptions { key: "tls.key".into(), ..tls.clone() });
    assert!(refused(&options).contains("the TLS key, tls.key, is not an absolute path"), "{}", refused(&options));
    options = BootstrapOptions { tls: Some(tls), ..mk_options() };
    assert_eq!(Bootstrap::new(&options).unwrap_err(), BootstrapError::TlsOverSocket);
}
