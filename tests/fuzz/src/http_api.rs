//! Requests to the admin server's routes, behind their guards.
//!
//! Oracle: no answer is an internal error; without the token nothing changes, and with it only by a method that changes
//! things; what says that it is JSON is, and a refusal says why in JSON; a body beyond the limit changes nothing; what a
//! Secret holds is in no answer, nor is the token; nobody is told to keep an answer or to guess its type.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidegate::admin::fuzzing::router;
use tidegate::admin::ready::Published;
use tidegate::admin::snapshot::SnapshotStatus;
use tidegate::admin::state::{LogLevel, Steer, SteerError};
use tidegate::admin::token::Key;
use tidegate::admin::watches::WatchRegistry;
use tidegate::admin::{AdminState, Catalogue, ModelDocument, Slot, SyncPhase};
use tidegate::config::{Token, Watches, check_level};
use tidegate::resource::types;
use tidegate_actors::id::ResourceType;
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{State, TreeStatus};
use tidegate_actors::testing;
use tower::ServiceExt as _;

use crate::input::Input;

const TOKEN: &str = "correct-horse-battery-staple";
const CANARY: &str = "Y2FuYXJ5LW9mLWEtU2VjcmV0";
const BODY_LIMIT: usize = 256;

/// Everything that a request could change.
#[derive(Clone, Debug, Default, PartialEq)]
struct Changes {
    steered: Vec<String>,
    level: String,
    registered: Vec<ResourceType>,
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<Changes>>);

