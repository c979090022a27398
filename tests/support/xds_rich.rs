//! A model in which everything that the encoders can write is written at least once. No `..default()`: a field
//! that the model gains must be given a value here.

use std::sync::Arc;
use std::time::Duration;

use tidegate::model::{
    AppProtocol, Backend, Cluster, Endpoint, Endpoints, FilterChain, HeaderEdit, Health, HostRewrite, Listener, Match,
    Matcher, Mirror, PathMatch, PathRewrite, Policies, Precedence, Redirect, Route, RouteAction, RouteFilters,
    Timeouts,
};
use tidegate_actors::id::Name;

use super::{
    SOURCE, Update, mk_cluster_id, mk_endpoints, mk_gateway, mk_host, mk_http_listener, mk_https_chain, mk_listener_id,
    mk_object, mk_route, mk_route_to, mk_secret, mk_table,
};

/// The model: an HTTP listener on one port, an HTTPS listener on the other with one certificate (chain and key).
pub fn mk_rich(http: u16, https: u16, certificate: (&str, &str)) -> Update {
    let table = format!("https/{SOURCE}/infra/public/web").into();
    let web: FilterChain = mk_https_chain("public", "web", &["a.example.com", "*.b.example.com"], &["cert"]);
    let hosts = [
        mk_host(&mk_table(http), "a.example.com", mk_routes()),
        mk_host(&mk_table(http), "*", [mk_route_to("one")]),
        mk_host(&table, "*.b.example.com", [mk_route_to("two")]),
    ];
    let update = Update::to(1)
        .listener(mk_http_listener(http, &["public"]))
        .listener(Listener { id: mk_listener_id(https), chains: vec![web] })
        .secret(mk_secret("cert", certificate.0, certificate.1))
        .cluster(mk_cluster("one", AppProtocol::Http1, Duration::from_secs(1)))
        .cluster(mk_cluster("two", AppProtocol::H2c, Duration::from_micros(1_250_500)))
        .cluster(mk_cluster("none", AppProtocol::WebSocket, Duration::from_secs(10)))
        .endpoints(mk_zoned("one"))
        .endpoints(mk_endpoints("two", &["[::1]:9090".parse().unwrap()]));
    hosts.into_iter().fold(update, Update::host)
}

fn mk_cluster(service: &str, protocol: AppProtocol, connect_timeout: Duration) -> Cluster {
    Cluster {
        id: mk_cluster_id(service),
        protocol,
        connect_timeout,
        policies: Policies {},
        gateways: [mk_gateway("public")].into(),
        origin: mk_object("Service", service),
    }
}

fn mk_zoned(service: &str) -> Endpoints {
    let mk = |address: &str, zone: Option<&str>, health| Endpoint {
        address: address.parse().unwrap(),
        port: 8080,
        zone: zone.map(Name::from),
        health,
    };
    let endpoints = [
        mk("10.0.0.1", None, Health::Ready),
        mk("10.0.0.2", Some("east"), Health::Ready),
        mk("10.0.0.3", Some("east"), Health::Ready),
        mk("10.0.0.4", None, Health::Draining),
    ];
    Endpoints { id: mk_cluster_id(service), endpoints: endpoints.into(), origins: Vec::new() }
}

fn mk_routes() -> Vec<(Precedence, Arc<Route>)> {
    let edited = |name: &str, path: PathMatch, action: RouteAction| {
        let (precedence, route) = mk_route(name, path.clone(), action);
        let Route { name, action, origin, .. } = Route::clone(&route);
        let (matching, filters) = (mk_conditions(path), mk_filters());
        (precedence, Arc::new(Route { name, matching, action, filters, policies: Policies {}, origin }))
    };
    let redirect = |path: Option<PathRewrite>, status: u16| Redirect {
        scheme: Some("https".into()),
        host: Some("b.example.com".into()),
        port: Some(8443),
        path,
        status,
    };
    let full = Some(PathRewrite::Full("/new".into()));
    let prefix = |prefix: &str| Some(PathRewrite::Prefix(prefix.into()));
    vec![
        edited("weighted", PathMatch::Exact("/weighted".into()), mk_weighted()),
        edited("regex", PathMatch::Regex("/r/[a-z]+".into()), mk_forwarding(full.clone(), None)),
        mk_route("prefix", PathMatch::Prefix("/prefix".into()), mk_forwarding(prefix("/other"), Some("c.example.com"))),
        mk_route("moved", PathMatch::Prefix("/moved".into()), RouteAction::Redirect(redirect(full, 308))),
        mk_route("new", PathMatch::Prefix("/new".into()), RouteAction::Redirect(redirect(prefix("/newer"), 302))),
        mk_route("gone", PathMatch::Prefix("/gone".into()), RouteAction::Redirect(redirect(prefix("/"), 307))),
        mk_route(
            "broken",
            PathMatch::Prefix("/".into()),
            RouteAction::Respond { status: 500, reason: "broken".to_owned() },
        ),
    ]
}

fn mk_conditions(path: PathMatch) -> Match {
    let exact = |value: &str| Matcher::Exact(value.into());
    let regex = |value: &str| Matcher::Regex(value.into());
    Match {
        path,
        method: Some("GET".into()),
        headers: vec![("x-exact".into(), exact("1")), ("x-regex".into(), regex("[0-9]+"))],
        query: vec![("exact".into(), exact("1")), ("regex".into(), regex("[0-9]+"))],
    }
}

fn mk_filters() -> RouteFilters {
    let edit = |prefix: &str| HeaderEdit {
        set: vec![(format!("{prefix}-set").into(), "100%".into())],
        add: vec![(format!("{prefix}-add").into(), "".into())],
        remove: vec![format!("{prefix}-remove").into()],
    };
    RouteFilters { request: edit("x-request"), response: edit("x-response") }
}

fn mk_weighted() -> RouteAction {
    let mut filters = mk_filters();
    filters.request.set.push(("host".into(), "d.example.com".into()));
    RouteAction::Forward {
        backends: vec![
            Backend { cluster: Some(mk_cluster_id("one")), weight: 9, filters },
            Backend { cluster: None, weight: 1, filters: RouteFilters::default() },
        ],
        mirrors: vec![
            Mirror { cluster: mk_cluster_id("two"), fraction: (100, 100) },
            Mirror { cluster: mk_cluster_id("two"), fraction: (1, 3) },
        ],
        path_rewrite: None,
        host_rewrite: None,
        timeouts: Timeouts {
            request: Some(Duration::from_secs(10)),
            backend_request: Some(Duration::from_millis(2500)),
        },
    }
}

fn mk_forwarding(path_rewrite: Option<PathRewrite>, host: Option<&str>) -> RouteAction {
    RouteAction::Forward {
        backends: vec![Backend { cluster: Some(mk_cluster_id("one")), weight: 1, filters: RouteFilters::default() }],
        mirrors: Vec::new(),
        path_rewrite,
        host_rewrite: host.map(|host| HostRewrite(host.into())),
        timeouts: Timeouts { request: None, backend_request: None },
    }
}
