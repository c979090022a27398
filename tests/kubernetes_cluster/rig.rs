//! A corner of a cluster for one test: a namespace, a GatewayClass and a controller's name of its own, and replicas of
//! Tidegate as processes that look nowhere else.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tidegate::demo::echo::{EchoBackend, RunningEcho};
use tokio::sync::Mutex;

use crate::support::cluster::Cluster;
use crate::support::envoy::{Answer, PATIENCE, envoy_binary, eventually, get, loopback};
use crate::support::ports::free_ports;
use crate::support::service::Service;

/// The cluster of those tests that do it no harm. The last one to need it ends it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// A cluster that others use at the same time.
pub async fn shared_cluster() -> Arc<Cluster> {
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::start().await);
    *shared = Arc::downgrade(&cluster);
    cluster
}

/// An address of this machine that an EndpointSlice may have: the API server takes no loopback address.
fn pod_address() -> IpAddr {
    // A UDP socket that is connected has an address, and sends nothing.
    let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("198.51.100.1:9")?;
        socket.local_addr()
    });
    match address {
        Ok(address) if !address.ip().is_loopback() => address.ip(),
        other => panic!("backends need an address that is not loopback, and this machine has none: {other:?}"),
    }
}

/// An echo backend where a pod could be.
pub async fn mk_pod(name: &str) -> RunningEcho {
    EchoBackend::start(name, SocketAddr::new(pod_address(), 0)).await.unwrap()
}

/// What belongs to one test. Namespace, class and Lease are called as it is.
pub struct Corner {
    pub name: String,
    pub controller: String,
}

impl Corner {
    /// With its namespace, and nothing in it.
    pub async fn new(cluster: &Cluster, name: &str) -> Self {
        cluster.kubectl(&["create", "namespace", name]).await;
        Self { name: name.to_owned(), controller: format!("tidegate.dev/{name}") }
    }

    /// Manifests, as `support::manifests` makes them, moved here.
    pub fn mk(&self, manifests: &str) -> String {
        let here = [
            ("namespace: apps", format!("namespace: {}", self.name)),
            ("gatewayClassName: tidegate", format!("gatewayClassName: {}", self.name)),
            ("metadata: { name: tidegate }", format!("metadata: {{ name: {} }}", self.name)),
            ("tidegate.dev/gateway-controller", self.controller.clone()),
        ];
        here.into_iter().fold(manifests.to_owned(), |text, (old, new)| text.replace(old, &new))
    }

    /// Applies manifests here.
    pub async fn apply(&self, cluster: &Cluster, manifests: &[String]) {
        cluster.apply(&self.mk(&manifests.join("\n---\n"))).await;
    }

    /// An object of this namespace.
    pub async fn object(&self, cluster: &Cluster, kind: &str, name: &str) -> Value {
        cluster.get_json(&[kind, name, "-n", &self.name]).await
    }

    /// Waits until an object is as it should be.
    pub async fn until(
        &self,
        cluster: &Cluster,
        kind: &str,
        name: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let attempt = || async {
            let found = self.object(cluster, kind, name).await;
            if wanted(&found) { Ok(found) } else { Err(format!("{found:#}")) }
        };
        eventually(&format!("{kind} {name} is as wanted"), patience, attempt).await
    }
}

/// What a replica may be told.
#[derive(Default)]
pub struct ReplicaOptions {
    /// Whose permissions it has; without, the admin's.
    pub kubeconfig: Option<PathBuf>,
    /// Whether it runs an Envoy.
    pub envoy: bool,
    /// Whether it watches all namespaces, and not its corner alone.
    pub everywhere: bool,
    /// Whose Gateways it takes, of several shards: those with the label `shard` of this value.
    pub shard: Option<&'static str>,
    /// The kubeconfig of a second cluster, the source `other`.
    pub other: Option<PathBuf>,
}

