//! A hundred secrets of all sorts, where secrets of their sort are kept.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate::resource;
use tidegate_actors::id::Scope;
use tidegate_apiserver::ApiServer;

use crate::needles::Canaries;
use crate::pki::{Authority, Certificate, mk_server, self_signed, write_files};

/// How many certificates each source has that proxies are sent.
pub const CERTIFICATES: usize = 20;

/// A text that is nowhere else.
pub fn mk_text(name: &str) -> String {
    let fresh = rcgen::KeyPair::generate().unwrap().serialize_der();
    let tail: String = fresh.iter().rev().take(20).map(|byte| format!("{byte:02x}")).collect();
    format!("canary-{name}-{tail}")
}

fn mk_object(kind: &str, version: &str, namespace: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": { "namespace": namespace, "name": name, "generation": 1 },
    });
    let (Value::Object(all), Value::Object(rest)) = (&mut object, rest) else { panic!("an object") };
    all.extend(rest);
    object
}

fn mk_secret(name: &str, kind: &str, data: Value) -> Value {
    mk_object("Secret", "v1", "apps", name, json!({ "type": kind, "data": data }))
}

/// A Secret with a certificate.
pub fn mk_certificate(name: &str, certificate: &str, key: &str) -> Value {
    let data = json!({ "tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key) });
    mk_secret(name, "kubernetes.io/tls", data)
}

fn mk_class() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "tidegate" },
        "spec": { "controllerName": "tidegate.dev/gateway-controller" },
    })
}

/// A Gateway with a listener for each of some certificates.
fn mk_gateway(name: &str, port: u16, certificates: &[String]) -> Value {
    let listener = |certificate: &String| {
        json!({
            "name": certificate, "port": port, "protocol": "HTTPS", "hostname": format!("{certificate}.example"),
            "tls": { "certificateRefs": [{ "name": certificate }] },
        })
    };
    let listeners: Vec<Value> = certificates.iter().map(listener).collect();
    let spec = json!({ "spec": { "gatewayClassName": "tidegate", "listeners": listeners } });
    mk_object("Gateway", "gateway.networking.k8s.io/v1", "apps", name, spec)
}

/// What is in one source: 40 objects with as many secrets, and a Gateway that uses the certificates, whose names are
/// given back.
pub fn mk_source(source: &str, port: u16, canaries: &mut Canaries) -> (Vec<Value>, Vec<String>) {
    let mut objects = vec![mk_class()];
    let mut used = Vec::new();
    for n in 0..CERTIFICATES {
        let name = format!("{source}-tls-{n}");
        let Certificate { chain, key } = self_signed(&mk_server(&format!("{name}.example")));
        canaries.add(&name, &key);
        objects.push(mk_certificate(&name, &chain, &key));
        used.push(name);
    }
    for n in 0..20 {
        let name = format!("{source}-{n}");
        let text = mk_text(&name);
        canaries.add(&name, &text);
        objects.push(match n % 5 {
            0 => mk_secret(&name, "Opaque", json!({ "password": STANDARD.encode(&text) })),
            1 => mk_object("Secret", "v1", "apps", &name, json!({ "stringData": { "token": text } })),
            2 => {
                let applied = json!({ "kind": "Secret", "data": { "password": text } }).to_string();
                let mut secret = mk_secret(&name, "Opaque", json!({}));
                secret["metadata"]["annotations"] =
                    json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
                secret
            }
            3 => {
                let logins =
                    json!({ "auths": { "registry.example": { "auth": STANDARD.encode(format!("u:{text}")) } } });
                canaries.add(format!("{name} in a login"), &logins.to_string());
                mk_secret(
                    &name,
                    "kubernetes.io/dockerconfigjson",
                    json!({ ".dockerconfigjson": STANDARD.encode(logins.to_string()) }),
                )
            }
            // A key that is none, and is used all the same.
            _ => {
                let key =
                    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&text));
                used.push(name.clone());
                mk_certificate(&name, &self_signed(&mk_server("broken.example")).chain, &key)
            }
        });
    }
    objects.push(mk_gateway(&format!("{source}-gateway"), port, &used));
    (objects, used)
}

/// Writes objects as manifests, a file each.
pub fn write(folder: &Path, objects: &[Value]) {
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        std::fs::write(folder.join(format!("{name}.json")), object.to_string()).unwrap();
    }
}

/// Puts objects into an API server, and before them the definitions of what the gateway reads.
pub fn put(server: &ApiServer, objects: &[Value]) {
    const GATEWAY_API: &str = "gateway.networking.k8s.io";
    for kind in resource::kinds().iter().map(|kind| &kind.resource_type).filter(|of| of.group() == GATEWAY_API) {
        let version = json!({
            "name": kind.version(), "served": true, "storage": true, "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
        });
        let scope = if kind.scope() == Scope::Cluster { "Cluster" } else { "Namespaced" };
        let names = json!({ "plural": kind.plural(), "kind": kind.kind() });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": kind.plural_and_group() },
            "spec": { "group": GATEWAY_API, "scope": scope, "versions": [version], "names": names },
        });
        server.put(&definition).unwrap();
    }
    server.put(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "apps" } })).unwrap();
    for object in objects {
        server.put(object).unwrap();
    }
}

/// Kubeconfigs: one that works, one whose server is away, and one that is none.
pub fn write_kubeconfigs(folder: &Path, server: &ApiServer, canaries: &mut Canaries) {
    let mut secret = |name: &str| {
        let text = mk_text(name);
        canaries.add(name, &text);
        text
    };
    let write = |name: &str, server: &str, user: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n\
             clusters: [{{name: it, cluster: {{server: '{server}'}}}}]\nusers:\n- name: it\n  user: {user}\n"
        );
        std::fs::write(folder.join(name), text).unwrap();
    };
    let token = secret("a cluster's token");
    server.set_tokens([(&*token, "ann")]);
    write("cluster.kubeconfig", &server.url(), &format!("{{token: {token}}}"));
    let password = secret("a cluster's password");
    write("west.kubeconfig", "http://127.0.0.1:1", &format!("{{username: ann, password: {password}}}"));
    let key = STANDARD.encode(secret("a cluster's client key"));
    let certificate = STANDARD.encode(self_signed(&mk_server("ann")).chain);
    let user = format!("{{client-certificate-data: {certificate}, client-key-data: {key}}}");
    write("keyed.kubeconfig", "https://127.0.0.1:1", &user);
    let file = folder.join("token");
    std::fs::write(&file, format!("{}\n\u{1}", secret("a token that no header takes"))).unwrap();
    write("odd.kubeconfig", "http://127.0.0.1:1", &format!("{{tokenFile: '{}'}}", file.display()));
    let broken = secret("a password in a file that does not parse");
    write("broken.kubeconfig", "http://127.0.0.1:1", &format!("{{username: ann, password: [{broken}"));
}

/// The key by which what is kept on disk is encrypted.
pub fn write_snapshot_key(folder: &Path, canaries: &mut Canaries) {
    let fresh = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = STANDARD.encode(&fresh[fresh.len() - 32..]);
    canaries.add("the snapshot's key", &key);
    std::fs::write(folder.join("snapshot.key"), key).unwrap();
}

/// The server's files for TLS.
pub fn write_tls(folder: &Path, own: &Authority, clients: &Authority, canaries: &mut Canaries) {
    let certificate = own.issue(&mk_server(crate::caller::SERVER));
    canaries.add("the xDS server's key", &certificate.key);
    write_files(folder, &certificate, &clients.pem());
}
