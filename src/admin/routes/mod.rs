//! The paths of the API, each with its handler.

mod actors;

mod chaos;

mod health;

mod log;

mod model;

mod resources;

mod watches;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter};

use super::answer::Failure;
use super::guard::{Hosts, check_host, check_token, deadline};
use super::state::AdminState;
use crate::limit::Limit;

/// A path with the methods that it takes; what serves it, and what is said of it, are one.
struct Route {
    path: &'static str,
    methods: Vec<Method>,
    handlers: MethodRouter<AdminState>,
}

fn at(path: &'static str) -> Route {
    Route { path, methods: Vec::new(), handlers: MethodRouter::new() }
}

impl Route {
    fn on<H: Handler<T, AdminState>, T: 'static>(mut self, method: Method, filter: MethodFilter, handler: H) -> Self {
        self.methods.push(method);
        self.handlers = self.handlers.on(filter, handler);
        self
    }

    fn get<H: Handler<T, AdminState>, T: 'static>(self, handler: H) -> Self {
        self.on(Method::GET, MethodFilter::GET, handler)
    }

    fn post<H: Handler<T, AdminState>, T: 'static>(self, handler: H) -> Self {
        self.on(Method::POST, MethodFilter::POST, handler)
    }

    fn put<H: Handler<T, AdminState>, T: 'static>(self, handler: H) -> Self {
        self.on(Method::PUT, MethodFilter::PUT, handler)
    }

    fn delete<H: Handler<T, AdminState>, T: 'static>(self, handler: H) -> Self {
        self.on(Method::DELETE, MethodFilter::DELETE, handler)
    }
}

fn table() -> Vec<Route> {
    vec![
        at("/livez").get(health::livez),
        at("/readyz").get(health::readyz),
        at("/metrics").get(health::metrics),
        at("/api/v1/actors").get(actors::tree),
        at("/api/v1/actors/{*path}").get(actors::subtree).post(actors::steer),
        at("/api/v1/resources").get(resources::types),
        at("/api/v1/resources/{type}").get(resources::list),
        at("/api/v1/config").get(model::config),
        at("/api/v1/problems").get(model::problems),
        at("/api/v1/status").get(model::statuses),
        at("/api/v1/proxies").get(model::proxies),
        at("/api/v1/snapshot").get(model::snapshot),
        at("/api/v1/watches").get(watches::list).post(watches::add),
        at("/api/v1/watches/{name}/{version}").delete(watches::remove),
        at("/api/v1/log").get(log::show).put(log::set),
        at("/api/v1/chaos").get(chaos::show).post(chaos::strike).delete(chaos::heal),
    ]
}

/// Every method and path that there is, as the router has them.
pub fn routes() -> Vec<(Method, &'static str)> {
    let methods = |route: Route| route.methods.into_iter().map(move |method| (method, route.path));
    table().into_iter().flat_map(methods).collect()
}

/// All routes behind their guards.
pub(super) fn router(state: AdminState, hosts: Hosts, body_limit: usize) -> Router {
    let key = state.key.clone();
    let all = table().into_iter().fold(Router::new(), |all, route| all.route(route.path, route.handlers));
    all.fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn_with_state(key, check_token))
        .layer(from_fn_with_state(hosts, check_host))
        .layer(from_fn(deadline))
}

async fn unknown(uri: Uri) -> Failure {
    Failure::not_found(format!(
        "there is no {}; there are /livez, /readyz, /metrics and, under /api/v1, actors, resources, config, problems, \
         status, proxies, snapshot, watches, log and chaos",
        uri.path()
    ))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Limit::RequestSize.exceeded(1);
            return Self::new(rejection.status(), "the request is larger than `limits.request_size` allows");
        }
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
