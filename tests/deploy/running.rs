//! Tidegate runs with the config of the manifests and the permissions of the manifests and of the chart: it gets what it
//! needs, and no Secret beyond.

use std::net::SocketAddr;

use serde_json::Value;

use crate::files::{config_of, documents, of_kind, plain, render, text};
use crate::server::{apply_strictly, mk_restricted, shared_cluster};
use crate::support::cluster::Cluster;
use crate::support::envoy::{PATIENCE, eventually, get, loopback};
use crate::support::manifests::{mk_gateway, mk_http_listener, mk_https_listener, mk_route_to, mk_secret, mk_service};
use crate::support::ports::free_ports;
use crate::support::service::Service;
use crate::support::tls::Authority;

/// A Tidegate as a process with a config as it is in a ConfigMap, and nothing but a service account's token.
struct Pod {
    service: Service,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Pod {
    /// Starts it: what differs from a pod is said in its environment, as users may say it.
    async fn start(cluster: &Cluster, namespace: &str, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pod").tempdir().unwrap();
        std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
        let kubeconfig = cluster.service_account_kubeconfig(namespace).await;
        let [admin, xds] = free_ports().map(loopback);
        // What a Secret would hold; no proxy comes here.
        let certificate = Authority::new().issue(&["tidegate.tidegate.svc"]);
        let tls = ["CERT_FILE", "KEY_FILE", "CLIENT_CA_FILE"].map(|key| folder.path().join(key));
        for (file, content) in tls.iter().zip([&certificate.pem, &certificate.key, &certificate.pem]) {
            std::fs::write(file, content).unwrap();
        }
        let [certificate, key, authority] = tls.map(|file| file.display().to_string());
        let variables = vec![
            ("TIDEGATE__ADMIN__ADDRESS", admin.to_string()),
            ("TIDEGATE__XDS__ADDRESS", xds.to_string()),
            ("TIDEGATE__XDS__TLS__CERT_FILE", certificate),
            ("TIDEGATE__XDS__TLS__KEY_FILE", key),
            ("TIDEGATE__XDS__TLS__CLIENT_CA_FILE", authority),
            ("TIDEGATE__DATA_DIR", folder.path().join("data").display().to_string()),
            ("TIDEGATE__SOURCES__0__KUBECONFIG", kubeconfig.display().to_string()),
            ("TIDEGATE__SOURCES__0__STATUS__LEASE__NAMESPACE", namespace.to_owned()),
        ];
        let arguments = ["run", "--config", "tidegate.yaml"];
        let service = Service::start_with(&arguments, variables, folder.path(), &folder.path().join("data"));
        Self { service, admin, _folder: folder }
    }

    async fn ask(&self, path: &str) -> Value {
        let answer = get(self.admin, &self.admin.to_string(), path).await.unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {answer:?}"))
    }

    /// The namespaces of the Secrets that it holds.
    async fn secrets_of(&self) -> Vec<String> {
        let secrets = self.ask("/api/v1/resources/secrets").await;
        let items = secrets["items"].as_array().cloned().unwrap_or_default();
        let namespace = |item: &Value| {
            item.pointer("/object/metadata/namespace").and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut all: Vec<String> = items.iter().map(namespace).collect();
        all.sort();
        all.dedup();
        all
    }

    async fn assert_nothing_is_wrong(&self) {
        assert_eq!(self.ask("/api/v1/problems").await["items"], serde_json::json!([]));
        assert_eq!(self.ask("/readyz").await["degraded"], false);
    }
}

/// A Gateway with a certificate and a route, in a namespace; and a Secret in another one that is nobody's business.
async fn fill(cluster: &Cluster, namespace: &str, class: &str) {
    let certificate = Authority::new().issue(&["web.example.com"]);
    let listeners =
        [mk_http_listener("http", 8080, ""), mk_https_listener("https", 8443, "web.example.com", &["web-tls"])];
    let manifests = [
        mk_secret("web-tls", &certificate.pem, &certificate.key),
        mk_gateway("public", &listeners.concat()),
        mk_service("web", &["192.0.2.7:80".parse().unwrap()]),
        mk_route_to("web", &["web.example.com"], "web"),
    ];
    let manifests = manifests.join("\n---\n").replace("namespace: apps", &format!("namespace: {namespace}"));
    cluster.apply(&manifests.replace("gatewayClassName: tidegate", &format!("gatewayClassName: {class}"))).await;
}

fn is_true(part: &Value, kind: &str) -> bool {
    let conditions = part["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Waits until what `fill` made is told that all is well.
async fn until_told(cluster: &Cluster, namespace: &str) {
    let attempt = || async {
        let gateway = cluster.get_json(&["gateway", "public", "-n", namespace]).await;
        let route = cluster.get_json(&["httproute", "web", "-n", namespace]).await;
        let listeners = gateway["status"]["listeners"].as_array().cloned().unwrap_or_default();
        let good = is_true(&gateway["status"], "Programmed")
            && listeners.len() == 2
            && listeners.iter().all(|listener| is_true(listener, "ResolvedRefs") && listener["attachedRoutes"] == 1)
            && is_true(&route["status"]["parents"][0], "Accepted");
        if good { Ok(gateway) } else { Err(format!("{:#}\n{:#}", gateway["status"], route["status"])) }
    };
    let gateway = eventually("all is told that it is well", PATIENCE, attempt).await;
    // A pod's listeners bind every address, which is none that anybody could ask.
    assert_eq!(gateway["status"]["addresses"].as_array().map_or(0, Vec::len), 0, "{gateway:#}");
}

/// Whether the service account of a namespace may read Secrets of another one, as the API server sees it.
async fn may_read_secrets(cluster: &Cluster, account: &str, namespace: &str) -> bool {
    let user = format!("--as=system:serviceaccount:{account}:tidegate");
    for verb in ["get", "list", "watch"] {
        let asked = ["auth", "can-i", verb, "secrets", "-n", namespace, &user];
        // What is not allowed is an error to kubectl.
        if cluster.try_kubectl(&asked).await.is_ok_and(|answer| answer.trim() == "yes") {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn the_config_and_the_permissions_of_the_plain_manifests_are_enough() {
    let cluster = &*shared_cluster().await;
    for file in ["rbac.yaml", "tidegate.yaml"] {
        apply_strictly(cluster, &text(&format!("config/deploy/{file}"))).await;
    }
    cluster.kubectl(&["create", "namespace", "plain-apps"]).await;
    fill(cluster, "plain-apps", "tidegate").await;

    let objects = plain();
    let pod = Pod::start(cluster, "tidegate", &config_of(of_kind(&objects, "ConfigMap")[0])).await;
    pod.service.until_ready(pod.admin).await;

    until_told(cluster, "plain-apps").await;
    pod.assert_nothing_is_wrong().await;
    let lease = cluster.get_json(&["lease", "tidegate", "-n", "tidegate"]).await;
    assert!(lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty()), "{lease}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and the chart program: run by cargo xtask test"]
async fn with_namespaces_named_it_works_and_reads_no_secret_outside_of_them() {
    let cluster = &*shared_cluster().await;
    for namespace in ["run-named", "run-apps", "run-other"] {
        mk_restricted(cluster, namespace).await;
    }
    // A class and a controller of its own: another Tidegate may run in this cluster at this time.
    let values = "{ namespaces: [run-named, run-apps], secretNamespaces: [run-apps],
        gatewayClass: { name: run-named }, config: { gateway: { controller_name: example.com/run-named } } }";
    let rendered = render("run-named", values);
    apply_strictly(cluster, &rendered).await;
    fill(cluster, "run-apps", "run-named").await;
    cluster.kubectl(&["create", "secret", "generic", "private", "-n", "run-other", "--from-literal=a=b"]).await;
    cluster.kubectl(&["create", "secret", "generic", "private", "-n", "run-named", "--from-literal=a=b"]).await;

    let objects = documents(&rendered);
    let pod = Pod::start(cluster, "run-named", &config_of(of_kind(&objects, "ConfigMap")[0])).await;
    pod.service.until_ready(pod.admin).await;

    until_told(cluster, "run-apps").await;
    pod.assert_nothing_is_wrong().await;
    assert_eq!(pod.secrets_of().await, ["run-apps"]);
    assert!(may_read_secrets(cluster, "run-named", "run-apps").await);
    for elsewhere in ["run-other", "run-named", "default", "kube-system"] {
        assert!(!may_read_secrets(cluster, "run-named", elsewhere).await, "{elsewhere}");
    }
}
