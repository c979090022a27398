//! Patches: merge patch, JSON patch, and apply. A patch is made into a whole object, which then goes the way of an
//! update.
//!
//! Strategic merge patches of built-in types are taken as merge patches: lists in them replace, and do not merge.

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Status;

/// How a body patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// From the content type.
    pub fn of(kind: &Kind, content_type: &str) -> Result<Self, Status> {
        let mime = content_type.split(';').next().unwrap_or("").trim();
        match mime {
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/json-patch+json" => Ok(Self::Json),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" if kind.behaviour.typed => Ok(Self::Merge),
            _ => Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ])),
        }
    }
}

/// The object after a merge patch or a JSON patch.
pub fn patched(kind: PatchType, mut object: Value, body: &[u8]) -> Result<Value, Status> {
    let unreadable = |error: serde_json::Error| Status::bad_request(format!("error decoding patch: {error}"));
    if kind == PatchType::Json {
        let patch: json_patch::Patch = serde_json::from_slice(body).map_err(unreadable)?;
        json_patch::patch(&mut object, &patch).map_err(|error| Status::failure(422, "Invalid", error.to_string()))?;
    } else {
        let patch: Value = serde_json::from_slice(body).map_err(unreadable)?;
        json_patch::merge(&mut object, &patch);
    }
    Ok(object)
}
