//! `/api/v1/config`, `problems`, `status`, `proxies`, `snapshot`: what others provide, shown.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_actors::id::ObjectRef;
use tidegate_actors::problem::Serving;

use crate::admin::answer::Failure;
use crate::admin::snapshot::SnapshotStatus;
use crate::admin::state::AdminState;

/// The model with its version as entity tag; 304 for who has it.
pub(super) async fn config(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Failure> {
    let document = (state.model)().ok_or_else(|| {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "nothing was published yet; /readyz says what is missing")
    })?;
    let tag = format!("\"{}\"", document.version);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let fresh = known.into_iter().any(|known| known == tag || known == "*");
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], document.body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A whole identity, as the API writes it.
#[derive(Serialize)]
struct Identity {
    source: String,
    #[serde(rename = "type")]
    resource_type: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
}

impl From<&ObjectRef> for Identity {
    fn from(object: &ObjectRef) -> Self {
        Self {
            source: object.key.source.to_string(),
            resource_type: object.resource_type.to_string(),
            kind: object.resource_type.kind().to_owned(),
            namespace: object.key.namespace.as_deref().map(str::to_owned),
            name: object.key.name.to_string(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ShownProblem {
    scope: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Identity>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    reason: String,
    serving: Serving,
}

#[derive(Serialize)]
pub(super) struct Listing<T> {
    items: Vec<T>,
}

pub(super) async fn problems(State(state): State<AdminState>) -> Json<Listing<ShownProblem>> {
    let items = state.problems.list().into_iter().map(|(scope, problem)| ShownProblem {
        scope,
        object: problem.object.as_ref().map(Identity::from),
        place: problem.place,
        field: problem.field,
        reason: problem.reason,
        serving: problem.serving,
    });
    Json(Listing { items: items.collect() })
}

pub(super) async fn statuses(State(state): State<AdminState>) -> Json<Listing<Box<RawValue>>> {
    Json(Listing { items: (state.statuses)() })
}

pub(super) async fn proxies(State(state): State<AdminState>) -> Json<Value> {
    Json((state.proxies)())
}

pub(super) async fn snapshot(State(state): State<AdminState>) -> Json<SnapshotStatus> {
    Json((state.snapshot)())
}
