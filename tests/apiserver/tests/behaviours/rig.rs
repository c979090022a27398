//! A server with a client, and the lines of a watch. What is waited for comes, or the test fails.

use std::time::Duration;

use futures::AsyncBufReadExt as _;
use futures::io::Lines;
use futures::{AsyncBufRead, StreamExt as _};
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tidegate_apiserver::{ApiServer, Options};

/// How long something may take that takes no time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A client of a kubeconfig.
pub async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // Otherwise 429, 503 and 504 are not seen.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A server and its client.
pub async fn start(options: Options) -> (ApiServer, Client) {
    let server = ApiServer::start(options).await.unwrap();
    let client = client(&server.kubeconfig()).await;
    (server, client)
}

/// Without any option.
pub async fn plain() -> (ApiServer, Client) {
    start(Options::default()).await
}

/// A request as it is, and the status and body of its answer.
pub async fn send(client: &Client, method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let request = request.body(Body::from(body.as_bytes().to_vec())).unwrap();
    let answer = tokio::time::timeout(PATIENCE, client.send(request)).await.unwrap().unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
    (status, value)
}

/// GET.
pub async fn get(client: &Client, path: &str) -> (u16, Value) {
    send(client, "GET", path, "", "").await
}

/// Any other method, with JSON.
pub async fn put(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    send(client, method, path, "application/json", &body.to_string()).await
}

/// A watch's lines.
pub struct Watch {
    lines: Lines<Box<dyn AsyncBufRead + Send + Unpin>>,
}

impl Watch {
    /// Opens one.
    pub async fn open(client: &Client, path: &str) -> Self {
        let request = Request::get(path).body(Vec::new()).unwrap();
        let stream = tokio::time::timeout(PATIENCE, client.request_stream(request)).await.unwrap().unwrap();
        let stream: Box<dyn AsyncBufRead + Send + Unpin> = Box::new(Box::pin(stream));
        Self { lines: stream.lines() }
    }

    /// The next line as it is; none at a proper end, an error at another.
    pub async fn line(&mut self) -> Option<std::io::Result<String>> {
        tokio::time::timeout(PATIENCE, self.lines.next()).await.expect("a line, or an end")
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        let line = self.line().await.expect("an event, and not the end").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next event as `TYPE name@version`.
    pub async fn short(&mut self) -> String {
        short(&self.event().await)
    }

    /// The next events in short.
    pub async fn shorts(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.short().await);
        }
        all
    }

    /// Whether it ends here, properly.
    pub async fn ends(&mut self) -> bool {
        self.line().await.is_none()
    }

    /// Whether nothing comes for a while, and no end either.
    pub async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.lines.next()).await.is_err()
    }
}

/// An event as `TYPE name@version`.
pub fn short(event: &Value) -> String {
    let meta = &event["object"]["metadata"];
    let text = |key: &str| meta[key].as_str().unwrap_or("").to_owned();
    format!("{} {}@{}", event["type"].as_str().unwrap_or("?"), text("name"), text("resourceVersion"))
}

/// A ConfigMap.
pub fn mk_config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name},
        "data": {"value": value},
    })
}

/// With labels.
pub fn labelled(mut object: Value, labels: Value) -> Value {
    object["metadata"]["labels"] = labels;
    object
}

/// The definition of `widgets.example.com`, in some versions of which the first is stored.
pub fn mk_crd(versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(at, version)| {
            json!({
                "name": version, "served": true, "storage": at == 0, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        },
    })
}

/// A Widget.
pub fn mk_widget(version: &str, name: &str, size: u64) -> Value {
    json!({
        "apiVersion": format!("example.com/{version}"), "kind": "Widget",
        "metadata": {"namespace": "default", "name": name}, "spec": {"size": size},
    })
}

/// Names in a list.
pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}