impl Service {
    fn steer(&self, action: &str, path: &str) -> Result<(), SteerError> {
        if path != "sources/worker" {
            return Err(SteerError::NotFound(path.to_owned()));
        }
        self.0.lock().steered.push(action.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Steer for Service {
    fn tree(&self) -> TreeStatus {
        let node = |path: &str, children| TreeStatus {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            path: path.to_owned(),
            state: State::Running,
            reason: None,
            restarts: 0,
            last_error: None,
            next_attempt: None,
            since: 0,
            children,
        };
        node("", vec![node("sources", vec![node("sources/worker", Vec::new())])])
    }

    async fn restart(&self, path: &str) -> Result<(), SteerError> {
        self.steer("restart", path)
    }

    async fn pause(&self, path: &str) -> Result<(), SteerError> {
        self.steer("pause", path)
    }

    async fn resume(&self, path: &str) -> Result<(), SteerError> {
        self.steer("resume", path)
    }
}

#[async_trait]
impl Catalogue for Service {
    fn slots(&self) -> Vec<Slot> {
        let slot = |resource_type: ResourceType| Slot {
            source: "demo".into(),
            resource_type,
            discovered: false,
            objects: 1,
            phase: SyncPhase::Synced,
            age: None,
        };
        let registered = self.0.lock().registered.clone();
        [types::secret(), types::http_route()].into_iter().chain(registered).map(slot).collect()
    }

    fn objects(&self, source: &str, resource_type: &ResourceType) -> Vec<Arc<Object>> {
        let metadata = json!({"name": "x", "namespace": "a", "labels": {"app": "web"}});
        let object = json!({"metadata": metadata, "data": {"tls.key": CANARY}, "stringData": {"more": CANARY}});
        let of = *resource_type == types::secret();
        let object = if of { object } else { json!({"metadata": metadata}) };
        let decoder = Decoder::new(source.into(), resource_type.clone());
        vec![Arc::new(decoder.decode(object.to_string()).expect("it has a name"))]
    }

    async fn register(&self, resource_type: &ResourceType) -> Result<(), String> {
        self.0.lock().registered.push(resource_type.clone());
        Ok(())
    }

    async fn unregister(&self, resource_type: &ResourceType) -> Result<(), String> {
        self.0.lock().registered.retain(|registered| registered != resource_type);
        Ok(())
    }
}

impl LogLevel for Service {
    fn get(&self) -> String {
        self.0.lock().level.clone()
    }

    fn set(&self, level: &str) -> Result<(), String> {
        check_level(level)?;
        self.0.lock().level = level.to_owned();
        Ok(())
    }
}

/// Up to four requests after each other to one server.
pub fn run(data: &[u8]) {
    let service = Service::default();
    let router = mk_router(&service);
    let mut input = Input::new(data);
    testing::run(async {
        for _ in 0..4 {
            if input.is_empty() {
                break;
            }
            ask(&router, &service, &mut input).await;
        }
    });
}

fn mk_router(service: &Service) -> Router {
    let (env, _) = testing::env(1);
    let watches = Watches { allow: vec!["*.example.com".to_owned()], initial: Vec::new() };
    let shared: Arc<Service> = Arc::new(service.clone());
    let state = AdminState {
        actors: shared.clone(),
        chaos: Default::default(),
        catalogue: shared.clone(),
        problems: Problems::default(),
        required_types: Vec::new(),
        unserved: Arc::new(Vec::new),
        published: Arc::new(|| Published { fresh: false, snapshot: true }),
        model: Arc::new(|| {
            Some(ModelDocument { version: "7".to_owned(), body: Bytes::from_static(br#"{"listeners":[]}"#) })
        }),
        snapshot: Arc::new(SnapshotStatus::default),
        statuses: Arc::new(Vec::new),
        proxies: Arc::new(|| json!({"items": []})),
        metrics: Arc::new(|| "tidegate_up 1\n".to_owned()),
        watches: WatchRegistry::new(&watches, 2, Path::new("/data"), &env, shared.clone()),
        log: shared,
        key: Key::new(&Token::new(TOKEN)),
    };
    router(state, SocketAddr::from(([127, 0, 0, 1], 9010)), &["admin.example.com".to_owned()], BODY_LIMIT)
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"];
const PATHS: [&str; 22] = [
    "/",
    "/livez",
    "/readyz",
    "/metrics",
    "/api/v1/actors",
    "/api/v1/actors/sources/worker",
    "/api/v1/actors/sources/worker/restart",
    "/api/v1/actors/sources/worker/pause",
    "/api/v1/actors/sources/worker/",
    "/api/v1/resources",
    "/api/v1/resources/secrets",
    "/api/v1/resources/httproutes.gateway.networking.k8s.io",
    "/api/v1/config",
    "/api/v1/problems",
    "/api/v1/status",
    "/api/v1/proxies",
    "/api/v1/watches",
    "/api/v1/watches/widgets.example.com/v1",
    "/api/v1/log",
    "/api/v1/",
    "/api/v1/snapshot",
    "/api/v1/chaos",
];
const HOSTS: [&str; 6] = ["localhost", "127.0.0.1:9010", "admin.example.com", "[::1]:9010", "evil.example", ""];
const BODIES: [&str; 5] = [
    r#"{"resource":"widgets.example.com/v1","kind":"Widget","scope":"Namespaced"}"#,
    r#"{"resource":"secrets/v1","kind":"Secret","scope":"Namespaced"}"#,
    r#"{"level":"debug"}"#,
    r#"{"level":7}"#,
    "",
];

async fn ask(router: &Router, service: &Service, input: &mut Input<'_>) {
    let method = Method::from_bytes(input.one_of(&METHODS).as_bytes()).expect("these are tokens");
    let mut target = input.one_of(&PATHS).to_owned();
    let more = input.text();
    target.push_str(&more);
    let Ok(uri) = target.parse::<Uri>() else { return };
    let host = input.one_of(&HOSTS);
    let mut request = Request::builder().method(method.clone()).uri(uri.clone());
    if input.below(16) != 15 {
        request = request.header(header::HOST, host);
    }
    let token = match input.below(8) {
        0..=3 => Some(format!("Bearer {TOKEN}")),
        4 => Some(format!("bearer {}", input.text())),
        5 => Some(input.text()),
        _ => None,
    };
    let right = token
        .as_deref()
        .and_then(|token| token.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.trim() == TOKEN);
    if let Some(Ok(token)) = token.as_deref().map(HeaderValue::from_str) {
        request = request.header(header::AUTHORIZATION, token);
    }
    if input.below(4) != 3 {
        request = request.header(header::CONTENT_TYPE, input.one_of(&["application/json", "text/plain", "nonsense"]));
    }
    if input.below(4) == 3 {
        request = request.header(header::ACCEPT, "text/plain");
    }
    let body = match input.below(8) {
        chosen @ 0..=4 => BODIES[chosen].as_bytes().to_vec(),
        5 => vec![b' '; BODY_LIMIT * 4],
        _ => {
            let length = input.below(200);
            input.take(length).to_vec()
        }
    };
    let long = body.len() > BODY_LIMIT;
    let Ok(request) = request.body(Body::from(body)) else { return };
    let before = service.0.lock().clone();
    let response = router.clone().oneshot(request).await.expect("no route can fail");
    let changed = *service.0.lock() != before;
    let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    assert!(!changed || (right && !reads && !host.contains("evil")), "{method} {uri} changed something");
    assert!(!changed || response.status().is_success(), "{method} {uri} changed something and was refused");
    // Who steers an actor sends no body, and one that is sent is not read.
    assert!(!changed || !long || uri.path().starts_with("/api/v1/actors"), "a body beyond the limit was read");
    check(response, &method, &uri, &more, right).await;
}

async fn check(response: Response<Body>, method: &Method, uri: &Uri, more: &str, right: bool) {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a body in memory comes whole").to_bytes();
    let text = String::from_utf8_lossy(&body);
    let shown = format!("{method} {uri}: {status} {headers:?} {text}");
    let not_ready = status == StatusCode::SERVICE_UNAVAILABLE && uri.path() == "/readyz";
    assert!(!status.is_server_error() || not_ready, "{shown}");
    let guarded = !matches!(*method, Method::GET | Method::HEAD);
    assert!(!guarded || right || status.is_client_error(), "answered without the token: {shown}");
    assert!(headers.contains_key(header::CACHE_CONTROL), "{shown}");
    assert_eq!(headers.get("x-content-type-options").map(HeaderValue::as_bytes), Some(&b"nosniff"[..]), "{shown}");
    // What stands in the request itself may be repeated.
    for secret in [CANARY, TOKEN] {
        assert!(!text.contains(secret) || more.contains(secret), "{shown}");
    }
    if *method == Method::HEAD {
        return;
    }
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let value = serde_json::from_slice::<Value>(&body).ok();
    assert!(!json || value.is_some(), "no JSON: {shown}");
    if status.is_client_error() {
        let reason = value.as_ref().and_then(|value| value["error"].as_str());
        assert!(json && reason.is_some_and(|reason| !reason.is_empty()), "refused without a reason: {shown}");
    }
}
