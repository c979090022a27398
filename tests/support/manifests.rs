//! Manifests as text, put together from what a test is about. Everything is in the namespace `apps` unless it says
//! otherwise, and routes attach to the Gateway `public`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Several documents as one file.
pub fn mk_file(documents: &[String]) -> String {
    documents.join("\n---\n")
}

/// Text, each line after the first moved to the right.
fn indented(text: &str, by: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let left = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| format!("{:by$}{}\n", "", &line[left..])).collect()
}

/// Our GatewayClass.
pub fn mk_class() -> String {
    "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: tidegate }
spec: { controllerName: tidegate.dev/gateway-controller }"
        .to_owned()
}

/// A Gateway with listeners in YAML.
pub fn mk_gateway(name: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name}, namespace: apps }}
spec:
  gatewayClassName: tidegate
  listeners:
{}",
        indented(listeners, 4)
    )
}

/// Our class, and the Gateway `public` with one HTTP listener for all hosts.
pub fn mk_http_gateway(port: u16) -> String {
    mk_file(&[mk_class(), mk_gateway("public", &mk_http_listener("http", port, ""))])
}

/// An HTTP listener with further keys in YAML's flow style, such as `hostname: a.example.com`.
pub fn mk_http_listener(name: &str, port: u16, more: &str) -> String {
    format!("- {{ name: {name}, port: {port}, protocol: HTTP, {more} }}\n")
}

/// An HTTPS listener for a host with the certificates of some Secrets.
pub fn mk_https_listener(name: &str, port: u16, hostname: &str, secrets: &[&str]) -> String {
    let refs: Vec<String> = secrets.iter().map(|secret| format!("{{ name: {secret} }}")).collect();
    let hostname = if hostname.is_empty() { String::new() } else { format!("hostname: \"{hostname}\", ") };
    let refs = refs.join(", ");
    format!("- {{ name: {name}, port: {port}, protocol: HTTPS, {hostname}tls: {{ certificateRefs: [{refs}] }} }}\n")
}

/// An HTTPRoute at the Gateway `public` with rules in YAML.
pub fn mk_route(name: &str, rules: &str) -> String {
    mk_route_for(name, &[], rules)
}

/// An HTTPRoute at the Gateway `public` for some hosts.
pub fn mk_route_for(name: &str, hostnames: &[&str], rules: &str) -> String {
    mk_route_at("apps", name, "[{ name: public, namespace: apps }]", hostnames, rules)
}

/// An HTTPRoute with its parents in YAML.
pub fn mk_route_at(namespace: &str, name: &str, parents: &str, hostnames: &[&str], rules: &str) -> String {
    let hostnames = if hostnames.is_empty() { String::new() } else { format!("  hostnames: {hostnames:?}\n") };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  parentRefs: {parents}
{hostnames}  rules:
{}",
        indented(rules, 4)
    )
}

/// The route of all paths, for some hosts, to one Service.
pub fn mk_route_to(name: &str, hostnames: &[&str], service: &str) -> String {
    mk_route_for(name, hostnames, &format!("- backendRefs: [{{ name: {service}, port: 80 }}]"))
}

/// A Service with the port 80, and the slice with its endpoints.
pub fn mk_service(name: &str, endpoints: &[SocketAddr]) -> String {
    mk_service_in("apps", name, endpoints)
}

/// The same in another namespace.
pub fn mk_service_in(namespace: &str, name: &str, endpoints: &[SocketAddr]) -> String {
    let service = mk_bare_service(namespace, name, "- { name: http, port: 80 }");
    mk_file(&[service, mk_slice(namespace, name, endpoints)])
}

/// A Service with ports in YAML, and no endpoints.
pub fn mk_bare_service(namespace: &str, name: &str, ports: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  ports:
{}",
        indented(ports, 4)
    )
}

/// The one slice of a Service, for its port `http`: endpoints of one address family, each at a port of its own, so
/// that each is a slice.
pub fn mk_slice(namespace: &str, service: &str, endpoints: &[SocketAddr]) -> String {
    let slices = endpoints.iter().enumerate().map(|(at, endpoint)| {
        let family = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" };
        let (address, port) = (endpoint.ip(), endpoint.port());
        let endpoint = format!("- {{ addresses: [\"{address}\"], conditions: {{ ready: true }} }}");
        mk_slice_with(namespace, service, &format!("{service}-{at}"), family, "http", port, &endpoint)
    });
    mk_file(&slices.collect::<Vec<_>>())
}

/// A slice with one port, and endpoints in YAML.
pub fn mk_slice_with(
    namespace: &str,
    service: &str,
    name: &str,
    family: &str,
    port_name: &str,
    port: u16,
    endpoints: &str,
) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{ kubernetes.io/service-name: {service} }}
addressType: {family}
ports: [{{ name: {port_name}, port: {port} }}]
endpoints:
{}",
        indented(endpoints, 2)
    )
}

/// A Secret with a certificate.
pub fn mk_secret(name: &str, certificate: &str, key: &str) -> String {
    let (certificate, key) = (BASE64_STANDARD.encode(certificate), BASE64_STANDARD.encode(key));
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: {name}, namespace: apps }}
type: kubernetes.io/tls
data: {{ tls.crt: {certificate}, tls.key: {key} }}"
    )
}

/// Lets HTTPRoutes of the namespace `apps` refer to Services of another one.
pub fn mk_grant(namespace: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{ name: routes-of-apps, namespace: {namespace} }}
spec:
  from: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps }}]
  to: [{{ group: \"\", kind: Service }}]"
    )
}

/// A Namespace with labels in YAML's flow style.
pub fn mk_namespace(name: &str, labels: &str) -> String {
    let mut text = String::new();
    let _ = write!(text, "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ {labels} }} }}");
    text
}
