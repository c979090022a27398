//! An API server that is silent, stale, or in another time: what is held never gets worse by it, and follows again as
//! soon as that is possible.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::source::kubernetes::Options;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::queue::Phase;
use tokio::time::Instant;

use crate::api::{Api, PATIENCE, until};
use crate::cluster::{APISERVER, Cluster, ClusterOptions, SECOND_APISERVER};
use crate::history::{Time, Told};
use crate::proxy::{Network, Proxy};
use crate::watched::{Type, Watched, mk_options, mk_patience};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn maps() -> ResourceType {
    ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced)
}

fn address(url: &str) -> SocketAddr {
    url.rsplit_once('/').unwrap().1.parse().unwrap()
}

async fn put(api: &Api, name: &str, value: &str) {
    let object = json!({"metadata": {"name": name, "labels": {"of": "test"}}, "data": {"value": value}});
    if api.send("POST", MAPS, &object).await.0 == 409 {
        api.must("PATCH", &format!("{MAPS}/{name}"), &json!({"data": {"value": value}})).await;
    }
}

async fn remove(api: &Api, name: &str) {
    api.must("DELETE", &format!("{MAPS}/{name}"), &Value::Null).await;
}

/// Where the API server is.
async fn version(api: &Api) -> u64 {
    let list = api.must("GET", &format!("{MAPS}?limit=1"), &Value::Null).await;
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// A cluster, a front before its API server, and a source behind that.
struct Rig {
    cluster: Cluster,
    api: Api,
    front: Proxy,
    watched: Watched,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new(name: &str, options: ClusterOptions) -> Self {
        Self::with(name, options, |_| ()).await
    }

    async fn with(name: &str, options: ClusterOptions, change: impl FnOnce(&mut Options)) -> Self {
        let cluster = Cluster::start_with(ClusterOptions { without_crds: true, ..options }).await;
        let api = Api::new(cluster.kubeconfig()).await;
        let front = Proxy::start(address(&cluster.state().server)).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        std::fs::write(&kubeconfig, text.replace(&cluster.state().server, &format!("https://{}", front.address)))
            .unwrap();
        put(&api, "a", "1").await;
        put(&api, "b", "1").await;
        let mut options = mk_options(name, &kubeconfig);
        options.types.entry("configmaps".to_owned()).or_default().labels = Some("of=test".to_owned());
        change(&mut options);
        let watched = Watched::start(options, &mk_patience(), &[maps()]).await;
        watched.synced(PATIENCE).await.unwrap();
        Self { cluster, api, front, watched, _folder: folder }
    }

    fn maps(&self) -> &Type {
        &self.watched.types[0]
    }

    /// The value in what is held of a name.
    fn held(&self, name: &str) -> Option<String> {
        let held = self.maps().held().remove(&format!("default/{name}"))?;
        held["data"]["value"].as_str().map(str::to_owned)
    }

    async fn until_held(&self, name: &str, value: Option<&str>, limit: Duration) {
        let holds = || match self.held(name) {
            held if held.as_deref() == value => Ok(()),
            held => Err(format!("{held:?}; {:?}", self.maps().informer.status())),
        };
        until(&format!("{name} is {value:?}"), limit, holds).await.unwrap();
    }

    async fn until_equal(&self, time: Time) {
        let items = self.api.list(&format!("{MAPS}?labelSelector=of%3Dtest")).await;
        self.maps().until_equal(items, PATIENCE, time).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn an_api_server_that_stands_still_is_left_for_one_that_answers() {
    let mut rig = Rig::new("stopped", ClusterOptions::default()).await;
    rig.cluster.start_part(SECOND_APISERVER, &[]).await;
    let second = Api::new(rig.cluster.state().parts[SECOND_APISERVER].kubeconfig.as_ref().unwrap()).await;
    put(&rig.api, "a", "2").await;
    rig.until_held("a", Some("2"), PATIENCE).await;

    // Its connections stay open, and it takes new ones: only the answers are missing.
    rig.cluster.pause(APISERVER).await;
    put(&second, "a", "3").await;
    remove(&second, "b").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((rig.held("a").as_deref(), rig.held("b").as_deref()), (Some("2"), Some("1")), "the last state serves");
    let left = Instant::now();
    rig.front.lead_to(address(rig.cluster.state().parts[SECOND_APISERVER].url.as_ref().unwrap()));
    rig.until_held("a", Some("3"), PATIENCE).await;
    rig.until_held("b", None, PATIENCE).await;
    println!("a standing API server was left after {:.1?}", left.elapsed());
    // A second to ask, a second to wait for the answer, and what a slow machine adds.
    assert!(left.elapsed() < Duration::from_secs(15), "{:?}", left.elapsed());

    rig.cluster.resume(APISERVER).await;
    put(&rig.api, "c", "1").await;
    rig.until_held("c", Some("1"), PATIENCE).await;
    rig.until_equal(Time::Forward).await;
    rig.watched.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn an_api_server_that_has_lost_its_etcd_shows_the_past_and_nobody_goes_back_to_it() {
    let mut rig = Rig::new("stale", ClusterOptions::default()).await;
    // What it knows it knows through a network of its own.
    let etcd = Proxy::start(address(&rig.cluster.state().etcd)).await;
    rig.cluster.start_part(SECOND_APISERVER, &[&format!("--etcd-servers=http://{}", etcd.address)]).await;
    let stale = Api::new(rig.cluster.state().parts[SECOND_APISERVER].kubeconfig.as_ref().unwrap()).await;
    let fresh = async {
        // Its cache has the type once it has served it from there.
        while stale.list(&format!("{MAPS}?resourceVersion=0&labelSelector=of%3Dtest")).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fresh).await.expect("the second API server serves");
    etcd.set(Network::Freeze);

    put(&rig.api, "a", "2").await;
    remove(&rig.api, "b").await;
    put(&rig.api, "c", "1").await;
    rig.until_held("c", Some("1"), PATIENCE).await;
    let past = stale.list(&format!("{MAPS}?resourceVersion=0&labelSelector=of%3Dtest")).await;
    let names: Vec<&Value> = past.iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "b"], "it is stale");
    let told = rig.maps().observer.told().len();

    // From now on the source has nobody else to ask.
    rig.front.lead_to(address(rig.cluster.state().parts[SECOND_APISERVER].url.as_ref().unwrap()));
    rig.front.cut();
    let asked = rig.front.accepted();
    let reached = || if rig.front.accepted() > asked { Ok(()) } else { Err("nobody asks".to_owned()) };
    until("the stale one is asked", PATIENCE, reached).await.unwrap();
    // Long enough for a watch, its probe, and a list that gets no answer.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.maps().names(), ["a", "c"], "the past is not taken for the present");
    assert_eq!(rig.held("a").as_deref(), Some("2"));
    assert_eq!(rig.maps().observer.told().len(), told, "nobody is told anything");

    etcd.set(Network::Pass);
    put(&rig.api, "a", "3").await;
    rig.until_held("a", Some("3"), PATIENCE).await;
    rig.until_equal(Time::Forward).await;
    rig.watched.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster program: run by cargo xtask test"]
async fn a_restored_backup_is_a_new_truth_and_what_was_made_since_is_gone() {
    // Without a watch cache an API server that goes on running says itself that it went back, though not to watches
    // that are open: those are silent until their end.
    // One that writes until it is past what it had been at says nothing at all, and is known by what it has.
    for (underneath, overtakes) in [(false, false), (true, false), (false, true)] {
        let flags = if underneath { vec!["--watch-cache=false".to_owned()] } else { Vec::new() };
        let options = ClusterOptions { apiserver_flags: flags, ..ClusterOptions::default() };
        let name = if underneath { "underneath" } else { "restored" };
        let name = if overtakes { "overtaking" } else { name };
        let mut rig = Rig::with(name, options, |options| options.watch_timeout = Duration::from_secs(2)).await;
        let snapshot = rig.cluster.dir().join("snapshot.db");
        rig.cluster.save_snapshot(&snapshot).await;
        put(&rig.api, "a", "2").await;
        remove(&rig.api, "b").await;
        put(&rig.api, "c", "1").await;
        rig.until_held("c", Some("1"), PATIENCE).await;
        rig.until_held("b", None, PATIENCE).await;

        let before = version(&rig.api).await;
        if overtakes {
            rig.front.set(Network::Refuse);
        }
        if underneath {
            rig.cluster.restore_snapshot_underneath(&snapshot).await;
        } else {
            rig.cluster.restore_snapshot(&snapshot).await;
        }
        while overtakes && version(&rig.api).await <= before {
            put(&rig.api, "of-the-new-history", "1").await;
            remove(&rig.api, "of-the-new-history").await;
        }
        rig.front.set(Network::Pass);

        let restored = Instant::now();
        rig.until_held("a", Some("1"), PATIENCE).await;
        rig.until_held("b", Some("1"), PATIENCE).await;
        rig.until_held("c", None, PATIENCE).await;
        println!("what was restored is held after {:.1?}", restored.elapsed());
        let deleted = |told: &[Told]| matches!(told.last(), Some(Told::Delete(_, true)));
        rig.maps().until_told("default/c", PATIENCE, deleted).await.unwrap();
        assert!(rig.watched.count(|counts| &counts.relists) > 0);
        // Its versions begin again below those that were seen, and are followed all the same.
        put(&rig.api, "d", "1").await;
        rig.until_held("d", Some("1"), PATIENCE).await;
        rig.until_equal(Time::MayGoBack).await;
        assert_eq!(rig.maps().phase(), Phase::Synced);
        rig.watched.stop().await;
    }
}
