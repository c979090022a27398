//! What readers and subscribers of a store see, without any actor: batches are applied by hand.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::changes::{Change, Changes};
use crate::env::{Clock, Env};
use crate::object::Object;
use crate::port::Port;
use crate::problem::Problems;
use crate::queue::{Delta, DeltaQueue, Phase};
use crate::reflector::scripted::{mk_key, mk_object, mk_type};
use crate::source::{Cursor, SourceEvent};

struct Rig {
    lister: Lister,
    queue: DeltaQueue,
    problems: Problems,
    env: Env,
}

fn mk_rig() -> Rig {
    let (env, problems) = (Env::system(), Problems::default());
    let lister = Lister::new(&"demo".into(), &mk_type(), &env, &problems);
    Rig { lister, queue: DeltaQueue::default(), problems, env }
}

impl Rig {
    fn list(&mut self, objects: &[(&str, u32)]) {
        self.queue.feed(SourceEvent::Init);
        for (name, version) in objects {
            self.queue.feed(SourceEvent::InitApply(mk_object("demo", name, *version)));
        }
        self.queue.feed(SourceEvent::InitDone(Cursor("1".into())));
        self.work();
    }

    fn apply(&mut self, name: &str, version: u32) {
        self.queue.feed(SourceEvent::Apply(mk_object("demo", name, version)));
        self.work();
    }

    fn delete(&mut self, name: &str) {
        self.queue.feed(SourceEvent::Delete(mk_key(name)));
        self.work();
    }

    fn work(&mut self) {
        let delta = self.queue.begin().unwrap();
        self.lister.apply(&delta);
        self.queue.commit();
    }

    fn mk_port(&self) -> Port<ObjectChanges> {
        Port::new("test", &self.env, Changes::default())
    }
}

fn names(objects: &[Arc<Object>]) -> Vec<&str> {
    objects.iter().map(|object| &*object.key().name).collect()
}

fn drain(port: &Port<ObjectChanges>) -> Vec<(String, Change<Arc<Object>>)> {
    let batch = port.receive(|changes| {
        let batch = changes.begin();
        changes.commit();
        batch
    });
    batch.iter().flat_map(|batch| batch.iter()).map(|(key, change)| (key.name.to_string(), change.clone())).collect()
}

#[test]
fn readers_find_objects_by_key_namespace_and_labels_in_the_order_of_keys() {
    let mut rig = mk_rig();
    rig.list(&[("b", 1), ("a", 1), ("c", 1)]);
    let lister = &rig.lister;
    assert_eq!(lister.len(), 3);
    assert_eq!(names(&lister.list()), ["a", "b", "c"]);
    assert_eq!(names(&lister.list_in("n")), ["a", "b", "c"]);
    assert!(lister.list_in("m").is_empty());
    assert!(lister.list_in("n2").is_empty());
    let selector = "app in (a, c)".parse().unwrap();
    assert_eq!(names(&lister.select(&selector)), ["a", "c"]);
    assert_eq!(names(&lister.select_in("n", &selector)), ["a", "c"]);
    assert!(lister.select_in("o", &selector).is_empty());
    assert_eq!(lister.get(&mk_key("a")).unwrap().resource_version(), Some("1"));
    assert!(lister.get(&mk_key("x")).is_none());
}

#[test]
fn an_index_has_several_values_an_object_and_follows_changes() {
    let mut rig = mk_rig();
    rig.list(&[("a", 1), ("b", 2)]);
    let by_version: IndexFn = Arc::new(|object| {
        let version = object.resource_version().unwrap_or_default().to_owned();
        vec![version.clone(), "all".to_owned(), version]
    });
    rig.lister.add_index("version", by_version);
    let find = |rig: &Rig, value| names(&rig.lister.by_index("version", value).unwrap()).join(",");
    assert_eq!((find(&rig, "1"), find(&rig, "all"), find(&rig, "9")), ("a".into(), "a,b".into(), String::new()));
    rig.apply("a", 2);
    assert_eq!((find(&rig, "1"), find(&rig, "2")), (String::new(), "a,b".into()));
    let versions: Vec<_> = rig.lister.by_index("version", "all").unwrap();
    assert_eq!(versions[0].resource_version(), Some("2"), "an index never shows an older version");
    rig.delete("b");
    assert_eq!(find(&rig, "2"), "a");
    assert_eq!(rig.lister.index_values("version").unwrap().iter().map(|v| &**v).collect::<Vec<_>>(), ["2", "all"]);
    let error = rig.lister.by_index("nope", "x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "look up `nope` of things.example.test/v1: there is no such index; register it with `add_index`"
    );
}

