//! Builders of gateway models for xDS tests: small, complete, and named after what they stand for.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidegate::model::{
    AppProtocol, Backend, Cluster, ClusterId, Endpoint, Endpoints, FilterChain, GatewayId, Health, Listener,
    ListenerId, Match, ModelUpdate, PathMatch, Policies, Precedence, Protocol, Route, RouteAction, RouteFilters,
    Secret, SecretId, Timeouts, TlsTermination, VirtualHost, VirtualHostId,
};
use tidegate_actors::id::{Name, ObjectKey, ObjectRef, ResourceType, Scope};

#[path = "xds_rich.rs"]
mod rich;

#[allow(unused_imports, reason = "not every suite that shares these builders uses all of them")]
pub use rich::mk_rich;

/// The source of everything.
pub const SOURCE: &str = "test";

/// An object of a kind in the namespace `apps`.
pub fn mk_object(kind: &str, name: &str) -> ObjectRef {
    let plural = format!("{}s", kind.to_lowercase());
    ObjectRef {
        resource_type: ResourceType::new("gateway.networking.k8s.io", "v1", kind, &plural, Scope::Namespaced),
        key: ObjectKey::namespaced(SOURCE, "apps", name),
    }
}

/// The Gateway `infra/NAME`.
pub fn mk_gateway(name: &str) -> GatewayId {
    GatewayId { source: SOURCE.into(), namespace: "infra".into(), name: name.into() }
}

/// The Service `apps/NAME`, port 80.
pub fn mk_cluster_id(service: &str) -> ClusterId {
    ClusterId { source: SOURCE.into(), namespace: "apps".into(), service: service.into(), port: 80 }
}

/// Its cluster, for the Gateway `infra/public`.
pub fn mk_cluster(service: &str) -> Cluster {
    Cluster {
        id: mk_cluster_id(service),
        protocol: AppProtocol::Http1,
        connect_timeout: Duration::from_secs(1),
        policies: Policies::default(),
        gateways: [mk_gateway("public")].into(),
        origin: mk_object("Service", service),
    }
}

/// Its endpoints, all ready.
pub fn mk_endpoints(service: &str, addresses: &[SocketAddr]) -> Endpoints {
    let ready = addresses.iter().map(|address| Endpoint {
        address: address.ip(),
        port: address.port(),
        zone: None,
        health: Health::Ready,
    });
    Endpoints {
        id: mk_cluster_id(service),
        endpoints: ready.collect(),
        origins: vec![mk_object("EndpointSlice", service)],
    }
}

/// The routing table of the HTTP listener on a port.
pub fn mk_table(port: u16) -> Name {
    format!("http/127.0.0.1:{port}").into()
}

