//! The factory with a real supervisor and a source in memory, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::changes::Changes;
use crate::env::{Env, Fault, Faults};
use crate::id::{ResourceType, Scope};
use crate::port::Port;
use crate::problem::Problems;
use crate::queue::Phase;
use crate::reflector::scripted::{ScriptedSource, Trouble, mk_key, mk_object, mk_type, retry};
use crate::source::{Cursor, Source as _, SourceError};
use crate::store::ObjectChanges;
use crate::supervisor::{State, Strategy, Supervisor, TreeStatus};

struct Rig {
    source: Arc<ScriptedSource>,
    supervisor: Supervisor,
    factory: InformerFactory,
    env: Env,
}

async fn mk_rig_in(env: Env) -> Rig {
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env.clone(), supervisor.clone(), Problems::default());
    let source = ScriptedSource::new();
    factory.add_source(source.clone()).unwrap();
    Rig { source, supervisor, factory, env }
}

async fn mk_rig() -> Rig {
    mk_rig_in(Env::system()).await
}

const LONG: Duration = Duration::from_secs(60);

impl Rig {
    async fn register(&self) -> Informer {
        self.factory.register("demo", mk_type(), RegisterOptions::default()).await.unwrap()
    }

    fn mk_port(&self) -> Port<ObjectChanges> {
        Port::new("test", &self.env, Changes::default())
    }

    fn paths(&self) -> Vec<String> {
        fn walk(node: &TreeStatus, paths: &mut Vec<String>) {
            if node.children.is_empty() && !node.path.is_empty() {
                paths.push(node.path.clone());
            }
            node.children.iter().for_each(|child| walk(child, paths));
        }
        let mut paths = Vec::new();
        walk(&self.supervisor.tree(), &mut paths);
        paths
    }
}

fn names(informer: &Informer) -> Vec<String> {
    informer.lister().list().iter().map(|object| object.key().name.to_string()).collect()
}

/// Waits, so that all that is under way happens.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// What waits in a port: `+name`, `~name`, `-name`, with `i` for initial.
fn drain(port: &Port<ObjectChanges>) -> Vec<String> {
    let batch = port.receive(|changes| {
        let batch = changes.begin();
        changes.commit();
        batch
    });
    let show = |old: bool, new: bool| {
        if !old {
            "+"
        } else if new {
            "~"
        } else {
            "-"
        }
    };
    let each = batch.iter().flat_map(|batch| batch.iter()).map(|(key, change)| {
        let i = if change.initial { " i" } else { "" };
        format!("{}{}{i}", show(change.old.is_some(), change.new.is_some()), key.name)
    });
    each.collect()
}

#[tokio::test(start_paused = true)]
async fn types_registered_before_the_start_sync_after_it() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    let informer = rig.register().await;
    settle().await;
    assert!(rig.source.opened().is_empty(), "nothing is opened before the start");
    let error = rig.factory.wait_for_sync(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "wait for the first lists: not complete: things.example.test/v1 of `demo` (no list yet)"
    );
    rig.factory.start().await.unwrap();
    rig.factory.wait_for_sync(LONG).await.unwrap();
    assert_eq!(names(&informer), ["a"]);
    assert_eq!(rig.paths(), ["stores/demo/things.example.test", "sources/demo/things.example.test"]);
}

