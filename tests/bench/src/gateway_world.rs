//! A gateway with many routes, in the four layouts that the budgets name, and each kind of change to it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// How the routes of one listener share hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each route has a host of its own.
    HostARoute,
    /// All routes share one host and differ by path.
    OneHost,
    /// Each route has a wildcard of its own.
    Wildcards,
    /// No route names a host; they differ by path.
    CatchAll,
}

/// All layouts.
pub const LAYOUTS: [Layout; 4] = [Layout::HostARoute, Layout::OneHost, Layout::Wildcards, Layout::CatchAll];

/// One object: group, kind, and its JSON.
pub struct Manifest {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The object.
    pub json: Bytes,
}

/// How many of these are routes.
pub fn routes_in(manifests: &[Manifest]) -> usize {
    manifests.iter().filter(|manifest| manifest.kind == "HTTPRoute").count()
}

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

fn manifest(
    group: &'static str,
    version: &str,
    kind: &'static str,
    namespace: &str,
    name: &str,
    body: &str,
) -> Manifest {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let namespace = if namespace.is_empty() { String::new() } else { format!(r#","namespace":"{namespace}""#) };
    let json =
        format!(r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"name":"{name}"{namespace}}},{body}}}"#);
    Manifest { group, kind, json: json.into() }
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A route sets a header to another value.
    Route,
    /// An endpoint gets another address.
    Slice,
    /// A Service's port changes its protocol.
    Service,
    /// A certificate is replaced.
    Secret,
    /// A reference over namespaces is allowed, or no longer.
    Grant,
}

/// All kinds of changes.
pub const EDITS: [Edit; 5] = [Edit::Route, Edit::Slice, Edit::Service, Edit::Secret, Edit::Grant];

impl Edit {
    /// The kind of object that changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Slice => "slice",
            Self::Service => "Service",
            Self::Secret => "Secret",
            Self::Grant => "ReferenceGrant",
        }
    }
}

/// A gateway with many routes on one HTTP listener, spread over some Services; beside it, one with an HTTPS
/// listener and its certificate, and a route whose Service is in another namespace.
pub struct World {
    layout: Layout,
    routes: usize,
    services: usize,
    certificates: [(String, String); 2],
}

impl World {
    /// Prepares it; two certificates are made now.
    pub fn new(layout: Layout, routes: usize) -> Self {
        Self { layout, routes, services: (routes / 10).max(1), certificates: [certificate(), certificate()] }
    }

    /// Every object, in its first version.
    pub fn manifests(&self) -> Vec<Manifest> {
        let mut all = base(self.services);
        all.push(gateway(
            "secure",
            r#"{"name":"https","protocol":"HTTPS","port":8443,"tls":{"certificateRefs":[{"name":"certificate"}]}}"#,
        ));
        all.push(service_in("shared", "granted", ""));
        all.push(slice_in("shared", "granted", 1, 1));
        all.extend((0..self.routes).map(|n| route(self.layout, n, self.services, 0)));
        let backend = r#""name":"granted","namespace":"shared""#;
        all.push(route_to(self.layout, self.routes, backend, 0));
        all.push(self.edit(Edit::Secret, 0));
        all.push(self.edit(Edit::Grant, 0));
        all
    }

