//! The tests' own Kubernetes does what other suites rely on: it is the real one, and what they do to it has the effect
//! that they expect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/ports.rs"]
mod ports;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use cluster::{APISERVER, Cluster, ClusterOptions, SECOND_APISERVER, informer_program};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn mk_gateway(name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: tidegate
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
"
    )
}

fn mk_endpoint_slice(name: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [10.244.0.7], conditions: {{ready: true}}}}]
"
    )
}

fn mk_config_map(name: &str, value: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{value: \"{value}\"}}}}\n")
}

/// A kubectl that has nothing but a service account's token.
async fn kubectl_with_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> Result<String, String> {
    let ca = cluster.dir().join("pki/ca.crt").display().to_string();
    let connection = ["--server", &cluster.state().server, "--certificate-authority", &ca, "--token", token];
    cluster.run_kubectl(Path::new("/dev/null"), &[&connection, arguments].concat(), "").await
}

/// The resource version of a ConfigMap, and its value.
async fn config_map(cluster: &Cluster, name: &str) -> (String, String) {
    let found = cluster.get_json(&["configmap", name]).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&found["metadata"]["resourceVersion"]), text(&found["data"]["value"]))
}

/// What a watch of ConfigMaps from a resource version brings within a second or so.
async fn watch(cluster: &Cluster, resource_version: &str) -> String {
    let path =
        format!("/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=1&resourceVersion={resource_version}");
    match cluster.try_kubectl(&["get", "--raw", &path]).await {
        Ok(events) => events,
        Err(refused) => refused,
    }
}

