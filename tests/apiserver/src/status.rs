//! `Status` bodies: what an API server answers when it does not answer with an object. The words and fields are those
//! of Kubernetes 1.37, since clients compare them. It knows no HTTP beyond the code.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;

/// A `v1.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always the same.
    pub kind: StatusKind,
    /// Always the same.
    pub api_version: StatusVersion,
    /// Empty but for a list's expired token, which comes with a new one.
    #[serde(default)]
    pub metadata: StatusMeta,
    /// Whether it is an error.
    pub status: Outcome,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// The `kind` of a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusKind {
    /// The only one.
    Status,
}

/// The `apiVersion` of a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusVersion {
    /// The only one.
    V1,
}

/// The `status` of a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Success,
    /// Not done.
    Failure,
}

/// The list metadata of a `Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMeta {
    /// A token that goes on at the most recent version.
    #[serde(rename = "continue", default, skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
}

/// What a `Status` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The resource's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource's plural, which the field's name hides.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One for each thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds to wait before trying again.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// For programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// Told to whoever writes with an outdated resource version.
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";
const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Status {
    /// A failure of any kind.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: StatusKind::Status,
            api_version: StatusVersion::V1,
            metadata: StatusMeta::default(),
            status: Outcome::Failure,
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code: Some(code),
        }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.name = name.to_owned();
        details.group.clone_from(&kind.group);
        details.kind.clone_from(&kind.plural);
        self
    }

    fn caused_by(mut self, reason: &str, message: &str, field: &str) -> Self {
        let cause = Cause { reason: reason.to_owned(), message: message.to_owned(), field: field.to_owned() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// With seconds to wait before the next try.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 200 for a delete that took the object away.
    pub fn deleted(kind: &Kind, name: &str, uid: &str) -> Self {
        let mut status = Self::failure(200, "", "").about(kind, name);
        status.status = Outcome::Success;
        status.code = None;
        status.details.get_or_insert_default().uid = uid.to_owned();
        status
    }

    /// 404 for an object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{} \"{name}\" not found", kind.id())).about(kind, name)
    }

    /// 409 for a name that is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::failure(409, "AlreadyExists", format!("{} \"{name}\" already exists", kind.id())).about(kind, name)
    }

    /// 409 for an outdated resource version.
    pub fn conflict(kind: &Kind, name: &str) -> Self {
        Self::conflict_because(kind, name, MODIFIED)
    }

    /// 409 for another reason.
    pub fn conflict_because(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.id());
        Self::failure(409, "Conflict", message).about(kind, name)
    }

    /// 409 for fields that another manager has applied; pairs of field and manager.
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let plural = if conflicts.len() == 1 { "" } else { "s" };
        let mut managers: Vec<&str> = conflicts.iter().map(|(_, manager)| manager.as_str()).collect();
        managers.dedup();
        let lines = conflicts.iter().map(|(field, manager)| match managers.len() {
            1 => format!("- {field}"),
            _ => format!("- {field} conflict with \"{manager}\""),
        });
        let fields = match conflicts {
            [(field, manager)] => format!("conflict with \"{manager}\": {field}"),
            _ => format!("conflicts with \"{}\":\n{}", managers.join("\", \""), lines.collect::<Vec<_>>().join("\n")),
        };
        let message = format!("Apply failed with {} conflict{plural}: {fields}", conflicts.len());
        let status = Self::failure(409, "Conflict", message);
        conflicts.iter().fold(status, |status, (field, manager)| {
            status.caused_by("FieldManagerConflict", &format!("conflict with \"{manager}\""), field)
        })
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403 as the RBAC authorizer says it; `why` is `User "x" cannot list resource ...`.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let what = if name.is_empty() { kind.id() } else { format!("{} \"{name}\"", kind.id()) };
        Self::failure(403, "Forbidden", format!("{what} is forbidden: {why}")).about(kind, name)
    }

    /// 405.
    pub fn method_not_allowed(kind: &Kind, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind \"{}\"", kind.id());
        Self::failure(405, "MethodNotAllowed", message).about(kind, "")
    }

    /// 410 for a watch that starts before the watch cache's window; `oldest` is the first version it could start at.
    pub fn too_old(version: u64, oldest: u64) -> Self {
        Self::failure(410, "Expired", format!("too old resource version: {version} ({oldest})"))
    }

    /// 410 for a list at a version that is compacted.
    pub fn list_expired() -> Self {
        Self::failure(410, "Expired", "The resourceVersion for the provided list is too old.")
    }

    /// 410 for a token whose version is compacted, with one that goes on at the most recent version.
    pub fn token_expired(continue_token: String) -> Self {
        let mut status = Self::failure(410, "Expired", TOKEN_EXPIRED);
        status.metadata.continue_token = continue_token;
        status
    }

    /// 504 for a version that the server has not reached.
    pub fn too_large(version: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {version}, current: {current}");
        Self::failure(504, "Timeout", message).retry_after(1).caused_by(
            "ResourceVersionTooLarge",
            "Too large resource version",
            "",
        )
    }

    /// 415 for a patch type that a resource does not take.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 422 for an object; `what` says which (`Kind.group "name"`), problems are (reason, message, field).
    pub fn invalid(group: &str, kind: &str, name: &str, problems: &[(&str, String, &str)]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let texts: Vec<String> = problems.iter().map(|(_, message, field)| format!("{field}: {message}")).collect();
        let all = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let mut status = Self::failure(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {all}"));
        status.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        }));
        problems.iter().fold(status, |status, (reason, message, field)| status.caused_by(reason, message, field))
    }

    /// 429.
    pub fn too_many_requests(seconds: u32) -> Self {
        Self::failure(429, "TooManyRequests", "Too many requests, please try again later.").retry_after(seconds)
    }

    /// 503.
    pub fn unavailable(message: &str) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// Its JSON.
    pub fn to_bytes(&self) -> Bytes {
        // A struct of strings and numbers always serializes.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}
