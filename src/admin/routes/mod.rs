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
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, put};

use super::answer::Failure;
use super::guard::{Hosts, check_host, check_token, deadline};
use super::state::AdminState;

/// All routes behind their guards.
pub(super) fn router(state: AdminState, hosts: Hosts, body_limit: usize) -> Router {
    let key = state.key.clone();
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/actors", get(actors::tree))
        .route("/api/v1/actors/{*path}", get(actors::subtree).post(actors::steer))
        .route("/api/v1/resources", get(resources::types))
        .route("/api/v1/resources/{type}", get(resources::list))
        .route("/api/v1/config", get(model::config))
        .route("/api/v1/problems", get(model::problems))
        .route("/api/v1/status", get(model::statuses))
        .route("/api/v1/proxies", get(model::proxies))
        .route("/api/v1/watches", get(watches::list).post(watches::add))
        .route("/api/v1/watches/{name}/{version}", axum::routing::delete(watches::remove))
        .route("/api/v1/log", put(log::set).get(log::show))
        .route("/api/v1/chaos", get(chaos::show).post(chaos::strike).delete(chaos::heal))
        .fallback(unknown)
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
         status, proxies, watches, log and chaos",
        uri.path()
    ))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
