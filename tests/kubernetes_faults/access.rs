//! Permissions, tokens, certificates and authorities that change while objects are watched: nothing that was held is
//! lost by it, and no event is missed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::queue::Phase;
use tidegate_actors::reflector::ReflectorOptions;
use tokio::time::Instant;

use crate::api::{Api, PATIENCE, until};
use crate::cluster::{Cluster, ClusterOptions};
use crate::history::Time;
use crate::run::replace_file;
use crate::watched::{Type, Watched, mk_options, mk_patience};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn maps() -> ResourceType {
    ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced)
}

/// A cluster in which somebody may watch ConfigMaps, and an object.
async fn mk_cluster(subject: &Value) -> (Cluster, Api) {
    let cluster = Cluster::start_with(ClusterOptions { without_crds: true, ..Default::default() }).await;
    let api = Api::new(cluster.kubeconfig()).await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
    api.must("POST", ROLES, &json!({"metadata": {"name": "watcher"}, "rules": rules})).await;
    permit(&api, subject).await;
    put(&api, "first").await;
    (cluster, api)
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

async fn permit(api: &Api, subject: &Value) {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "watcher"});
    let binding = json!({"metadata": {"name": "watcher"}, "roleRef": role, "subjects": [subject]});
    api.must("POST", BINDINGS, &binding).await;
}

async fn put(api: &Api, name: &str) {
    api.must("POST", MAPS, &json!({"metadata": {"name": name}})).await;
}

async fn watch(name: &str, kubeconfig: &Path, reflector: &ReflectorOptions, watch_timeout: Duration) -> Watched {
    let mut options = mk_options(name, kubeconfig);
    options.watch_timeout = watch_timeout;
    let watched = Watched::start(options, reflector, &[maps()]).await;
    watched.synced(PATIENCE).await.unwrap();
    watched
}

async fn until_there(of: &Type, name: &str, limit: Duration) {
    let there = || {
        let names = of.names();
        if names.iter().any(|held| held == name) { Ok(()) } else { Err(format!("{names:?}; {:?}", of.phase())) }
    };
    until(&format!("{name} is there"), limit, there).await.unwrap();
}

async fn until_equal(api: &Api, watched: &Watched) {
    let items = api.list("/api/v1/configmaps").await;
    watched.types[0].until_equal(items, PATIENCE, Time::Forward).await.unwrap();
}

