//! One server: operations are performed on it, watchers look at it, and what both say is stripped of what may differ
//! between two servers that do the same.

use std::collections::BTreeMap;

use kube::Client;
use serde_json::{Value, json};

use crate::plan::{Operation, Type, Version};
use crate::rig::{Watch, get, mk_crd, put, send};

/// What each watcher selects; `NAMESPACE` stands for the namespace.
const WATCHERS: [&str; 8] = [
    "/api/v1/namespaces/NAMESPACE/configmaps?watch=true",
    "/api/v1/namespaces/NAMESPACE/configmaps?watch=true&labelSelector=app%3Dx",
    "/api/v1/configmaps?watch=true&labelSelector=app%20notin%20(y)&fieldSelector=metadata.namespace%3DNAMESPACE",
    "/api/v1/namespaces/NAMESPACE/configmaps?watch=true&fieldSelector=metadata.name%3Do1",
    "/apis/example.com/v1/namespaces/NAMESPACE/widgets?watch=true",
    "/apis/example.com/v1beta1/namespaces/NAMESPACE/widgets?watch=true",
    "/apis/example.com/v1/namespaces/NAMESPACE/widgets?watch=true&labelSelector=app%20in%20(x,z)",
    "/apis/example.com/v1/namespaces/NAMESPACE/widgets?watch=true&labelSelector=!app",
];

/// One server.
pub struct Side {
    client: Client,
    namespace: String,
    /// The version at which the watchers begin.
    begin: String,
    /// Identities in the order in which they were seen.
    uids: BTreeMap<String, usize>,
}

impl Side {
    /// Prepares a namespace of its own, and the custom type.
    pub async fn start(client: Client, namespace: &str) -> Self {
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        put(&client, "POST", crds, &mk_crd(&["v1", "v1beta1"])).await;
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let (status, answer) = put(&client, "POST", "/api/v1/namespaces", &object).await;
        assert_eq!(status, 201, "{answer}");
        let widgets = format!("/apis/example.com/v1/namespaces/{namespace}/widgets");
        let begin = loop {
            // The real server establishes a type a little after its definition.
            let (status, list) = get(&client, &widgets).await;
            if status == 200 {
                break list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        Self { client, namespace: namespace.to_owned(), begin, uids: BTreeMap::new() }
    }

    fn collection(&self, of: Type) -> String {
        match of {
            Type::Map => format!("/api/v1/namespaces/{}/configmaps", self.namespace),
            Type::Widget => format!("/apis/example.com/v1/namespaces/{}/widgets", self.namespace),
        }
    }

    fn object(&self, of: Type, name: &str, labels: &Value, value: u64) -> Value {
        let meta = json!({"name": name, "namespace": self.namespace, "labels": labels});
        match of {
            Type::Map => json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": value.to_string()},
            }),
            Type::Widget => json!({
                "apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta, "spec": {"size": value},
                "status": {"ignored": value},
            }),
        }
    }

