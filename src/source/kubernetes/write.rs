//! Requests for one object, to read or to change it: one try each, over the connection for writes, with a deadline.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use kube::client::Body;
use serde_json::Value;
use tidegate_actors::id::ObjectRef;

use super::access::words;
use super::exchange::{collect, send};
use super::failure::{Ending, Failure};
use super::request::get;
use super::shared::Shared;
use crate::source::sink::SinkError;

/// Who we are in `managedFields`.
const FIELD_MANAGER: &str = "tidegate";

/// The largest object that is read.
const MAX_OBJECT: usize = 16 << 20;

/// What is done with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Create,
    Patch,
}

impl Verb {
    /// As RBAC spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Patch => "patch",
        }
    }
}

/// Where objects of a type are, of a namespace or of the whole cluster.
pub(super) fn path(group: &str, version: &str, namespace: Option<&str>, plural: &str) -> String {
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    match namespace {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{plural}"),
    }
}

/// Where an object is, in the version that the server serves.
pub(super) fn path_of(shared: &Shared, object: &ObjectRef) -> String {
    let (of, key) = (&object.resource_type, &object.key);
    let version = shared.memory(of).standing.borrow().version.clone();
    let version = version.as_deref().unwrap_or(of.version());
    format!("{}/{}", path(of.group(), version, key.namespace.as_deref(), of.plural()), key.name)
}

/// Does it. The answer is an object; a patch is a JSON merge patch (RFC 7386).
pub(super) async fn ask(shared: &Shared, verb: Verb, path: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
    let generation = shared.pool.current().await.map_err(|error| Failure::network(words(&error)))?;
    let mut answer = match send(shared, &generation.writes, request(verb, path, body)).await {
        Ok(answer) => answer,
        Err(failure) => {
            if matches!(failure.classify(), Ending::Unauthorized { .. }) {
                shared.pool.refused(generation.number).await;
            }
            return Err(failure);
        }
    };
    let all = collect(&mut answer, &shared.env, shared.options.response_timeout, MAX_OBJECT).await;
    all.ok_or_else(|| Failure::network("the answer broke off"))
}

fn request(verb: Verb, path: &str, body: Option<&Value>) -> Request<Body> {
    let Some(body) = body else { return get(path) };
    let mut request = get(&format!("{path}?fieldManager={FIELD_MANAGER}"));
    *request.body_mut() = Body::from(body.to_string().into_bytes());
    let (method, content) = match verb {
        Verb::Get | Verb::Create => (Method::POST, "application/json"),
        Verb::Patch => (Method::PATCH, "application/merge-patch+json"),
    };
    *request.method_mut() = method;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    request
}

/// A time as `meta/v1` MicroTime.
pub(super) fn micro_time(since_epoch: Duration) -> String {
    let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map(|time| format!("{time:.6}")).unwrap_or_default()
}

/// What a refusal means to who wanted to write. `resource` is as RBAC spells it, with its subresource.
pub(super) fn refused(failure: &Failure, verb: Verb, group: &str, resource: &str) -> SinkError {
    match failure.classify() {
        _ if failure.code == 409 => SinkError::Conflict,
        Ending::Forbidden { reason } => {
            let verb = verb.name();
            let rule = format!(r#"{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}"#);
            SinkError::NotPermitted { reason: format!("missing RBAC rule: {rule}; the API server says: {reason}") }
        }
        _ if matches!(failure.code, 429 | 503) => {
            SinkError::Busy { reason: failure.to_string(), after: failure.retry_after }
        }
        _ => SinkError::Failed { reason: failure.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_its_kind_and_its_author() {
        let request = request(Verb::Patch, "/apis/g/v1/things/a/status", Some(&serde_json::json!({})));
        assert_eq!(request.uri(), "/apis/g/v1/things/a/status?fieldManager=tidegate");
        assert_eq!(
            (request.method(), &request.headers()["content-type"]),
            (&Method::PATCH, &HeaderValue::from_static("application/merge-patch+json"))
        );
        let request = super::request(Verb::Get, "/api/v1/namespaces/a", None);
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/api/v1/namespaces/a"));
    }

    #[test]
    fn a_refusal_names_the_rule_that_is_missing() {
        let failure = Failure { code: 403, message: "no".into(), ..Failure::default() };
        let SinkError::NotPermitted { reason } = refused(&failure, Verb::Patch, "g.io", "things/status") else {
            panic!("not a matter of permission")
        };
        assert!(
            reason.contains(r#"{apiGroups: ["g.io"], resources: ["things/status"], verbs: ["patch"]}"#),
            "{reason}"
        );
        let failure = Failure { code: 409, ..Failure::default() };
        assert_eq!(refused(&failure, Verb::Patch, "", ""), SinkError::Conflict);
    }
}
