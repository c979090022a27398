//! `/api/v1/watches`: resource types registered and unregistered at run time.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use crate::admin::answer::{Failure, chain};
use crate::admin::state::AdminState;
use crate::admin::watches::{Watch, WatchError};
use crate::config::WatchedType;

#[derive(Serialize)]
pub(super) struct Listing {
    items: Vec<Watch>,
    allow: Vec<String>,
}

pub(super) async fn list(State(state): State<AdminState>) -> Json<Listing> {
    Json(Listing { items: state.watches.list(), allow: state.watches.allowlist() })
}

/// 201 when the watch is new, 200 when it was there.
pub(super) async fn add(
    State(state): State<AdminState>,
    body: Result<Json<WatchedType>, JsonRejection>,
) -> Result<(StatusCode, Json<WatchedType>), Failure> {
    let Json(watched) = body?;
    let new = state.watches.add(watched.clone()).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(watched)))
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let Path((name, version)) = path?;
    state.watches.remove(&format!("{name}/{version}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        let status = match error {
            WatchError::Malformed(_) => StatusCode::BAD_REQUEST,
            WatchError::NotAllowed(_) => StatusCode::FORBIDDEN,
            WatchError::NotFound(_) => StatusCode::NOT_FOUND,
            WatchError::TooMany { .. }
            | WatchError::BuiltIn(_)
            | WatchError::Differs(_)
            | WatchError::Configured(_)
            | WatchError::Engine { .. } => StatusCode::CONFLICT,
            WatchError::Write { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}