/// A Tidegate as a process.
pub struct Replica {
    pub service: Service,
    pub admin: SocketAddr,
    /// Where it listens for proxies.
    pub xds: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Replica {
    /// Starts it; it need not be ready.
    pub fn start(cluster: &Cluster, corner: &Corner, options: &ReplicaOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("replica").tempdir().unwrap();
        let [admin, xds, envoy] = free_ports().map(loopback);
        let kubeconfig = options.kubeconfig.as_deref().unwrap_or(cluster.kubeconfig());
        let Corner { name, controller } = corner;
        let namespaces = if options.everywhere { "[]".to_owned() } else { format!("[{name}]") };
        let managed = options.envoy;
        let (selector, lease) = match options.shard {
            Some(shard) => (format!(", selector: shard={shard}"), format!("{name}-{shard}")),
            None => (String::new(), name.clone()),
        };
        let binary = if managed { format!("path: {}, ", envoy_binary().display()) } else { String::new() };
        let source = |source: &str, kubeconfig: &Path| {
            format!(
                "  - name: {source}
    kind: kubernetes
    kubeconfig: {}
    namespaces: {namespaces}
    status:
      lease: {{ namespace: {name}, name: {lease}, duration: 3s, renew_deadline: 2s, retry: 500ms }}
",
                kubeconfig.display()
            )
        };
        let other = options.other.as_deref().map(|kubeconfig| source("other", kubeconfig)).unwrap_or_default();
        let config = format!(
            "admin: {{ address: \"{admin}\" }}
sources:
{}{other}gateway: {{ controller_name: {controller}{selector} }}
proxy: {{ managed: {managed}, {binary}concurrency: 1, admin_address: \"{envoy}\", drain_timeout: 200ms }}
xds: {{ address: \"{xds}\" }}
data_dir: data
",
            source("cluster", kubeconfig)
        );
        std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
        let service = Service::start(&["run", "--config", "tidegate.yaml"], folder.path(), &folder.path().join("data"));
        Self { service, admin, xds, _folder: folder }
    }

    /// Starts it and waits until it is ready.
    pub async fn ready(cluster: &Cluster, corner: &Corner, options: &ReplicaOptions) -> Self {
        let replica = Self::start(cluster, corner, options);
        replica.service.until_ready(replica.admin).await;
        replica
    }

    /// What its admin server answers.
    pub async fn ask(&self, path: &str) -> Answer {
        get(self.admin, &self.admin.to_string(), path).await.unwrap()
    }

    /// The same as JSON.
    pub async fn ask_json(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {answer:?}"))
    }

    /// What it has for problems.
    pub async fn problems(&self) -> Vec<Value> {
        self.ask_json("/api/v1/problems").await["items"].as_array().cloned().unwrap_or_default()
    }

    /// How many statuses it has written, with an outcome.
    pub async fn writes(&self, outcome: &str) -> u64 {
        let metrics = self.ask("/metrics").await.body;
        let lines = metrics.lines().filter(|line| line.starts_with("tidegate_status_writes_total{"));
        let ours = lines.filter(|line| line.contains(&format!("outcome=\"{outcome}\"")));
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Waits until its store holds a resource type exactly as the API server does: names with resource versions.
    pub async fn until_equal(&self, cluster: &Cluster, corner: &Corner, resource: &str) -> usize {
        self.until_equal_to(&[("cluster", cluster)], corner, resource).await
    }

    /// The same of several clusters, by the names of their sources.
    pub async fn until_equal_to(&self, clusters: &[(&str, &Cluster)], corner: &Corner, resource: &str) -> usize {
        let mut equal = 0;
        for (source, cluster) in clusters {
            let attempt = || async {
                let theirs = versions(&cluster.get_json(&[resource, "-n", &corner.name]).await["items"], "");
                let path = format!("/api/v1/resources/{resource}?namespace={}&source={source}", corner.name);
                let ours = versions(&self.ask_json(&path).await["items"], "/object");
                if ours == theirs { Ok(ours.len()) } else { Err(format!("the server: {theirs:?}\nhere: {ours:?}")) }
            };
            equal += eventually(&format!("the store of {resource} equals the server"), PATIENCE, attempt).await;
        }
        equal
    }
}

fn versions(items: &Value, pointer: &str) -> Vec<(String, String)> {
    let of = |item: &Value, field: &str| {
        let text = item.pointer(&format!("{pointer}/metadata/{field}")).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let items = items.as_array().unwrap().iter();
    let mut all: Vec<_> = items.map(|item| (of(item, "name"), of(item, "resourceVersion"))).collect();
    all.sort();
    all
}

/// A condition among those of a part of an object.
pub fn condition<'a>(part: &'a Value, of_type: &str) -> &'a Value {
    let conditions = part["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == of_type).unwrap_or(&Value::Null)
}

/// Whether a condition is true, and of the object's present generation.
pub fn holds(object: &Value, part: &Value, of_type: &str) -> bool {
    let condition = condition(part, of_type);
    condition["status"] == "True" && condition["observedGeneration"] == object["metadata"]["generation"]
}

/// Whether a route's first parent of ours says a thing that is true of the present generation.
pub fn is_accepted(route: &Value, controller: &str) -> bool {
    let parents = route["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = parents.iter().find(|parent| parent["controllerName"] == controller);
    ours.is_some_and(|ours| holds(route, ours, "Accepted") && holds(route, ours, "ResolvedRefs"))
}

/// Waits until an address answers a host's path with a backend.
pub async fn until_who(address: SocketAddr, host: &str, path: &str, backend: &str) {
    let attempt = || async {
        let answer = get(address, host, path).await?;
        if answer.backend() == backend { Ok(()) } else { Err(format!("{answer:?}")) }
    };
    eventually(&format!("{backend} answers {host}{path}"), PATIENCE, attempt).await
}

/// A file below the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