    /// The `version`th change of a kind. Each differs from the last, and they wander over all objects.
    pub fn edit(&self, edit: Edit, version: usize) -> Manifest {
        // 7,919 is a prime and no divisor of any number of routes here, so that all get their turn.
        let at = version * 7_919;
        match edit {
            Edit::Route => route(self.layout, at % self.routes, self.services, version),
            // 251 is a prime, so that no lap over the slices finds one as it was left.
            Edit::Slice => slice(at % self.services, (2 + version % 251) as u8),
            Edit::Service => {
                let lap = version.saturating_sub(1) / self.services;
                service(at % self.services, if lap.is_multiple_of(2) { "kubernetes.io/h2c" } else { "" })
            }
            Edit::Secret => {
                let (chain, key) = &self.certificates[version % 2];
                let (chain, key) = (BASE64_STANDARD.encode(chain), BASE64_STANDARD.encode(key));
                let body = format!(r#""type":"kubernetes.io/tls","data":{{"tls.crt":"{chain}","tls.key":"{key}"}}"#);
                manifest("", "v1", "Secret", "infra", "certificate", &body)
            }
            Edit::Grant => {
                let from = if version.is_multiple_of(2) { "apps" } else { "elsewhere" };
                let body = format!(
                    r#""spec":{{"from":[{{"group":"{GATEWAY_GROUP}","kind":"HTTPRoute","namespace":"{from}"}}],"to":[{{"group":"","kind":"Service"}}]}}"#
                );
                manifest(GATEWAY_GROUP, "v1", "ReferenceGrant", "shared", "apps", &body)
            }
        }
    }
}

/// Route number `n` with a host of its own, which Envoy itself answers: with a redirect that names the version.
pub fn redirect(n: usize, version: usize) -> Manifest {
    let body = format!(
        r#""spec":{{"parentRefs":[{{"name":"public","namespace":"infra"}}],"hostnames":["h{n}.example.com"],"rules":[{{"matches":[{{"path":{{"type":"PathPrefix","value":"/"}}}}],"filters":[{{"type":"RequestRedirect","requestRedirect":{{"hostname":"v{version}.example.com"}}}}]}}]}}"#
    );
    manifest(GATEWAY_GROUP, "v1", "HTTPRoute", "apps", &format!("r{n}"), &body)
}

/// A self-signed certificate and its key, PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["secure.example.com".to_owned()]);
    let made = made.unwrap_or_else(|error| panic!("a certificate: {error}"));
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Everything but the routes: class, Gateway with one HTTP listener, Services and their endpoints.
pub fn base(services: usize) -> Vec<Manifest> {
    let mut all = vec![
        manifest(
            GATEWAY_GROUP,
            "v1",
            "GatewayClass",
            "",
            "tidegate",
            r#""spec":{"controllerName":"tidegate.dev/gateway-controller"}"#,
        ),
        gateway(
            "public",
            r#"{"name":"http","protocol":"HTTP","port":8080,"allowedRoutes":{"namespaces":{"from":"All"}}}"#,
        ),
    ];
    for n in 0..services {
        all.push(service(n, ""));
        all.push(slice(n, 1));
    }
    all
}

fn gateway(name: &str, listener: &str) -> Manifest {
    let body = format!(r#""spec":{{"gatewayClassName":"tidegate","listeners":[{listener}]}}"#);
    manifest(GATEWAY_GROUP, "v1", "Gateway", "infra", name, &body)
}

/// Service number `n`; `app_protocol` may be empty.
pub fn service(n: usize, app_protocol: &str) -> Manifest {
    service_in("apps", &format!("s{n}"), app_protocol)
}

fn service_in(namespace: &str, name: &str, app_protocol: &str) -> Manifest {
    let protocol = if app_protocol.is_empty() { String::new() } else { format!(r#","appProtocol":"{app_protocol}""#) };
    let body = format!(r#""spec":{{"ports":[{{"name":"http","port":80,"targetPort":8080{protocol}}}]}}"#);
    manifest("", "v1", "Service", namespace, name, &body)
}

/// The EndpointSlice of service `n`; `last` is the last byte of its one changing address.
pub fn slice(n: usize, last: u8) -> Manifest {
    slice_in("apps", &format!("s{n}"), n, last)
}

fn slice_in(namespace: &str, service: &str, n: usize, last: u8) -> Manifest {
    let body = format!(
        r#""addressType":"IPv4","ports":[{{"name":"http","port":8080}}],"endpoints":[{{"addresses":["10.1.{}.{last}"],"conditions":{{"ready":true}}}},{{"addresses":["10.2.{}.1"],"conditions":{{"ready":true}}}}]"#,
        n % 256,
        n % 256,
    );
    let named = manifest("discovery.k8s.io", "v1", "EndpointSlice", namespace, &format!("{service}-a"), &body);
    let json = String::from_utf8_lossy(&named.json).replacen(
        r#""metadata":{"#,
        &format!(r#""metadata":{{"labels":{{"kubernetes.io/service-name":"{service}"}},"#),
        1,
    );
    Manifest { json: json.into_bytes().into(), ..named }
}

/// Route number `n` of a layout; `version` is what a change changes.
pub fn route(layout: Layout, n: usize, services: usize, version: usize) -> Manifest {
    route_to(layout, n, &format!(r#""name":"s{}""#, n % services), version)
}

fn route_to(layout: Layout, n: usize, backend: &str, version: usize) -> Manifest {
    let (hosts, path) = match layout {
        Layout::HostARoute => (format!(r#""hostnames":["h{n}.example.com"],"#), "/".to_owned()),
        Layout::OneHost => (r#""hostnames":["all.example.com"],"#.to_owned(), format!("/r{n}")),
        Layout::Wildcards => (format!(r#""hostnames":["*.w{n}.example.com"],"#), "/".to_owned()),
        Layout::CatchAll => (String::new(), format!("/r{n}")),
    };
    let body = format!(
        r#""spec":{{"parentRefs":[{{"name":"public","namespace":"infra"}}],{hosts}"rules":[{{"matches":[{{"path":{{"type":"PathPrefix","value":"{path}"}}}}],"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"set":[{{"name":"x-version","value":"{version}"}}]}}}}],"backendRefs":[{{{backend},"port":80}}]}}]}}"#,
    );
    manifest(GATEWAY_GROUP, "v1", "HTTPRoute", "apps", &format!("r{n}"), &body)
}
