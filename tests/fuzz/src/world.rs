//! A small gateway world: two Gateways, some routes, what they lead to, in two clusters. Each object has some shapes, all
//! of them good: of a broken one the last good version counts, which is a matter of history.

use serde_json::{Value, json};
use tidegate::resource::types;
use tidegate_actors::id::ResourceType;

use crate::input::Input;

const CERTIFICATE: &str = include_str!("../keys/certificate.pem");
const KEY: &str = include_str!("../keys/key.pem");

/// In the order of the configuration, which is not that of the alphabet.
pub const SOURCES: [&str; 2] = ["src", "alt"];

const HOSTS: [Option<&str>; 6] =
    [None, Some("*.example.com"), Some("a.example.com"), Some("*.a.example.com"), Some("b.net"), Some("A.example.com")];
const GATEWAYS: [&str; 2] = ["web", "second"];
/// The last is in another namespace than the routes.
const SERVICES: [(&str, &str); 3] = [("app", "s0"), ("app", "s1"), ("shop", "s2")];

/// An object, or that there is none.
pub struct Edit {
    pub source: &'static str,
    pub resource_type: ResourceType,
    pub namespace: Option<&'static str>,
    pub name: String,
    pub object: Option<Value>,
}

/// The class that makes Gateways ours.
pub fn class() -> Edit {
    let spec = json!({"controllerName": "tidegate.dev/gateway-controller"});
    edit("src", types::gateway_class(), None, "tidegate", Some(json!({"spec": spec})))
}