#[tokio::test(start_paused = true)]
async fn types_come_and_go_while_it_runs_and_the_table_tells() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    let mut table = rig.factory.on_change();
    rig.source.apply("a", 1);
    let informer = rig.register().await;
    assert!(table.has_changed().unwrap());
    table.mark_unchanged();
    informer.lister().settled().await;
    let port = rig.mk_port();
    let _subscription = informer.subscribe(port.clone());
    assert_eq!(drain(&port), ["+a i"]);
    assert_eq!(rig.factory.slots()[0].objects, 1);

    rig.factory.unregister("demo", &mk_type()).await.unwrap();
    assert!(table.has_changed().unwrap());
    assert_eq!(drain(&port), ["-a"], "subscribers are told that the objects are gone");
    assert!(informer.lister().is_empty());
    assert!(rig.factory.lister("demo", &mk_type()).is_none());
    assert!(rig.factory.slots().is_empty());
    assert_eq!(rig.paths(), ["stores/demo", "sources/demo"]);
    assert!(rig.factory.unregister("demo", &mk_type()).await.is_err());

    let again = rig.register().await;
    again.lister().settled().await;
    assert_eq!(names(&again), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn registering_twice_gives_the_same_slot_and_refuses_a_second_version() {
    let rig = mk_rig().await;
    let first = rig.register().await;
    let by_name: crate::store::IndexFn = Arc::new(|object| vec![object.key().name.to_string()]);
    let options = RegisterOptions { indexes: vec![("name".into(), by_name)], ..RegisterOptions::default() };
    rig.factory.register("demo", mk_type(), options).await.unwrap();
    assert!(first.lister().has_index("name"));
    assert_eq!(rig.factory.slots().len(), 1);
    let other = ResourceType::new("example.test", "v2", "Thing", "things", Scope::Namespaced);
    let error = rig.factory.register("demo", other, RegisterOptions::default()).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "register things.example.test/v2 of `demo`: it is registered as things.example.test/v1; unregister that version first"
    );
    let error = rig.factory.register("nowhere", mk_type(), RegisterOptions::default()).await.err().unwrap();
    assert_eq!(error.to_string(), "register things.example.test/v1: there is no source `nowhere`; there are: `demo`");
    assert!(rig.factory.add_source(ScriptedSource::new()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_harms_no_reader_and_is_resumed() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    rig.source.apply("a", 1);
    let informer = rig.register().await;
    informer.lister().settled().await;
    rig.source.trouble(Trouble::Panic);
    rig.source.cut(retry("gone"));
    settle().await;
    rig.source.apply("b", 1);
    settle().await;
    assert_eq!(names(&informer), ["a", "b"]);
    assert_eq!(rig.source.opened(), ["-", "1", "1"]);
    assert!(
        rig.supervisor.tree().children.iter().any(|child| child.name == "sources" && child.state == State::Running)
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_killed_loses_no_update() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    let informer = rig.register().await;
    let port = rig.mk_port();
    let _subscription = informer.subscribe(port.clone());
    rig.source.apply("a", 1);
    settle().await;
    rig.supervisor.get("stores/demo/things.example.test").unwrap().kill();
    rig.source.apply("a", 2);
    rig.source.apply("b", 1);
    settle().await;
    assert_eq!(names(&informer), ["a", "b"]);
    assert_eq!(drain(&port), ["+a", "+b"]);
}

/// Makes the store panic on its first batches.
struct PanickingStore(std::sync::atomic::AtomicU32);

impl Faults for PanickingStore {
    fn at(&self, place: &str) -> Fault {
        let hit = place == "port/store/demo/things.example.test/receive"
            && self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3;
        if hit { Fault::Panic("injected".into()) } else { Fault::None }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_before_and_after_it_applies_a_batch_loses_nothing_and_repeats_nothing_visible() {
    let plan = Arc::new(PanickingStore(0.into()));
    let rig = mk_rig_in(Env { faults: Some(plan), ..Env::system() }).await;
    rig.factory.start().await.unwrap();
    rig.source.apply("a", 1);
    let informer = rig.register().await;
    let port = rig.mk_port();
    let _subscription = informer.subscribe(port.clone());
    settle().await;
    assert_eq!(names(&informer), ["a"]);
    assert_eq!(drain(&port), ["+a i"]);
    assert!(informer.lister().sync_state().complete);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_absent_counts_as_settled_and_comes_later() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    rig.source.trouble(Trouble::Fail(SourceError::Absent { reason: "no CRD".into() }));
    let informer = rig.register().await;
    rig.factory.wait_for_sync(Duration::from_secs(1)).await.unwrap();
    assert_eq!(informer.status().sync.phase, Phase::Absent("no CRD".into()));
    assert!(!informer.status().sync.complete);
    rig.source.apply("a", 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(names(&informer), ["a"]);
}

const OPTIONAL: fn() -> RegisterOptions = || RegisterOptions { optional: true, ..RegisterOptions::default() };

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_optional_type_and_asking_for_it_makes_it_stay() {
    let rig = mk_rig().await;
    let informer = rig.factory.register("demo", mk_type(), OPTIONAL()).await.unwrap();
    assert!(informer.is_optional());
    rig.factory.wait_for_sync(LONG).await.unwrap();
    assert!(!informer.status().sync.is_settled(), "its reflector is not started");
    assert!(!rig.register().await.is_optional());
    assert!(rig.factory.wait_for_sync(LONG).await.is_err());
    let again = rig.factory.register("demo", mk_type(), OPTIONAL()).await.unwrap();
    assert!(!again.is_optional(), "who asked for it is not forgotten");
    assert!(!rig.factory.unregister_optional("demo", &mk_type()).await);
    assert!(rig.factory.get("demo", &mk_type()).is_some());
    rig.factory.unregister("demo", &mk_type()).await.unwrap();
    rig.factory.register("demo", mk_type(), OPTIONAL()).await.unwrap();
    assert!(rig.factory.unregister_optional("demo", &mk_type()).await);
    assert!(rig.factory.get("demo", &mk_type()).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_optional_type_gives_way_to_the_version_that_somebody_asks_for_and_not_the_other_way_round() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    rig.source.apply("a", 1);
    let found = ResourceType::new("example.test", "v1beta1", "Thing", "things", Scope::Namespaced);
    let informer = rig.factory.register("demo", found.clone(), OPTIONAL()).await.unwrap();
    informer.lister().settled().await;
    let asked = rig.register().await;
    asked.lister().settled().await;
    assert_eq!((names(&informer).len(), names(&asked)), (0, vec!["a".to_owned()]));
    let refused = rig.factory.register("demo", found, OPTIONAL()).await.err().unwrap();
    assert!(matches!(refused, InformerError::OtherVersion { .. }), "{refused}");
    assert_eq!(names(&asked), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_serves_at_once_and_is_resumed_without_a_list() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    rig.source.apply("b", 1);
    let cursor = Some(Cursor("1".into()));
    let snapshot = Snapshot { objects: vec![mk_object("demo", "a", 1)], cursor, complete: true, ..Snapshot::default() };
    let options = RegisterOptions { restore: Some(snapshot), ..RegisterOptions::default() };
    let informer = rig.factory.register("demo", mk_type(), options).await.unwrap();
    rig.factory.wait_for_sync(LONG).await.unwrap();
    assert_eq!(names(&informer), ["a"]);
    assert!(matches!(informer.status().sync.phase, Phase::Degraded(_)));
    rig.factory.start().await.unwrap();
    settle().await;
    assert_eq!(names(&informer), ["a", "b"]);
    assert_eq!(informer.status().sync.phase, Phase::Synced);
    assert_eq!(rig.source.opened(), ["1"]);
    let snapshot = informer.snapshot();
    assert_eq!((snapshot.objects.len(), snapshot.cursor), (2, Some(Cursor("2".into()))));
    rig.source.delete("nobody");
    settle().await;
    let snapshot = informer.snapshot();
    assert_eq!(snapshot.cursor, Some(Cursor("3".into())), "a bookmark alone moves it on");
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_the_actors_and_leaves_the_last_state_readable() {
    let rig = mk_rig().await;
    rig.factory.start().await.unwrap();
    rig.source.apply("a", 1);
    let informer = rig.register().await;
    informer.lister().settled().await;
    rig.factory.shutdown().await;
    rig.source.apply("b", 1);
    settle().await;
    assert_eq!(names(&informer), ["a"]);
    assert_eq!(informer.lister().get(&mk_key("a")).unwrap().key().source, *rig.source.name());
    rig.supervisor.shutdown(LONG).await;
    let error = rig.factory.register("demo", mk_type(), RegisterOptions::default()).await;
    assert!(error.is_ok(), "it is registered already");
    rig.factory.unregister("demo", &mk_type()).await.unwrap();
    let error = rig.factory.register("demo", mk_type(), RegisterOptions::default()).await.err().unwrap();
    assert!(matches!(error, InformerError::Supervise { .. }), "{error}");
    assert!(rig.factory.slots().is_empty());
}

/// Makes the store panic after it applied its first batch, before it committed it.
struct PanicsAfterApply(std::sync::atomic::AtomicU32);

impl Faults for PanicsAfterApply {
    fn at(&self, place: &str) -> Fault {
        let hit = place == "port/store/demo/things.example.test/receive"
            && self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        if hit { Fault::Panic("injected".into()) } else { Fault::None }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_has_seen_a_batch_is_not_told_again_when_the_store_applies_it_a_second_time() {
    let rig = mk_rig_in(Env { faults: Some(Arc::new(PanicsAfterApply(0.into()))), ..Env::system() }).await;
    let informer = rig.register().await;
    let port = rig.mk_port();
    let _subscription = informer.subscribe(port.clone());
    rig.source.apply("a", 1);
    rig.factory.start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(drain(&port), ["+a i"], "the store has applied it, and is down");
    settle().await;
    assert!(drain(&port).is_empty(), "it has applied it again");
    assert_eq!(names(&informer), ["a"]);
    rig.source.delete("a");
    settle().await;
    assert_eq!(drain(&port), ["-a"]);
}
