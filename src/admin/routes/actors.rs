//! `/api/v1/actors`: the tree, and steering by hand.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate_actors::supervisor::TreeStatus;

use crate::admin::answer::Failure;
use crate::admin::state::{AdminState, SteerError};

pub(super) async fn tree(State(state): State<AdminState>) -> Json<TreeStatus> {
    Json(state.actors.tree())
}

pub(super) async fn subtree(
    State(state): State<AdminState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<TreeStatus>, Failure> {
    let Path(path) = path?;
    let found = find(state.actors.tree(), path.trim_matches('/'));
    found.map(Json).ok_or_else(|| SteerError::NotFound(path).into())
}

/// `POST /api/v1/actors/{path}/restart`, where the path holds slashes of its own.
pub(super) async fn steer(
    State(state): State<AdminState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Failure> {
    let Path(path) = path?;
    let Some((path, action)) = path.trim_matches('/').rsplit_once('/') else {
        return Err(Failure::bad_request("which actor? POST /api/v1/actors/PATH/restart, pause or resume"));
    };
    match action {
        "restart" => state.actors.restart(path).await?,
        "pause" => state.actors.pause(path).await?,
        "resume" => state.actors.resume(path).await?,
        other => {
            let reason = format!("`{other}` is nothing that can be done with an actor; restart, pause and resume are");
            return Err(Failure::bad_request(reason));
        }
    }
    tracing::info!(actor = path, action, "actor steered by hand");
    Ok(Json(json!({ "actor": path, "action": action })))
}

fn find(tree: TreeStatus, path: &str) -> Option<TreeStatus> {
    if tree.path == path {
        return Some(tree);
    }
    tree.children.into_iter().find_map(|child| find(child, path))
}

impl From<SteerError> for Failure {
    fn from(error: SteerError) -> Self {
        let status = match error {
            SteerError::NotFound(_) => StatusCode::NOT_FOUND,
            SteerError::Refused(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}
