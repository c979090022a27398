//! A gateway with many routes, in the four layouts that the budgets name, and each kind of change to it.

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
        manifest(
            GATEWAY_GROUP,
            "v1",
            "Gateway",
            "infra",
            "public",
            r#""spec":{"gatewayClassName":"tidegate","listeners":[{"name":"http","protocol":"HTTP","port":8080,"allowedRoutes":{"namespaces":{"from":"All"}}}]}"#,
        ),
    ];
    for n in 0..services {
        all.push(service(n, ""));
        all.push(slice(n, 1));
    }
    all
}

/// Service number `n`; `app_protocol` may be empty.
pub fn service(n: usize, app_protocol: &str) -> Manifest {
    let protocol = if app_protocol.is_empty() { String::new() } else { format!(r#","appProtocol":"{app_protocol}""#) };
    manifest(
        "",
        "v1",
        "Service",
        "apps",
        &format!("s{n}"),
        &format!(r#""spec":{{"ports":[{{"name":"http","port":80,"targetPort":8080{protocol}}}]}}"#),
    )
}

/// The EndpointSlice of service `n`; `last` is the last byte of its one changing address.
pub fn slice(n: usize, last: u8) -> Manifest {
    let body = format!(
        r#""addressType":"IPv4","ports":[{{"name":"http","port":8080}}],"endpoints":[{{"addresses":["10.1.{}.{last}"],"conditions":{{"ready":true}}}},{{"addresses":["10.2.{}.1"],"conditions":{{"ready":true}}}}]"#,
        n % 256,
        n % 256,
    );
    let named = manifest("discovery.k8s.io", "v1", "EndpointSlice", "apps", &format!("s{n}-a"), &body);
    let json = String::from_utf8_lossy(&named.json).replacen(
        r#""metadata":{"#,
        &format!(r#""metadata":{{"labels":{{"kubernetes.io/service-name":"s{n}"}},"#),
        1,
    );
    Manifest { json: json.into_bytes().into(), ..named }
}

/// Route number `n` of a layout; `version` is what a change changes.
pub fn route(layout: Layout, n: usize, services: usize, version: usize) -> Manifest {
    let (hosts, path) = match layout {
        Layout::HostARoute => (format!(r#""hostnames":["h{n}.example.com"],"#), "/".to_owned()),
        Layout::OneHost => (r#""hostnames":["all.example.com"],"#.to_owned(), format!("/r{n}")),
        Layout::Wildcards => (format!(r#""hostnames":["*.w{n}.example.com"],"#), "/".to_owned()),
        Layout::CatchAll => (String::new(), format!("/r{n}")),
    };
    let body = format!(
        r#""spec":{{"parentRefs":[{{"name":"public","namespace":"infra"}}],{hosts}"rules":[{{"matches":[{{"path":{{"type":"PathPrefix","value":"{path}"}}}}],"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":{{"set":[{{"name":"x-version","value":"{version}"}}]}}}}],"backendRefs":[{{"name":"s{}","port":80}}]}}]}}"#,
        n % services,
    );
    manifest(GATEWAY_GROUP, "v1", "HTTPRoute", "apps", &format!("r{n}"), &body)
}
