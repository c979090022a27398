//! `/api/v1/log`: the log level, without a restart.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use crate::admin::answer::Failure;
use crate::admin::state::AdminState;

/// `{"level": "debug"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    level: String,
}

pub(super) async fn show(State(state): State<AdminState>) -> Json<Level> {
    Json(Level { level: state.log.get() })
}

pub(super) async fn set(
    State(state): State<AdminState>,
    body: Result<Json<Level>, JsonRejection>,
) -> Result<Json<Level>, Failure> {
    let Json(Level { level }) = body?;
    state.log.set(&level).map_err(Failure::bad_request)?;
    Ok(Json(Level { level: state.log.get() }))
}
