//! `/livez`, `/readyz`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidegate_actors::supervisor::State as ActorState;

use crate::admin::ready::Readiness;
use crate::admin::state::AdminState;

/// 200 as long as the root supervisor is there: whoever sees 503 should restart the process.
pub(super) async fn livez(State(state): State<AdminState>) -> Response {
    match state.actors.tree().state {
        ActorState::Failed | ActorState::Stopped => {
            (StatusCode::SERVICE_UNAVAILABLE, "the actors have ended\n").into_response()
        }
        _ => "ok\n".into_response(),
    }
}

/// 200 when ready, 503 when not; JSON, or one line for who asks for text/plain.
pub(super) async fn readyz(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let slots = state.catalogue.slots();
    let required = state.required_types.clone();
    // What was added at run time never delays us: it is nobody's precondition.
    let extra: Vec<_> = state.watches.list().into_iter().filter_map(|w| w.watched.resource_type().ok()).collect();
    let slots: Vec<_> = slots.into_iter().filter(|slot| !extra.contains(&slot.resource_type)).collect();
    let (tree, unserved) = (state.actors.tree(), (state.unserved)());
    let readiness = Readiness::assess(&slots, &required, unserved, &tree, (state.published)());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if text.is_some_and(|accept| accept.starts_with("text/plain")) {
        return (status, format!("{}\n", readiness.message)).into_response();
    }
    (status, Json(readiness)).into_response()
}

/// Prometheus' text format.
pub(super) async fn metrics(State(state): State<AdminState>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, (state.metrics)()).into_response()
}