    /// Does one thing; its HTTP status and what was answered.
    pub async fn perform(&mut self, operation: &Operation) -> (u16, Value) {
        let client = self.client.clone();
        let (status, answer) = match operation {
            Operation::Create { of, name, labels, value, finalizer } => {
                let mut object = self.object(*of, name, labels, *value);
                if *finalizer {
                    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
                }
                put(&client, "POST", &self.collection(*of), &object).await
            }
            Operation::Update { of, name, labels, value, version } => {
                let path = format!("{}/{name}", self.collection(*of));
                let mut object = self.object(*of, name, labels, *value);
                let (_, there) = get(&client, &path).await;
                let current = there["metadata"]["resourceVersion"].as_str();
                object["metadata"]["resourceVersion"] = match version {
                    Version::Current => current.map_or(Value::Null, Value::from),
                    Version::Outdated => "3".into(),
                    Version::Absent => Value::Null,
                };
                put(&client, "PUT", &path, &object).await
            }
            Operation::Patch { of, name, json_patch, status, body } => {
                let sub = if *status { "/status" } else { "" };
                let kind = if *json_patch { "application/json-patch+json" } else { "application/merge-patch+json" };
                let path = format!("{}/{name}{sub}", self.collection(*of));
                send(&client, "PATCH", &path, kind, &body.to_string()).await
            }
            Operation::Apply { name, manager, force, status } => {
                let path = self.collection(Type::Widget);
                let path = format!("{path}/{name}/status?fieldManager={manager}&force={force}");
                let meta = json!({"name": name, "namespace": self.namespace});
                let body =
                    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta, "status": status});
                send(&client, "PATCH", &path, "application/apply-patch+yaml", &body.to_string()).await
            }
            Operation::Delete { of, name } => {
                send(&client, "DELETE", &format!("{}/{name}", self.collection(*of)), "", "").await
            }
            Operation::DeleteCollection { of, selector } => {
                send(&client, "DELETE", &format!("{}?{selector}", self.collection(*of)), "", "").await
            }
            Operation::List { of, query, limit } => self.pages(*of, query, *limit).await,
            Operation::Get { of, name } => get(&client, &format!("{}/{name}", self.collection(*of))).await,
            Operation::Odd { path } => {
                let group = if path.starts_with("configmaps") { "/api/v1" } else { "/apis/example.com/v1" };
                get(&client, &format!("{group}/namespaces/{}/{path}", self.namespace)).await
            }
        };
        (status, self.stripped(answer))
    }

    /// All pages of a list, one after the other.
    async fn pages(&self, of: Type, query: &str, limit: usize) -> (u16, Value) {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("{}?{query}&limit={limit}&continue={token}", self.collection(of));
            let (status, page) = get(&self.client, &path).await;
            let next = page["metadata"]["continue"].as_str().unwrap_or("").to_owned();
            pages.push(page);
            if status != 200 || next.is_empty() {
                return (status, pages.into());
            }
            token = next;
        }
    }

    /// Writes what every watcher is waiting for, and says what each has seen until then.
    pub async fn finish(&mut self) -> Vec<(&'static str, Vec<Value>)> {
        for of in [Type::Map, Type::Widget] {
            self.settle(of, "o1").await;
            for (name, labels) in [("end", json!({})), ("end-x", json!({"app": "x"}))] {
                let object = self.object(of, name, &labels, 1);
                put(&self.client, "POST", &self.collection(of), &object).await;
            }
        }
        let mut all = Vec::new();
        for watcher in WATCHERS {
            let path = watcher.replace("NAMESPACE", &self.namespace);
            let mut watch = Watch::open(&self.client, &format!("{path}&resourceVersion={}", self.begin)).await;
            let (mut seen, mut last) = (Vec::new(), 0);
            let end = match watcher {
                selector if selector.contains("metadata.name%3Do1") => "o1",
                selector if selector.contains("app%3Dx") || selector.contains("in%20(x,z)") => "end-x",
                _ => "end",
            };
            loop {
                let event = watch.event().await;
                let meta = &event["object"]["metadata"];
                let version: u64 =
                    meta["resourceVersion"].as_str().unwrap_or_else(|| panic!("{event}")).parse().unwrap();
                assert!(version > last, "{watcher}: versions go up, and not from {last} to {version}");
                last = version;
                let is_end = meta["name"] == end && meta["annotations"].get("last").is_some_and(|last| last == "yes");
                let done = is_end || (meta["name"] == end && end != "o1");
                seen.push(self.stripped(event));
                if done {
                    break;
                }
            }
            all.push((watcher, seen));
        }
        all
    }

    /// What streaming lists begin with, closing bookmark included.
    pub async fn streamed(&mut self) -> Vec<Vec<Value>> {
        let mut all = Vec::new();
        for watcher in WATCHERS {
            let path = watcher.replace("NAMESPACE", &self.namespace);
            let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
            let mut watch = Watch::open(&self.client, &format!("{path}&{query}")).await;
            let mut seen = Vec::new();
            while seen.last().is_none_or(|last: &Value| last["type"] != "BOOKMARK") {
                let event = watch.event().await;
                seen.push(self.stripped(event));
            }
            all.push(seen);
        }
        all
    }

    /// Takes the custom type away: what its watcher sees until it ends, and what is answered then.
    pub async fn without_the_type(&mut self) -> (Vec<Value>, u16, Value) {
        let widgets = self.collection(Type::Widget);
        self.let_go().await;
        let (_, list) = get(&self.client, &widgets).await;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let path = format!("{widgets}?watch=true&resourceVersion={version}");
        let mut watch = Watch::open(&self.client, &path).await;
        let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
        send(&self.client, "DELETE", crd, "", "").await;
        let mut seen = Vec::new();
        while let Some(line) = watch.line().await {
            let event = serde_json::from_str(&line.expect("a proper end")).unwrap();
            seen.push(self.stripped(event));
        }
        // In what order its objects went is nobody's promise.
        seen.sort_by_key(ToString::to_string);
        while get(&self.client, crd).await.0 == 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let (status, answer) = get(&self.client, &widgets).await;
        (seen, status, answer)
    }

    /// Takes the finalizers of all custom objects away, which hold the type.
    async fn let_go(&self) {
        let (_, list) = get(&self.client, "/apis/example.com/v1/widgets").await;
        for item in list["items"].as_array().unwrap() {
            let text = |key: &str| item["metadata"][key].as_str().unwrap().to_owned();
            let path = format!("/apis/example.com/v1/namespaces/{}/widgets/{}", text("namespace"), text("name"));
            let body = json!({"metadata": {"finalizers": null}}).to_string();
            send(&self.client, "PATCH", &path, "application/merge-patch+json", &body).await;
        }
    }

    /// Makes an object anew, with a mark that it had not before.
    async fn settle(&mut self, of: Type, name: &str) {
        let path = format!("{}/{name}", self.collection(of));
        let body = json!({"metadata": {"finalizers": null}}).to_string();
        send(&self.client, "PATCH", &path, "application/merge-patch+json", &body).await;
        send(&self.client, "DELETE", &path, "", "").await;
        let mut object = self.object(of, name, &json!({"app": "y"}), 1);
        object["metadata"]["annotations"] = json!({"last": "yes"});
        let (status, answer) = put(&self.client, "POST", &self.collection(of), &object).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// Without versions, times, managers and tokens, and with identities numbered.
    fn stripped(&mut self, mut value: Value) -> Value {
        match &mut value {
            Value::Object(fields) => {
                for key in ["resourceVersion", "managedFields", "creationTimestamp"] {
                    fields.remove(key);
                }
                for (key, one) in std::mem::take(fields) {
                    let one = match (key.as_str(), one) {
                        ("uid", Value::String(uid)) => {
                            let next = self.uids.len();
                            json!(*self.uids.entry(uid).or_insert(next))
                        }
                        ("deletionTimestamp", _) => json!("some time"),
                        ("continue", Value::String(token)) => json!(!token.is_empty()),
                        (_, one) => self.stripped(one),
                    };
                    fields.insert(key, one);
                }
            }
            Value::Array(all) => *all = std::mem::take(all).into_iter().map(|one| self.stripped(one)).collect(),
            _ => {}
        }
        value
    }
}