/// Whether a process is there; one that is dead and only not waited for is not.
fn is_running(pid: u32) -> bool {
    assert_ne!(pid, 0, "no process");
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

async fn wait_gone(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| is_running(*pid)) {
        assert!(Instant::now() < deadline, "of {pids:?} something still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn it_starts_in_seconds_and_takes_gateways_and_endpoint_slices_from_kubectl() {
    let cluster = Cluster::start().await;
    let state = cluster.state();
    println!("Kubernetes {} with Gateway API {} in {:.1?}", state.version, state.gateway_api, cluster.start_time);

    cluster.apply(&[mk_gateway("edge"), mk_endpoint_slice("web-1")].join("---\n")).await;

    let gateway = cluster.get_json(&["gateways.gateway.networking.k8s.io", "edge"]).await;
    assert_eq!(gateway["spec"]["gatewayClassName"], "tidegate");
    assert_eq!(gateway["metadata"]["generation"], 1);
    let slice = cluster.get_json(&["endpointslices", "web-1"]).await;
    assert_eq!(slice["endpoints"][0]["addresses"][0], "10.244.0.7");
    let version: serde_json::Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/version"]).await).unwrap();
    assert_eq!(version["gitVersion"], state.version.as_str());
    // It is the real thing, so it validates.
    let invalid = mk_gateway("broken").replace("port: 80", "port: 80000");
    let refused = cluster.run_kubectl(cluster.kubeconfig(), &["apply", "-f", "-"], &invalid).await.unwrap_err();
    assert!(refused.contains("80000"), "{refused}");
    // All kinds of the experimental channel are there.
    let kinds = cluster.kubectl(&["api-resources", "--api-group", "gateway.networking.k8s.io", "-o", "name"]).await;
    for kind in ["gatewayclasses", "listenersets", "httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes"] {
        assert!(kinds.contains(&format!("{kind}.gateway")), "{kind} is not in {kinds}");
    }
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn permissions_hold_and_controllers_run_when_asked_for() {
    let cluster =
        Cluster::start_with(ClusterOptions { controllers: true, without_crds: true, ..Default::default() }).await;
    println!("with controllers in {:.1?}", cluster.start_time);
    cluster.kubectl(&["create", "serviceaccount", "reader"]).await;
    let token = cluster.kubectl(&["create", "token", "reader"]).await;

    let denied = kubectl_with_token(&cluster, token.trim(), &["get", "secrets"]).await.unwrap_err();
    assert!(denied.contains("Forbidden") && denied.contains("default:reader"), "{denied}");

    cluster.kubectl(&["create", "role", "secrets", "--verb=list", "--resource=secrets"]).await;
    cluster.kubectl(&["create", "rolebinding", "secrets", "--role=secrets", "--serviceaccount=default:reader"]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // The API server learns of its own roles by watching itself.
    while let Err(denied) = kubectl_with_token(&cluster, token.trim(), &["get", "secrets"]).await {
        assert!(Instant::now() < deadline, "{denied}");
    }

    let user = cluster.user_kubeconfig("ann", &["people"], Duration::from_secs(3600)).await;
    let who = cluster.run_kubectl(&user, &["auth", "whoami", "-o", "json"], "").await.unwrap();
    let who: serde_json::Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "ann");
    let denied = cluster.run_kubectl(&user, &["get", "configmaps"], "").await.unwrap_err();
    assert!(denied.contains("Forbidden"), "{denied}");

    // Only a controller ends a namespace.
    cluster.kubectl(&["create", "namespace", "short-lived"]).await;
    cluster.kubectl(&["delete", "namespace", "short-lived", "--timeout=60s"]).await;
    let gone = cluster.try_kubectl(&["get", "namespace", "short-lived"]).await.unwrap_err();
    assert!(gone.contains("NotFound"), "{gone}");
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn an_api_server_can_be_killed_paused_doubled_and_comes_back_with_its_objects() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&mk_gateway("edge")).await;
    let uid = cluster.get_json(&["gateway", "edge"]).await["metadata"]["uid"].clone();
    let first = cluster.pid(APISERVER);

    cluster.kill_apiserver().await;

    assert!(!is_running(first));
    let refused = cluster.try_kubectl(&["get", "gateway", "edge"]).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");

    let begun = Instant::now();
    cluster.start_apiserver().await;
    println!("an API server came back in {:.1?}", begun.elapsed());

    assert_ne!(cluster.pid(APISERVER), first);
    assert_eq!(cluster.get_json(&["gateway", "edge"]).await["metadata"]["uid"], uid);

    cluster.start_part(SECOND_APISERVER, &[]).await;
    cluster.pause(APISERVER).await;

    let silent = cluster.try_kubectl(&["get", "gateway", "edge", "--request-timeout=1s"]).await.unwrap_err();
    assert!(silent.contains("imeout") || silent.contains("deadline"), "{silent}");
    let second = cluster.state().parts[SECOND_APISERVER].kubeconfig.clone().unwrap();
    let found = cluster.run_kubectl(&second, &["get", "gateway", "edge", "-o", "jsonpath={.metadata.uid}"], "").await;
    assert_eq!(found.unwrap(), uid.as_str().unwrap());

    cluster.resume(APISERVER).await;
    assert_eq!(cluster.get_json(&["gateway", "edge"]).await["metadata"]["uid"], uid);
    let unknown = cluster.try_command("start kubelet").await.unwrap_err();
    assert!(unknown.contains("no part of a cluster"), "{unknown}");
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn etcd_forgets_when_compacted_and_goes_back_in_time_when_restored() {
    // With a watch cache the API server would know more than etcd does.
    let flags = vec!["--watch-cache=false".to_owned()];
    let options = ClusterOptions { without_crds: true, apiserver_flags: flags, ..Default::default() };
    let mut cluster = Cluster::start_with(options).await;
    cluster.apply(&mk_config_map("one", "old")).await;
    let (old, _) = config_map(&cluster, "one").await;
    let snapshot = cluster.dir().join("snapshot.db");
    cluster.save_snapshot(&snapshot).await;
    cluster.apply(&mk_config_map("one", "new")).await;
    cluster.apply(&mk_config_map("two", "new")).await;

    let events = watch(&cluster, &old).await;
    assert!(events.contains("MODIFIED") && events.contains("ADDED"), "before compaction the past is there: {events}");

    cluster.compact().await;

    let events = watch(&cluster, &old).await;
    println!("a watch from before the compaction: {events}");
    assert!(events.contains("\"code\":410"), "{events}");
    assert!(!events.contains("MODIFIED"), "{events}");

    cluster.restore_snapshot(&snapshot).await;

    assert_eq!(config_map(&cluster, "one").await, (old.clone(), "old".to_owned()));
    let gone = cluster.try_kubectl(&["get", "configmap", "two"]).await.unwrap_err();
    assert!(gone.contains("NotFound"), "{gone}");

    // The same again, but the API server goes on: it finds etcd in another time.
    let apiserver = cluster.pid(APISERVER);
    cluster.apply(&mk_config_map("one", "newer")).await;
    cluster.restore_snapshot_underneath(&snapshot).await;

    assert_eq!(cluster.pid(APISERVER), apiserver);
    assert_eq!(config_map(&cluster, "one").await, (old, "old".to_owned()));
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn the_client_go_informer_says_what_syncing_and_updates_cost() {
    let cluster = Cluster::start_with(ClusterOptions { without_crds: true, ..Default::default() }).await;
    cluster.apply(&[mk_config_map("one", "a"), mk_config_map("two", "a")].join("---\n")).await;
    let before = cluster.get_json(&["configmaps", "--all-namespaces"]).await["items"].as_array().unwrap().len();

    let mut informer = tokio::process::Command::new(informer_program());
    informer.arg("--kubeconfig").arg(cluster.kubeconfig());
    informer.args([
        "--resource",
        "v1/configmaps",
        "--resource",
        "discovery.k8s.io/v1/endpointslices",
        "--updates",
        "2",
    ]);
    let mut informer = informer.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(informer.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.expect("a line in time");
        serde_json::from_str::<serde_json::Value>(&line.unwrap().expect("a line")).unwrap()
    };

    let synced = line().await;
    assert_eq!(synced["event"], "synced");
    assert_eq!(synced["objects"], before);
    for figure in ["seconds", "cpuSeconds", "peakBytes", "bytes", "steadyBytes"] {
        assert!(synced[figure].as_f64().unwrap() > 0.0, "{figure}: {synced}");
    }

    let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    cluster.kubectl(&["annotate", "configmap", "one", "two", &format!("tidegate.dev/sent={sent}")]).await;

    let updated = line().await;
    assert_eq!(
        (&updated["event"], &updated["updates"], &updated["stamped"]),
        (&"updated".into(), &2.into(), &2.into())
    );
    let (p50, p99) = (updated["p50Seconds"].as_f64().unwrap(), updated["p99Seconds"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 < 60.0, "{updated}");
    assert!(informer.wait().await.unwrap().success());
}

#[tokio::test]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn nothing_is_left_running_whichever_way_it_ends() {
    let options = ClusterOptions { without_crds: true, ..Default::default() };
    let mut cluster = Cluster::start_with(options.clone()).await;
    cluster.pause(APISERVER).await;
    let pids = [cluster.pid("etcd"), cluster.pid(APISERVER), cluster.supervisor_pid()];
    let dir = cluster.dir().to_owned();
    assert!(pids.iter().all(|pid| is_running(*pid)));

    let begun = Instant::now();
    drop(cluster);

    assert!(pids.iter().all(|pid| !is_running(*pid)), "dropped, and still there");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!dir.exists());

    let cluster = Cluster::start_with(options).await;
    let pids = [cluster.pid("etcd"), cluster.pid(APISERVER)];
    kill_process(Pid::from_raw(cluster.supervisor_pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
    wait_gone(&pids).await;
}