/// The socket on a port of the loopback address.
pub fn mk_listener_id(port: u16) -> ListenerId {
    ListenerId { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

/// A clear-text listener of some Gateways.
pub fn mk_http_listener(port: u16, gateways: &[&str]) -> Listener {
    let chain = FilterChain {
        name: "http".into(),
        gateways: gateways.iter().map(|name| mk_gateway(name)).collect(),
        protocol: Protocol::Http,
        route_config: mk_table(port),
        policies: Policies::default(),
        listeners: gateways.iter().map(|name| (mk_object("Gateway", name), Name::from("http"))).collect(),
        origins: vec![mk_object("Gateway", gateways[0])],
    };
    Listener { id: mk_listener_id(port), chains: vec![chain] }
}

/// One TLS filter chain: the listener `https/test/infra/GATEWAY/NAME`.
pub fn mk_https_chain(gateway: &str, name: &str, server_names: &[&str], secrets: &[&str]) -> FilterChain {
    let full = Name::from(format!("https/{SOURCE}/infra/{gateway}/{name}"));
    FilterChain {
        name: full.clone(),
        gateways: vec![mk_gateway(gateway)],
        protocol: Protocol::Https(TlsTermination {
            server_names: server_names.iter().map(|name| Name::from(*name)).collect(),
            certificates: secrets.iter().map(|name| mk_secret_id(name)).collect(),
        }),
        route_config: full,
        policies: Policies::default(),
        listeners: vec![(mk_object("Gateway", gateway), name.into())],
        origins: vec![mk_object("Gateway", gateway)],
    }
}

/// The Secret `apps/NAME`.
pub fn mk_secret_id(name: &str) -> SecretId {
    SecretId { source: SOURCE.into(), namespace: "apps".into(), name: name.into() }
}

/// A certificate with its key.
pub fn mk_secret(name: &str, chain: &str, key: &str) -> Secret {
    Secret {
        id: mk_secret_id(name),
        gateways: [mk_gateway("public")].into(),
        origin: mk_object("Secret", name),
        certificate_chain: chain.to_owned().into(),
        private_key: key.to_owned().into(),
        not_after: 4_000_000_000,
    }
}

/// What a route does when it forwards to one Service.
pub fn mk_forward(service: &str) -> RouteAction {
    RouteAction::Forward {
        backends: vec![Backend { cluster: Some(mk_cluster_id(service)), weight: 1, filters: RouteFilters::default() }],
        mirrors: Vec::new(),
        path_rewrite: None,
        host_rewrite: None,
        timeouts: Timeouts::default(),
    }
}

/// A match on nothing but the path.
pub fn mk_match(path: PathMatch) -> Match {
    Match { path, method: None, headers: Vec::new(), query: Vec::new() }
}

/// The HTTPRoute `apps/NAME` with one rule.
pub fn mk_route(name: &str, path: PathMatch, action: RouteAction) -> (Precedence, Arc<Route>) {
    let (path_kind, text) = match &path {
        PathMatch::Exact(text) => (0, text),
        PathMatch::Prefix(text) => (1, text),
        PathMatch::Regex(text) => (2, text),
    };
    let precedence = Precedence {
        path_kind,
        path_len: Reverse(u32::try_from(text.len()).unwrap()),
        method: Reverse(false),
        headers: Reverse(0),
        query: Reverse(0),
        created: 0,
        object: (format!("apps/{name}").into(), SOURCE.into()),
        rule: 0,
        matching: 0,
    };
    let route = Route {
        name: format!("apps/{name}/0/0").into(),
        matching: mk_match(path),
        action,
        filters: RouteFilters::default(),
        policies: Policies::default(),
        origin: mk_object("HTTPRoute", name),
    };
    (precedence, Arc::new(route))
}

/// The route of all paths to a Service, by an HTTPRoute of the same name.
pub fn mk_route_to(service: &str) -> (Precedence, Arc<Route>) {
    mk_route(service, PathMatch::Prefix("/".into()), mk_forward(service))
}

/// A virtual host of the Gateway `infra/public`.
pub fn mk_host(table: &Name, domain: &str, routes: impl IntoIterator<Item = (Precedence, Arc<Route>)>) -> VirtualHost {
    VirtualHost {
        id: VirtualHostId { route_config: table.clone(), domain: domain.into() },
        gateway: mk_gateway("public"),
        routes: routes.into_iter().collect(),
        policies: Policies::default(),
    }
}

/// A model update, put together step by step.
#[derive(Default)]
pub struct Update(pub ModelUpdate);

impl Update {
    /// The step to a version.
    pub fn to(version: u64) -> Self {
        Self(ModelUpdate { version, ..ModelUpdate::default() })
    }

    /// Sets a listener.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.0.listeners.push((listener.id, Some(Arc::new(listener))));
        self
    }

    /// Removes a listener.
    pub fn no_listener(mut self, port: u16) -> Self {
        self.0.listeners.push((mk_listener_id(port), None));
        self
    }

    /// Sets a virtual host.
    pub fn host(mut self, host: VirtualHost) -> Self {
        self.0.virtual_hosts.push((host.id.clone(), Some(Arc::new(host))));
        self
    }

    /// Removes a virtual host.
    pub fn no_host(mut self, table: &Name, domain: &str) -> Self {
        let id = VirtualHostId { route_config: table.clone(), domain: domain.into() };
        self.0.virtual_hosts.push((id, None));
        self
    }

    /// Sets a cluster.
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.0.clusters.push((cluster.id.clone(), Some(Arc::new(cluster))));
        self
    }

    /// Sets endpoints.
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.0.endpoints.push((endpoints.id.clone(), Some(Arc::new(endpoints))));
        self
    }

    /// Sets a Service: its cluster and its endpoints.
    pub fn service(self, service: &str, addresses: &[SocketAddr]) -> Self {
        self.cluster(mk_cluster(service)).endpoints(mk_endpoints(service, addresses))
    }

    /// Removes a Service.
    pub fn no_service(mut self, service: &str) -> Self {
        self.0.clusters.push((mk_cluster_id(service), None));
        self.0.endpoints.push((mk_cluster_id(service), None));
        self
    }

    /// Sets a certificate.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.0.secrets.push((secret.id.clone(), Some(Arc::new(secret))));
        self
    }
}