/// As often as a certificate is renewed in a test, something is created in between.
async fn put_for(api: &Api, name: &str, long: Duration) -> Vec<String> {
    let (begun, mut names) = (Instant::now(), Vec::new());
    while begun.elapsed() < long {
        names.push(format!("{name}-{}", names.len()));
        put(api, &names[names.len() - 1]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn a_permission_that_is_withdrawn_is_named_while_the_last_state_serves_and_heals_within_seconds() {
    let (cluster, api) = mk_cluster(&user("ann")).await;
    let kubeconfig = cluster.user_kubeconfig("ann", &[], Duration::from_secs(3600)).await;
    // As patient as it is by default.
    let watched = watch("permissions", &kubeconfig, &ReflectorOptions::default(), Duration::from_secs(1)).await;
    let of = &watched.types[0];
    let held = of.names();

    api.must("DELETE", &format!("{BINDINGS}/watcher"), &Value::Null).await;
    let rule = r#"{apiGroups: [""], resources: ["configmaps"], verbs: "#;
    let named = || match of.phase() {
        Phase::Degraded(reason) if reason.contains("missing RBAC rule") && reason.contains(rule) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("the missing rule is named", PATIENCE, named).await.unwrap();
    put(&api, "meanwhile").await;
    api.must("DELETE", &format!("{MAPS}/first"), &Value::Null).await;
    assert_eq!(of.names(), held, "what was there serves on");

    permit(&api, &user("ann")).await;
    let granted = Instant::now();
    until_there(of, "meanwhile", PATIENCE).await;
    println!("healed {:.1?} after the permission was granted", granted.elapsed());
    assert!(granted.elapsed() < Duration::from_secs(10), "{:?}", granted.elapsed());
    until_equal(&api, &watched).await;
    assert_eq!(of.phase(), Phase::Synced);
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn a_service_accounts_token_is_replaced_and_the_old_one_refused_without_a_missed_event() {
    let account = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": "default"});
    let (cluster, api) = mk_cluster(&account).await;
    api.must("POST", "/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "watcher"}})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let kubeconfig = token_kubeconfig(&cluster, &file);
    // A token holds for as long as the object is there to which it is bound.
    let issue = async |number: u32| {
        let secrets = "/api/v1/namespaces/default/secrets";
        let name = format!("token-{number}");
        let holder = api.must("POST", secrets, &json!({"metadata": {"name": name}})).await;
        let uid = &holder["metadata"]["uid"];
        let bound = json!({"kind": "Secret", "apiVersion": "v1", "name": name, "uid": uid});
        let path = "/api/v1/namespaces/default/serviceaccounts/watcher/token";
        let answer = api.must("POST", path, &json!({"spec": {"boundObjectRef": bound}})).await;
        let token = answer["status"]["token"].as_str().unwrap().to_owned();
        replace_file(&file, &token);
        token
    };
    let first = issue(1).await;
    let watched = watch("tokens", &kubeconfig, &mk_patience(), Duration::from_secs(1)).await;

    issue(2).await;
    api.must("DELETE", "/api/v1/namespaces/default/secrets/token-1", &Value::Null).await;
    let old = token_kubeconfig(&cluster, &folder.path().join("old"));
    replace_file(&folder.path().join("old"), &first);
    let old = Api::new(&old).await;
    let refused = async {
        for round in 0.. {
            if matches!(old.try_send("GET", MAPS, &Value::Null).await, Ok((401, _))) {
                break;
            }
            put_for(&api, &format!("during-{round}"), Duration::from_millis(200)).await;
        }
    };
    // The API server remembers for some seconds whom it has let in.
    tokio::time::timeout(PATIENCE, refused).await.expect("the old token is refused");
    let last = put_for(&api, "after", Duration::from_secs(3)).await;

    until_there(&watched.types[0], &last[last.len() - 1], PATIENCE).await;
    until_equal(&api, &watched).await;
    assert_eq!(watched.count(|counts| &counts.lists), 1, "every watch was resumed");
    watched.stop().await;
}

/// With a token in a file, and nothing else.
fn token_kubeconfig(cluster: &Cluster, token: &Path) -> PathBuf {
    let path = token.with_extension("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n\
         clusters: [{{ name: it, cluster: {{ server: '{}', certificate-authority: '{}' }} }}]\n\
         users: [{{ name: it, user: {{ tokenFile: '{}' }} }}]\n",
        cluster.state().server,
        cluster.dir().join("pki/ca.crt").display(),
        token.display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn client_certificates_are_replaced_before_and_after_their_end_without_a_missed_event() {
    let (cluster, api) = mk_cluster(&user("ann")).await;
    let issue = async |lifetime: u64| cluster.user_kubeconfig("ann", &[], Duration::from_secs(lifetime)).await;
    let (first, second) = (Duration::from_secs(10), Duration::from_secs(20));
    let kubeconfig = issue(first.as_secs()).await;
    let first_ends = Instant::now() + first;
    let watched = watch("certificates", &kubeconfig, &mk_patience(), Duration::from_secs(1)).await;
    let refusals = || match watched.types[0].phase() {
        Phase::Degraded(reason) => reason.contains("refused the credentials"),
        _ => false,
    };

    // In time: nobody notices.
    issue(second.as_secs()).await;
    let mut names = Vec::new();
    for part in 0.. {
        names.extend(put_for(&api, &format!("in-time-{part}"), Duration::from_millis(500)).await);
        assert!(!refusals(), "{:?}", watched.types[0].phase());
        if first_ends.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    until_there(&watched.types[0], &names[names.len() - 1], PATIENCE).await;

    // Too late: what is held serves on, and nothing is missed.
    let refused = || if refusals() { Ok(()) } else { Err(format!("{:?}", watched.types[0].phase())) };
    until("the certificate has ended", PATIENCE, refused).await.unwrap();
    let held = watched.types[0].names();
    put_for(&api, "too-late", Duration::from_millis(500)).await;
    assert_eq!(watched.types[0].names(), held);
    issue(3600).await;
    let renewed = Instant::now();
    put(&api, "renewed").await;
    until_there(&watched.types[0], "renewed", PATIENCE).await;
    println!("a new certificate was in use after {:.1?}", renewed.elapsed());
    until_equal(&api, &watched).await;
    assert_eq!(watched.count(|counts| &counts.lists), 1, "every watch was resumed");
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn another_authority_takes_over_step_by_step_without_a_missed_event() {
    let (mut cluster, api) = mk_cluster(&user("ann")).await;
    let kubeconfig = cluster.user_kubeconfig("ann", &[], Duration::from_secs(3600)).await;
    let before = std::fs::read_to_string(&kubeconfig).unwrap();
    let old = cluster.dir().join("old.kubeconfig");
    std::fs::write(&old, &before).unwrap();
    let watched = watch("authorities", &kubeconfig, &mk_patience(), Duration::from_secs(1)).await;
    let of = &watched.types[0];
    let lists = watched.count(|counts| &counts.lists);

    // Everybody trusts both, and gets a certificate of the new one.
    cluster.command("rotate begin").await;
    cluster.user_kubeconfig("ann", &[], Duration::from_secs(3600)).await;
    assert_ne!(std::fs::read_to_string(&kubeconfig).unwrap(), before);
    let names = put_for(&api, "begun", Duration::from_secs(3)).await;
    until_there(of, &names[names.len() - 1], PATIENCE).await;

    cluster.command("rotate serve").await;
    let served = async {
        // Whoever trusts the old one alone cannot connect any more.
        while Api::new(&old).await.try_send("GET", "/version", &Value::Null).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("the new certificate is shown");
    let api = Api::new(cluster.kubeconfig()).await;
    let names = put_for(&api, "served", Duration::from_secs(3)).await;
    until_there(of, &names[names.len() - 1], PATIENCE).await;

    cluster.command("rotate finish").await;
    cluster.user_kubeconfig("ann", &[], Duration::from_secs(3600)).await;
    let api = Api::new(cluster.kubeconfig()).await;
    let names = put_for(&api, "finished", Duration::from_secs(3)).await;
    until_there(of, &names[names.len() - 1], PATIENCE).await;
    // From nothing, with the new authority alone.
    cluster.restart_apiserver().await;
    let api = Api::new(cluster.kubeconfig()).await;
    put(&api, "restarted").await;
    until_there(of, "restarted", PATIENCE).await;
    until_equal(&api, &watched).await;
    println!("lists: {lists} before, {} in the end", watched.count(|counts| &counts.lists));
    watched.stop().await;
}
