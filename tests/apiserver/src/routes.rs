//! From a request to its answer: who asks, for what, whether they may, what goes wrong on purpose, and who answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::access::Wish;
use crate::answer::{self, Answer};
use crate::fault::{Act, Asked, millis};
use crate::kind::Kind;
use crate::query::{ListOptions, pairs};
use crate::state::{self, State};
use crate::status::Status;
use crate::{control, discovery, list, object, verbs, watch};

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Via {
    /// The number of its connection.
    pub connection: u64,
    /// Whether it came to the second address.
    pub replica: bool,
}

/// The resource that a path names.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its type.
    pub kind: Arc<Kind>,
    /// The version that is asked for.
    pub version: String,
    /// Empty across all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Whether the replica is asked.
    pub replica: bool,
}

impl Target {
    /// What the keys of a collection begin with.
    pub fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) }
    }

    /// The key of an object.
    pub fn key(&self) -> String {
        object::key_of(&self.namespace, &self.name)
    }
}

/// A request that gets no answer: its connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("dropped by a fault")]
pub struct Dropped;

/// Answers a request.
pub async fn answer(state: Arc<State>, via: Via, request: Request<Incoming>) -> Result<Answer, Dropped> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    if path.starts_with("/_") {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        return Ok(control::answer(&state, &parts.method, &path, &body));
    }
    let target = resolve(&state, &path, via.replica);
    let verb = verb(request.method(), target.as_ref(), &query);
    let log = state.log(state::Request {
        verb: verb.to_owned(),
        method: request.method().to_string(),
        path: path.clone(),
        query: query.clone(),
        connection: via.connection,
        http2: request.version() == http::Version::HTTP_2,
        replica: via.replica,
        status: 0,
    });
    let id = target.as_ref().map(|target| target.kind.id()).unwrap_or_default();
    let asked = Asked {
        verb,
        plural: target.as_ref().map_or("", |target| &target.kind.plural),
        id: &id,
        namespace: target.as_ref().map_or("", |target| &target.namespace),
        name: target.as_ref().map_or("", |target| &target.name),
        path: &path,
        continued: pairs(&query).any(|(key, value)| key == "continue" && !value.is_empty()),
    };
    let acts = state.faults.strike(&asked);
    let answer = match struck(&state, &acts).await? {
        Some(answer) => answer,
        None => respond(&state, target, verb, &path, &query, request, &acts).await,
    };
    state.log_status(log, answer.status().as_u16());
    Ok(answer)
}

/// What the faults answer in place of the server.
async fn struck(state: &State, acts: &[Act]) -> Result<Option<Answer>, Dropped> {
    for act in acts {
        match act {
            Act::Delay { millis: late } => state.env().clock.sleep(millis(*late)).await,
            Act::Silent => std::future::pending().await,
            Act::Disconnect => return Err(Dropped),
            Act::Status { status } => return Ok(Some(answer::status(status))),
            Act::Answer { code, content_type, body } => {
                let content_type = if content_type.is_empty() { answer::JSON } else { content_type };
                return Ok(Some(answer::whole(*code, content_type, body.clone())));
            }
            _ => {}
        }
    }
    Ok(None)
}

async fn respond(
    state: &Arc<State>,
    target: Option<Target>,
    verb: &str,
    path: &str,
    query: &str,
    request: Request<Incoming>,
    acts: &[Act],
) -> Answer {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = match state.access.user(authorization) {
        Ok(user) => user,
        Err(status) => return answer::status(&status),
    };
    let Some(target) = target else {
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        return discovery::answer(state, path, accept);
    };
    let Target { kind, subresource, namespace, name, .. } = &target;
    let wish = Wish { verb, kind, subresource, namespace, name };
    if let Err(status) = state.access.check(&user, &wish) {
        return answer::status(&status);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body: Bytes = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return answer::status(&Status::bad_request(format!("could not read the body: {error}"))),
    };
    let streaming = state.options.watch.streaming_lists;
    let sent = verbs::Sent { query, content_type: &content_type, body: &body };
    let answered = match verb {
        "list" => ListOptions::parse(query, streaming).and_then(|options| list::list(state, &target, &options, acts)),
        "watch" => ListOptions::parse(query, streaming).and_then(|mut options| {
            if !target.name.is_empty() && options.fields.is_empty() {
                options.fields = format!("metadata.name={}", target.name);
            }
            watch::watch(state, &target, &options, acts)
        }),
        verb => verbs::answer(state, &target, verb, &sent),
    };
    answered.unwrap_or_else(|status| answer::status(&status))
}

fn verb(method: &Method, target: Option<&Target>, query: &str) -> &'static str {
    let Some(target) = target else { return "path" };
    let one = !target.name.is_empty();
    let watches = || pairs(query).any(|(key, value)| key == "watch" && matches!(value.as_str(), "1" | "true" | ""));
    match method.as_str() {
        "GET" | "HEAD" if watches() => "watch",
        "GET" | "HEAD" if one => "get",
        "GET" | "HEAD" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if one => "delete",
        "DELETE" => "deletecollection",
        _ => "unknown",
    }
}

/// The resource that a path names, if it is one that is served.
fn resolve(state: &State, path: &str, replica: bool) -> Option<Target> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, plural, name, subresource) = match *rest {
        ["namespaces", namespace, plural, ref rest @ ..] if !(group.is_empty() && is_part(plural)) => {
            (namespace, plural, *rest.first().unwrap_or(&""), *rest.get(1).unwrap_or(&""))
        }
        [plural, ref rest @ ..] => ("", plural, *rest.first().unwrap_or(&""), *rest.get(1).unwrap_or(&"")),
        [] => return None,
    };
    let kind = state.kind(group, version, plural)?;
    let across_all = namespace.is_empty() && name.is_empty();
    if kind.namespaced == namespace.is_empty() && !(kind.namespaced && across_all) {
        return None;
    }
    let owned = |text: &str| text.to_owned();
    Some(Target {
        kind,
        version: owned(version),
        namespace: owned(namespace),
        name: owned(name),
        subresource: owned(subresource),
        replica,
    })
}

/// Parts of a namespace, which no resource in it may be called.
fn is_part(word: &str) -> bool {
    matches!(word, "status" | "finalize")
}