/// Any change of the world.
pub fn any_edit(input: &mut Input<'_>) -> Edit {
    let choice = input.byte();
    let source = SOURCES[usize::from(choice >= 224)];
    let there = !input.byte().is_multiple_of(5);
    match choice % 16 {
        0 | 1 => {
            let name = input.one_of(&GATEWAYS);
            let object = there.then(|| gateway(input));
            edit(source, types::gateway(), Some("infra"), name, object)
        }
        2..=7 => {
            let name = format!("r{}", input.below(4));
            let object = there.then(|| route(input));
            edit(source, types::http_route(), Some("app"), &name, object)
        }
        8 | 9 => {
            let (namespace, name) = input.one_of(&SERVICES);
            let object = there.then(|| service(input));
            edit(source, types::service(), Some(namespace), name, object)
        }
        10 | 11 => {
            let (namespace, service) = input.one_of(&SERVICES);
            let name = format!("{service}-{}", input.below(2));
            let object = there.then(|| slice(input, service));
            edit(source, types::endpoint_slice(), Some(namespace), &name, object)
        }
        12 => {
            let kind = input.one_of(&["HTTPRoute", "Gateway"]);
            let to = if kind == "Gateway" { "Secret" } else { "Service" };
            let from = json!([{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": input.one_of(&["app", "infra"])}]);
            let object = there.then(|| json!({"spec": {"from": from, "to": [{"group": "", "kind": to}]}}));
            edit(source, types::reference_grant(), Some("shop"), input.one_of(&["one", "two"]), object)
        }
        13 => {
            let namespace = input.one_of(&["infra", "shop"]);
            let kind = input.one_of(&["kubernetes.io/tls", "Opaque"]);
            let object = there.then(|| json!({"type": kind, "stringData": {"tls.crt": CERTIFICATE, "tls.key": KEY}}));
            edit(source, types::secret(), Some(namespace), "cert", object)
        }
        14 => {
            let labels = input.one_of(&[None, Some("yes"), Some("no")]);
            let object = there.then(|| json!({"metadata": {"labels": labels.map(|value| json!({"web": value}))}}));
            edit(source, types::namespace(), None, input.one_of(&["app", "shop", "infra"]), object)
        }
        _ => Edit { source, object: class().object.filter(|_| there), ..class() },
    }
}

fn edit(
    source: &'static str,
    resource_type: ResourceType,
    namespace: Option<&'static str>,
    name: &str,
    mut object: Option<Value>,
) -> Edit {
    if let Some(object) = &mut object {
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
    }
    Edit { source, resource_type, namespace, name: name.to_owned(), object }
}

fn gateway(input: &mut Input<'_>) -> Value {
    let mut listeners: Vec<Value> = Vec::new();
    for at in 0..=input.below(3) {
        let (port, host) = (input.one_of(&[8080, 8081, 8443]), input.one_of(&HOSTS[..5]));
        let twin = |listener: &Value| listener["port"] == port && listener["hostname"] == json!(host);
        if listeners.iter().any(twin) {
            // The schema refuses it.
            continue;
        }
        let from = match input.below(3) {
            0 => json!({"from": "All"}),
            1 => json!({"from": "Same"}),
            _ => json!({"from": "Selector", "selector": {"matchLabels": {"web": "yes"}}}),
        };
        let mut listener = json!({
            "name": format!("l{at}"), "port": port, "hostname": host,
            "protocol": "HTTP", "allowedRoutes": {"namespaces": from},
        });
        if port == 8443 {
            let namespace = input.one_of(&["infra", "shop"]);
            listener["protocol"] = "HTTPS".into();
            listener["tls"] = json!({"certificateRefs": [{"name": "cert", "namespace": namespace}]});
        }
        if host.is_none() {
            listener.as_object_mut().expect("it is an object").remove("hostname");
        }
        listeners.push(listener);
    }
    let class = input.one_of(&["tidegate", "tidegate", "tidegate", "other"]);
    json!({"spec": {"gatewayClassName": class, "listeners": listeners}})
}

fn route(input: &mut Input<'_>) -> Value {
    let mut parents = Vec::new();
    for gateway in &GATEWAYS[..=input.below(2)] {
        let mut parent = json!({"name": gateway, "namespace": "infra"});
        match input.below(4) {
            1 => parent["sectionName"] = input.one_of(&["l0", "l1", "none"]).into(),
            2 => parent["port"] = input.one_of(&[8080, 8081, 1]).into(),
            _ => {}
        }
        parents.push(parent);
    }
    let hosts: Vec<&str> = (0..input.below(3)).filter_map(|_| input.one_of(&HOSTS[..5])).collect();
    let rules: Vec<Value> = (0..=input.below(2)).map(|_| rule(input)).collect();
    json!({"spec": {"parentRefs": parents, "hostnames": hosts, "rules": rules}})
}

fn rule(input: &mut Input<'_>) -> Value {
    let kind = input.one_of(&["PathPrefix", "Exact", "PathPrefix", "RegularExpression"]);
    let mut matching = json!({"path": {"type": kind, "value": input.one_of(&["/", "/a", "/b", "/a/b"])}});
    if input.flag() {
        matching["headers"] = json!([{"name": "x-a", "value": input.one_of(&["1", "2"])}]);
    }
    if input.below(4) == 3 {
        matching["method"] = "GET".into();
    }
    let mut rule = json!({"matches": [matching]});
    match input.below(8) {
        0 => {
            rule["filters"] =
                json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]);
            return rule;
        }
        1 => {
            rule["filters"] = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x-b"]}}])
        }
        2 => rule["filters"] = json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "c.example.com"}}]),
        _ => {}
    }
    let backends: Vec<Value> = (0..input.below(3))
        .map(|_| {
            let (namespace, name) = input.one_of(&SERVICES);
            let port = input.one_of(&[80, 80, 81]);
            json!({"name": name, "namespace": namespace, "port": port, "weight": input.below(3)})
        })
        .collect();
    rule["backendRefs"] = backends.into();
    rule
}

fn service(input: &mut Input<'_>) -> Value {
    let ports = [(80, "one"), (81, "two")];
    let ports: Vec<Value> = ports[..=input.below(2)]
        .iter()
        .map(|(port, name)| json!({"port": port, "name": name, "appProtocol": input.one_of(&[None, Some("kubernetes.io/h2c")])}))
        .collect();
    json!({"spec": {"ports": ports}})
}

fn slice(input: &mut Input<'_>, service: &str) -> Value {
    let endpoints: Vec<Value> = (0..input.below(3))
        .map(|_| {
            let ready = input.one_of(&[None, Some(true), Some(false)]);
            json!({"addresses": [format!("10.0.0.{}", input.below(4))], "conditions": {"ready": ready}})
        })
        .collect();
    let port = input.one_of(&[8080, 8081]);
    json!({
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "one", "port": port}], "endpoints": endpoints,
    })
}
