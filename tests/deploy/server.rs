//! A real API server takes the manifests and what the chart renders, strictly, and lets their pods in where the standard
//! `restricted` is enforced.

use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::files::{documents, of_kind, render, text};
use crate::support::cluster::Cluster;

/// The cluster of this suite. The last one to need it ends it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// As much of the operator's definition as we use, so that a misspelt field is refused. The operator's own is not here.
const SERVICE_MONITORS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: servicemonitors.monitoring.coreos.com }
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: { kind: ServiceMonitor, plural: servicemonitors, singular: servicemonitor }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [selector, endpoints]
              properties:
                selector:
                  type: object
                  properties: { matchLabels: { type: object, additionalProperties: { type: string } } }
                endpoints:
                  type: array
                  items:
                    type: object
                    properties: { port: { type: string }, path: { type: string }, interval: { type: string } }
";

/// A cluster that others use at the same time.
pub async fn shared_cluster() -> Arc<Cluster> {
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::start().await);
    cluster.apply(SERVICE_MONITORS).await;
    cluster.kubectl(&["wait", "--for=condition=established", "crd/servicemonitors.monitoring.coreos.com"]).await;
    *shared = Arc::downgrade(&cluster);
    cluster
}

/// A namespace that lets in only what the standard `restricted` does.
pub async fn mk_restricted(cluster: &Cluster, name: &str) {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    cluster.apply(&namespace.to_string()).await;
}

/// Applies manifests, no field of which may be unknown or doubled.
pub async fn apply_strictly(cluster: &Cluster, manifests: &str) {
    let arguments = ["apply", "--validate=strict", "-f", "-"];
    let applied = cluster.run_kubectl(cluster.kubeconfig(), &arguments, manifests).await;
    applied.unwrap_or_else(|reason| panic!("{reason}\n{manifests}"));
}

/// Has the API server look at a pod of a Deployment, without making it.
async fn try_pod(cluster: &Cluster, deployment: &Value) -> Result<String, String> {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod" });
    pod["metadata"] = deployment["spec"]["template"]["metadata"].clone();
    pod["metadata"]["name"] = "a-pod".into();
    pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
    pod["spec"] = deployment["spec"]["template"]["spec"].clone();
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"];
    cluster.run_kubectl(cluster.kubeconfig(), &arguments, &pod.to_string()).await
}

/// Asserts that the pods of all Deployments are let in.
async fn assert_pods_are_let_in(cluster: &Cluster, manifests: &str) {
    let objects = documents(manifests);
    let deployments = of_kind(&objects, "Deployment");
    assert!(!deployments.is_empty());
    for deployment in deployments {
        try_pod(cluster, deployment).await.unwrap_or_else(|reason| panic!("{reason}\n{deployment:#}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn the_plain_manifests_are_taken_and_their_pods_let_in() {
    let cluster = &*shared_cluster().await;
    for file in ["rbac.yaml", "tidegate.yaml", "servicemonitor.yaml", "envoy.yaml"] {
        apply_strictly(cluster, &text(&format!("config/deploy/{file}"))).await;
    }
    // A controller makes it in every namespace, and none runs here.
    cluster.kubectl(&["create", "serviceaccount", "default", "-n", "tidegate-proxies"]).await;
    for file in ["tidegate.yaml", "envoy.yaml"] {
        assert_pods_are_let_in(cluster, &text(&format!("config/deploy/{file}"))).await;
    }
    // The standard is enforced: a pod that says less than ours is refused.
    let objects = documents(&text("config/deploy/tidegate.yaml"));
    let mut lax = of_kind(&objects, "Deployment")[0].clone();
    lax["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = try_pod(cluster, &lax).await.unwrap_err();
    assert!(refused.contains("violates PodSecurity \"restricted:"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program and the chart program: run by cargo xtask test"]
async fn what_the_chart_renders_is_taken_whatever_the_values() {
    let cluster = &*shared_cluster().await;
    let cases = [
        ("chart-default", ""),
        ("chart-monitored", "serviceMonitor: { enabled: true, labels: { team: edge } }"),
        ("chart-named", "{ namespaces: [chart-apps, chart-infra], secretNamespaces: [chart-infra] }"),
        ("chart-shards", "{ shards: [{ name: a, selector: shard=a }, { name: rest, selector: '!shard' }] }"),
        (
            "chart-all",
            "{ image: { repository: images.example.com/tidegate, tag: v1, pullPolicy: Always },
               imagePullSecrets: [{ name: pull }], replicas: 3, config: { log: { level: debug } },
               extraSources: [{ name: west, kind: kubernetes, kubeconfig: /west/kubeconfig }],
               extraVolumes: [{ name: west, secret: { secretName: west } }],
               extraVolumeMounts: [{ name: west, mountPath: /west, readOnly: true }],
               serviceAccount: { name: mine, annotations: { a: b } },
               rbac: { extraRules: [{ apiGroups: [example.com], resources: [widgets], verbs: [list, watch] }] },
               service: { type: NodePort, xdsPort: 18001, adminPort: 9011, annotations: { a: b } },
               networkPolicy: { xdsFrom: [], adminFrom: [{ podSelector: {} }] },
               podDisruptionBudget: { maxUnavailable: 50% }, podAnnotations: { a: b }, podLabels: { a: b },
               nodeSelector: { a: b }, tolerations: [{ key: a, operator: Exists }],
               affinity: { nodeAffinity: {} }, priorityClassName: system-cluster-critical }",
        ),
    ];
    for namespace in ["chart-apps", "chart-infra"] {
        mk_restricted(cluster, namespace).await;
    }
    for (namespace, values) in cases {
        mk_restricted(cluster, namespace).await;
        let rendered = render(namespace, values);
        apply_strictly(cluster, &rendered).await;
        assert_pods_are_let_in(cluster, &rendered).await;
    }
}
