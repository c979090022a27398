//! The API server as its admin sees it, over a network without faults. A server that is away for a while is waited for.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long anything may take that is not measured. A server that was killed takes some seconds to come back.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How long one request may take before it is sent again.
const REQUEST: Duration = Duration::from_secs(5);

/// Says whether a thing holds by then; tries often.
pub async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match holds() {
            Ok(()) => return Ok(()),
            Err(reason) if begun.elapsed() > limit => return Err(format!("{what}: not within {limit:?}: {reason}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// See the module.
pub struct Api {
    client: Client,
    /// A request was sent more than once, so that nobody knows how often it was carried out.
    unsure: AtomicBool,
}

impl Api {
    pub async fn new(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        Self { client: Client::try_from(config).unwrap(), unsure: AtomicBool::default() }
    }

    /// Another one of the same connections, that is sure as yet.
    pub fn fresh(&self) -> Self {
        Self { client: self.client.clone(), unsure: AtomicBool::default() }
    }

    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::SeqCst)
    }

    /// One request, and its answer if there is one.
    pub async fn try_send(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), String> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(Body::from(bytes)).unwrap();
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            let text = || Value::from(String::from_utf8_lossy(&body));
            Ok((status, serde_json::from_slice(&body).unwrap_or_else(|_| text())))
        };
        tokio::time::timeout(REQUEST, exchange).await.map_err(|_| format!("no answer within {REQUEST:?}"))?
    }

    /// A request until the server answers it and is not too busy for it.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let answer = self.try_send(method, path, body).await;
            let busy = |status: u16| status == 429 || status >= 500;
            match answer {
                Ok((status, value)) if !busy(status) => return (status, value),
                other => assert!(begun.elapsed() < PATIENCE, "{method} {path}: {other:?}"),
            }
            self.unsure.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One that has to be done; what is there already, or not there any more, is as good.
    pub async fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, value) = self.send(method, path, body).await;
        let as_good = matches!((method, status), ("POST", 409) | ("DELETE", 404));
        assert!(status < 300 || as_good, "{method} {path}: {status} {value}");
        value
    }

    /// The items of a consistent list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (status, mut list) = self.send("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {list}");
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("{path}: {other}"),
        }
    }

    pub async fn create_namespace(&self, name: &str) {
        self.must("POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}})).await;
    }
}
