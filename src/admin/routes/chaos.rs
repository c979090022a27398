//! `/api/v1/chaos`: attacks on purpose, where the config allows them.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::answer::Failure;
use crate::admin::chaos::{ChaosError, Order};
use crate::admin::state::AdminState;

pub(super) async fn show(State(state): State<AdminState>) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({ "active": state.chaos.active()? })))
}

pub(super) async fn strike(
    State(state): State<AdminState>,
    body: Result<Json<Order>, JsonRejection>,
) -> Result<Json<Order>, Failure> {
    // Whether any may be made at all is said before what is wrong with this one.
    state.chaos.active()?;
    let Json(order) = body?;
    state.chaos.strike(&order).await?;
    Ok(Json(order))
}

pub(super) async fn heal(State(state): State<AdminState>) -> Result<Json<Value>, Failure> {
    state.chaos.heal().await?;
    Ok(Json(json!({ "active": [] })))
}

impl From<ChaosError> for Failure {
    fn from(error: ChaosError) -> Self {
        let status = match error {
            ChaosError::Off => StatusCode::FORBIDDEN,
            ChaosError::NoTarget { .. } => StatusCode::NOT_FOUND,
            ChaosError::Unfit { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ChaosError::Refused(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}
