//! The requests of a list or watch: paths and queries, nothing of connections.
//!
//! Law: no request asks for "any version": a list has no resource version, or is the next page of one that had none.

use std::fmt::Write as _;
use std::time::Duration;

use http::Request;
use kube::client::Body;
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};

/// What is listed and watched together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub resource_type: ResourceType,
    /// The version to ask for, where that is not the type's own.
    pub version: Option<Name>,
    /// `None`: all namespaces, or a cluster-scoped type.
    pub namespace: Option<Name>,
    pub labels: Option<String>,
    pub fields: Option<String>,
}

impl Target {
    fn path(&self) -> String {
        let (group, plural) = (self.resource_type.group(), self.resource_type.plural());
        let version = self.version.as_deref().unwrap_or(self.resource_type.version());
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match &self.namespace {
            Some(namespace) if self.resource_type.scope() == Scope::Namespaced => {
                format!("{root}/namespaces/{namespace}/{plural}")
            }
            _ => format!("{root}/{plural}"),
        }
    }

    fn query(&self) -> Query {
        let mut query = Query(format!("{}?", self.path()));
        for (key, selector) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if let Some(selector) = selector {
                query.add(key, selector);
            }
        }
        query
    }

    /// A page of a consistent list; without a limit, all of it.
    pub fn page(&self, limit: Option<u32>, next: Option<&str>) -> Request<Body> {
        let mut query = self.query();
        if let Some(limit) = limit {
            query.add("limit", &limit.to_string());
        }
        if let Some(next) = next {
            query.add("continue", next);
        }
        query.get()
    }

    /// A consistent list of one object; not of what else has its name in other namespaces.
    pub fn one(&self, key: &ObjectKey) -> Request<Body> {
        let name = format!("metadata.name={}", key.name);
        let fields = self.fields.iter().cloned().chain([name]).collect::<Vec<_>>().join(",");
        let namespace = key.namespace.clone().or_else(|| self.namespace.clone());
        Self { fields: Some(fields), namespace, ..self.clone() }.page(None, None)
    }

    /// A watch from a version.
    pub fn watch(&self, from: &str, timeout: Duration) -> Request<Body> {
        let mut query = self.query();
        query.watch(timeout);
        query.add("resourceVersion", from);
        query.get()
    }

    /// A watch that begins with a consistent list.
    pub fn streaming(&self, timeout: Duration) -> Request<Body> {
        let mut query = self.query();
        query.watch(timeout);
        query.add("resourceVersion", "");
        query.add("sendInitialEvents", "true");
        query.add("resourceVersionMatch", "NotOlderThan");
        query.get()
    }
}

/// Asks for any path of the API.
pub(super) fn get(path: &str) -> Request<Body> {
    Query(path.to_owned()).get()
}

struct Query(String);

impl Query {
    fn watch(&mut self, timeout: Duration) {
        self.add("watch", "true");
        self.add("allowWatchBookmarks", "true");
        self.add("timeoutSeconds", &timeout.as_secs().max(1).to_string());
    }

    fn add(&mut self, key: &str, value: &str) {
        if !self.0.ends_with('?') {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
    }

    fn get(self) -> Request<Body> {
        let uri = self.0.trim_end_matches('?');
        let mut request = Request::new(Body::empty());
        // Everything that comes from outside was encoded or checked; what is no URI all the same asks for the root,
        // which has no objects.
        *request.uri_mut() = uri.parse().unwrap_or_default();
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::ACCEPT, json);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_target(group: &str, scope: Scope, namespace: Option<&str>) -> Target {
        let resource_type = ResourceType::new(group, "v1", "Thing", "things", scope);
        Target { resource_type, version: None, namespace: namespace.map(Name::from), labels: None, fields: None }
    }

    #[test]
    fn paths_follow_group_version_scope_and_namespace() {
        let path = |target: Target| target.page(None, None).uri().to_string();
        assert_eq!(path(mk_target("", Scope::Namespaced, None)), "/api/v1/things");
        assert_eq!(path(mk_target("", Scope::Namespaced, Some("n"))), "/api/v1/namespaces/n/things");
        assert_eq!(path(mk_target("a.b", Scope::Namespaced, Some("n"))), "/apis/a.b/v1/namespaces/n/things");
        assert_eq!(path(mk_target("a.b", Scope::Cluster, Some("n"))), "/apis/a.b/v1/things");
        let mut older = mk_target("a.b", Scope::Cluster, None);
        older.version = Some("v1beta1".into());
        assert_eq!(path(older), "/apis/a.b/v1beta1/things");
    }

    #[test]
    fn no_list_asks_for_a_version_and_every_watch_asks_for_bookmarks_and_an_end() {
        let mut target = mk_target("", Scope::Cluster, None);
        target.labels = Some("a in (b, c)".to_owned());
        target.fields = Some("type=kubernetes.io/tls".to_owned());
        let selectors = "labelSelector=a%20in%20%28b%2C%20c%29&fieldSelector=type%3Dkubernetes.io%2Ftls";
        let page = target.page(Some(500), Some("t/1=")).uri().to_string();
        assert_eq!(page, format!("/api/v1/things?{selectors}&limit=500&continue=t%2F1%3D"));
        let one = target.one(&ObjectKey::cluster("c", "a")).uri().to_string();
        assert_eq!(one, format!("/api/v1/things?{selectors}%2Cmetadata.name%3Da"));
        let watch = "watch=true&allowWatchBookmarks=true&timeoutSeconds=300";
        let asked = target.watch("7", Duration::from_secs(300)).uri().to_string();
        assert_eq!(asked, format!("/api/v1/things?{selectors}&{watch}&resourceVersion=7"));
        let asked = target.streaming(Duration::from_secs(300)).uri().to_string();
        let initial = "resourceVersion=&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(asked, format!("/api/v1/things?{selectors}&{watch}&{initial}"));
    }
}
