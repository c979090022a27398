//! The text form of what we send against what a real Envoy says that it was sent.
//!
//! Envoy's `/config_dump?include_eds` is compared with ours after these changes, and no others:
//!
//! - Of each section only the dynamic resources count, without the `version_info` and `last_updated` around them.
//! - A virtual host that came over VHDS is in Envoy's routing table; ours are put there, without their `@type`. In
//!   state of the world there is no VHDS, so `vhds` is taken out of ours. Virtual hosts are sorted by name.
//! - Envoy does not keep an assignment of endpoints, it prints its hosts. What it adds to each is taken out of its
//!   print: see [`hosts`]. An assignment without any endpoint is not in the print.
//! - A private key is redacted in both, in different words.
//! - A certificate chain ends with a comment that no other stream's has, which is taken out of Envoy's print.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tidegate::publish::xds::{Kind, REDACTED};

use crate::Server;
use crate::envoy::{DEADLINE, Envoy};
use crate::model::mk_rich;
use crate::ports::free_port;

/// Resources by type and name.
type Resources = BTreeMap<(&'static str, String), Value>;

/// `[redacted]` in base64, as Envoy prints bytes.
const ENVOYS_REDACTED: &str = "W3JlZGFjdGVkXQ==";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn our_text_is_what_envoy_says_that_it_was_sent() {
    let certified = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
    let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    for protocol in ["DELTA_GRPC", "GRPC"] {
        let server = Server::start().await;
        server.apply(mk_rich(free_port(), free_port(), (&chain, &key)));
        let ours = ours(&server, protocol == "DELTA_GRPC");
        let envoy = Envoy::start(server.address, "one", protocol);
        server.until("it is live", |server| server.publisher.clients().iter().any(|c| c.live_version == 1)).await;
        let end = std::time::Instant::now() + DEADLINE;
        let mut theirs = theirs(&envoy.config_dump().await);
        while theirs.len() < ours.len() && std::time::Instant::now() < end {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            theirs = self::theirs(&envoy.config_dump().await);
        }
        assert_eq!(server.problems(), [], "{}", envoy.log());
        assert_eq!(
            theirs.keys().collect::<Vec<_>>(),
            ours.keys().collect::<Vec<_>>(),
            "{protocol} {:#}",
            envoy.config_dump().await
        );
        for (name, ours) in &ours {
            let [ours, theirs] = [ours, &theirs[name]].map(|value| format!("{value:#}"));
            let diff = similar::TextDiff::from_lines(&ours, &theirs);
            assert!(ours == theirs, "{protocol} {name:?}:\n{}", diff.unified_diff().header("ours", "Envoy's"));
        }
    }
}

fn ours(server: &Server, delta: bool) -> Resources {
    let mut ours = Resources::new();
    for text in server.publisher.text().unwrap() {
        let (mut value, name) = (text.resource, text.name);
        match text.kind {
            Kind::VirtualHost => {
                value.as_object_mut().unwrap().remove("@type");
                let table = name.rsplit_once('/').unwrap().0.to_owned();
                let table = ours.get_mut(&(Kind::RouteConfig.label(), table)).unwrap();
                table["virtual_hosts"].as_array_mut().unwrap().push(value);
                continue;
            }
            Kind::RouteConfig => {
                value["virtual_hosts"] = json!([]);
                if !delta {
                    value.as_object_mut().unwrap().remove("vhds");
                }
            }
            Kind::Endpoints if value.get("endpoints").is_none() => continue,
            _ => {}
        }
        ours.insert((text.kind.label(), name), value);
    }
    ours.values_mut().for_each(sort_hosts);
    ours
}

fn sort_hosts(table: &mut Value) {
    if let Some(hosts) = table.get_mut("virtual_hosts") {
        hosts.as_array_mut().unwrap().sort_by_key(|host| host["name"].as_str().unwrap().to_owned());
    }
}

fn theirs(dump: &Value) -> Resources {
    let mut theirs = Resources::new();
    for section in dump["configs"].as_array().unwrap() {
        let list = |name: &str| section[name].as_array().cloned().unwrap_or_default();
        let mut add = |kind: Kind, name: &str, value: &Value| {
            theirs.insert((kind.label(), value[name].as_str().unwrap().to_owned()), value.clone());
        };
        match section["@type"].as_str().unwrap().rsplit('.').next().unwrap() {
            "ClustersConfigDump" => {
                list("dynamic_active_clusters").iter().for_each(|entry| add(Kind::Cluster, "name", &entry["cluster"]));
            }
            "ListenersConfigDump" => list("dynamic_listeners")
                .iter()
                .for_each(|entry| add(Kind::Listener, "name", &entry["active_state"]["listener"])),
            "RoutesConfigDump" => list("dynamic_route_configs").into_iter().for_each(|mut entry| {
                sort_hosts(&mut entry["route_config"]);
                add(Kind::RouteConfig, "name", &entry["route_config"]);
            }),
            "SecretsConfigDump" => list("dynamic_active_secrets").into_iter().for_each(|mut entry| {
                let key = &mut entry["secret"]["tls_certificate"]["private_key"]["inline_bytes"];
                assert_eq!(*key, ENVOYS_REDACTED);
                *key = REDACTED.into();
                unsalt(&mut entry["secret"]["tls_certificate"]["certificate_chain"]["inline_bytes"]);
                add(Kind::Secret, "name", &entry["secret"]);
            }),
            "EndpointsConfigDump" => list("dynamic_endpoint_configs").into_iter().for_each(|mut entry| {
                let assignment = &mut entry["endpoint_config"];
                if hosts(assignment) {
                    add(Kind::Endpoints, "cluster_name", assignment);
                }
            }),
            _ => {}
        }
    }
    theirs
}

/// Takes out of an assignment what Envoy adds; whether there are any endpoints.
fn hosts(assignment: &mut Value) -> bool {
    take(assignment, "policy", &json!({ "overprovisioning_factor": 140 }));
    let Some(localities) = assignment.get_mut("endpoints").and_then(Value::as_array_mut) else { return false };
    for locality in localities {
        take(locality, "locality", &json!({}));
        take(locality, "load_balancing_weight", &json!(0));
        for host in locality["lb_endpoints"].as_array_mut().unwrap() {
            take(host, "load_balancing_weight", &json!(1));
            take(&mut host["endpoint"], "health_check_config", &json!({}));
        }
    }
    true
}

/// Takes the comment at the end out of a certificate chain.
fn unsalt(chain: &mut Value) {
    let bytes = BASE64.decode(chain.as_str().unwrap()).unwrap();
    let (rest, salt) = str::from_utf8(&bytes).unwrap().rsplit_once("\n# ").expect("a comment");
    assert!(salt.trim_end().parse::<u64>().is_ok(), "{salt}");
    *chain = BASE64.encode(rest).into();
}

/// Takes out a member that has a certain value.
fn take(from: &mut Value, name: &str, value: &Value) {
    if from.get(name) == Some(value) {
        from.as_object_mut().unwrap().remove(name);
    }
}