#[test]
fn an_index_function_that_panics_harms_that_object_in_that_index_only() {
    let mut rig = mk_rig();
    rig.list(&[("bad", 1), ("good", 1)]);
    let picky: IndexFn = Arc::new(|object| {
        assert!(&*object.key().name != "bad" || object.resource_version() == Some("3"), "secret");
        vec!["x".to_owned()]
    });
    rig.lister.add_index("picky", picky);
    rig.lister.add_index("fine", Arc::new(|_| vec!["x".to_owned()]));
    let find = |rig: &Rig, index| names(&rig.lister.by_index(index, "x").unwrap()).join(",");
    assert_eq!((find(&rig, "picky"), find(&rig, "fine")), ("good".into(), "bad,good".into()));
    assert_eq!(rig.lister.len(), 2);
    let problems = rig.problems.list();
    assert_eq!(problems.len(), 1);
    let text = problems[0].1.to_string();
    assert!(text.starts_with("Thing demo:n/bad: the index function `picky` panicked"), "{text}");
    assert!(!text.contains("secret"));
    rig.apply("bad", 2);
    assert_eq!(rig.problems.list().len(), 1);
    rig.apply("bad", 3);
    assert_eq!(find(&rig, "picky"), "bad,good");
    assert!(rig.problems.list().is_empty());
    rig.apply("bad", 4);
    assert_eq!(find(&rig, "picky"), "good", "what it found before is not shown any more");
    rig.delete("bad");
    assert!(rig.problems.list().is_empty());
}

#[test]
fn a_subscriber_gets_what_is_held_as_initial_and_then_every_change() {
    let mut rig = mk_rig();
    rig.list(&[("a", 1)]);
    let port = rig.mk_port();
    let subscription = rig.lister.subscribe(port.clone());
    let replay = drain(&port);
    assert_eq!(replay.len(), 1);
    assert!(replay[0].1.initial && replay[0].1.old.is_none());
    rig.apply("a", 2);
    rig.apply("a", 3);
    let live = drain(&port);
    let (old, new) = (live[0].1.old.as_ref().unwrap(), live[0].1.new.as_ref().unwrap());
    assert_eq!((live.len(), old.resource_version(), new.resource_version()), (1, Some("1"), Some("3")));
    assert!(!live[0].1.initial);
    drop(subscription);
    rig.apply("a", 4);
    assert!(drain(&port).is_empty());
}

#[test]
fn a_subscription_may_last_for_ever() {
    let mut rig = mk_rig();
    let port = rig.mk_port();
    rig.lister.subscribe(port.clone()).forever();
    rig.list(&[("a", 1)]);
    assert_eq!(drain(&port).len(), 1);
}

#[test]
fn a_batch_that_is_applied_twice_shows_once() {
    let mut rig = mk_rig();
    let port = rig.mk_port();
    let _subscription = rig.lister.subscribe(port.clone());
    rig.queue.feed(SourceEvent::Apply(mk_object("demo", "a", 1)));
    let delta = rig.queue.begin().unwrap();
    rig.lister.apply(&delta);
    rig.lister.apply(&rig.queue.begin().unwrap());
    assert_eq!(drain(&port).len(), 1);
    assert_eq!(rig.lister.len(), 1);
}

/// A wall clock that stands where it is put.
struct Wall(parking_lot::Mutex<u64>);

impl Clock for Wall {
    fn wall(&self) -> Duration {
        Duration::from_secs(*self.0.lock())
    }
}

#[test]
fn the_sync_state_says_since_when_and_how_old() {
    let clock = Arc::new(Wall(parking_lot::Mutex::new(100)));
    let env = Env { clock: clock.clone(), ..Env::system() };
    let lister = Lister::new(&"demo".into(), &mk_type(), &env, &Problems::default());
    assert_eq!((lister.age(), lister.sync_state().is_settled()), (None, false));
    let delta = |phase, complete| Delta { changes: Arc::default(), phase, complete, cursor: None };
    *clock.0.lock() = 110;
    lister.touch();
    lister.apply(&delta(Phase::Synced, true));
    *clock.0.lock() = 130;
    lister.apply(&delta(Phase::Synced, true));
    let expected = SyncState {
        phase: Phase::Synced,
        complete: true,
        since: Duration::from_secs(110),
        last_event: Some(Duration::from_secs(110)),
    };
    assert_eq!(lister.sync_state(), expected);
    assert_eq!(lister.age(), Some(Duration::from_secs(20)));
    lister.apply(&delta(Phase::Degraded("away".into()), true));
    let state = lister.sync_state();
    assert_eq!((state.reason(), state.since), (Some("away"), Duration::from_secs(130)));
    assert_eq!(serde_json::to_string(&state.phase).unwrap(), r#"{"phase":"degraded","reason":"away"}"#);
}

#[test]
fn a_state_is_told_only_after_it_can_be_read() {
    let mut rig = mk_rig();
    let port = rig.mk_port();
    let lister = rig.lister.clone();
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = seen.clone();
    port.connect(Arc::new(move || log.lock().push((lister.len(), lister.sync_state().complete))));
    let _subscription = rig.lister.subscribe(port);
    rig.list(&[("a", 1), ("b", 1)]);
    assert_eq!(*seen.lock(), [(2, false)], "the objects are there, and synced is said afterwards");
    assert!(rig.lister.sync_state().complete);
}
