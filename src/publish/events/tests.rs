//! The teller on a factory with a source in memory and a sink that remembers, in virtual time.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_actors::id::ObjectKey;
use tidegate_actors::informer::RegisterOptions;
use tidegate_actors::problem::{Problem, Serving};
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing::{self, MemorySource};
use tidegate_actors::watch;

use super::*;
use crate::correlate::status::{Condition, ParentStatus, RouteStatus, Status, Truth};
use crate::publish::rejections::Part;
use crate::resource::http_route::ParentRef;
use crate::resource::types;
use crate::source::sink::{Notice, SinkError};

/// Where people look.
struct Wall {
    leading: watch::Sender<bool>,
    /// Answers to the next words, before any is taken; the last comes first.
    answers: Mutex<Vec<SinkError>>,
    /// What was asked to be said, also if it was refused.
    asked: Mutex<Vec<String>>,
    said: Mutex<Vec<(Notice, u32)>>,
}

#[async_trait]
impl EventSink for Wall {
    fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    async fn say(&self, notice: &Notice, before: u32) -> Result<u32, SinkError> {
        self.asked.lock().push(notice.object.key.name.to_string());
        if let Some(answer) = self.answers.lock().pop() {
            return Err(answer);
        }
        self.said.lock().push((notice.clone(), before));
        Ok(before + 1)
    }
}

struct Rig {
    wall: Arc<Wall>,
    source: MemorySource,
    teller: Teller,
    problems: Problems,
    supervisor: Supervisor,
}

async fn mk_rig_with(rate: WriteRate) -> Rig {
    let (env, _) = testing::env(1);
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let problems = Problems::default();
    let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
    let source = MemorySource::new("east");
    factory.add_source(Arc::new(source.clone())).unwrap();
    for of in [types::http_route(), types::gateway()] {
        source.add_type(&of);
        factory.register("east", of, RegisterOptions::default()).await.unwrap();
    }
    factory.start().await.unwrap();
    let teller = Teller::new(&env, &problems, &factory, || "tidegate.dev/gateway-controller".into());
    let (answers, asked, said) = (Mutex::default(), Mutex::default(), Mutex::default());
    let wall = Arc::new(Wall { leading: watch::Sender::new(true), answers, asked, said });
    supervisor.add(teller.follow()).await.unwrap();
    supervisor.add(teller.spec(&"east".into(), wall.clone(), rate)).await.unwrap();
    Rig { wall, source, teller, problems, supervisor }
}

async fn mk_rig() -> Rig {
    mk_rig_with(WriteRate { per_second: 100.0, burst: 100 }).await
}

impl Rig {
    /// A route is there.
    fn put(&self, name: &str) {
        self.source.apply(&types::http_route(), Some("n"), name, r#""spec":{}"#);
    }

    /// Routes have conditions: a message if a backend is not there.
    fn tell(&self, full: bool, routes: &[(&str, Option<&str>)]) {
        let told: Vec<_> = routes.iter().map(|(name, missing)| (route(name), mk_status(name, *missing))).collect();
        self.teller.told(full, told.iter().map(|(object, status)| (object, Some(status))));
    }

    /// What was said since the last time: grade, object, reason and how often before.
    fn take(&self) -> Vec<String> {
        let said = std::mem::take(&mut *self.wall.said.lock());
        let spell = |(notice, before): (Notice, u32)| {
            let Notice { object, grade, reason, note, .. } = notice;
            format!("{grade:?} {} {reason} {before}: {note}", object.key.name)
        };
        said.into_iter().map(spell).collect()
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.wall.asked.lock()).len()
    }
}

fn route(name: &str) -> ObjectRef {
    ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced("east", "n", name) }
}

fn mk_status(name: &str, missing: Option<&str>) -> ObjectStatus {
    let resolved = match missing {
        Some(message) => Condition::new("ResolvedRefs", Truth::False, "BackendNotFound", message, 1),
        None => Condition::new("ResolvedRefs", Truth::True, "ResolvedRefs", "", 1),
    };
    let parent = |gateway: &str| ParentStatus {
        parent_ref: ParentRef {
            group: "gateway.networking.k8s.io".into(),
            kind: "Gateway".into(),
            namespace: None,
            name: gateway.into(),
            section_name: None,
            port: None,
        },
        controller_name: "tidegate.dev/gateway-controller".into(),
        conditions: vec![resolved.clone()],
    };
    let parents = vec![parent("one"), parent("two")];
    ObjectStatus { object: route(name), status: Status::Route(RouteStatus { parents }) }
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_reference_is_said_once_and_so_is_that_it_is_mended() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.put("good");
    rig.tell(true, &[("a", Some("no Service x")), ("good", None)]);
    settle().await;
    let notice = rig.wall.said.lock()[0].0.clone();
    assert_eq!((notice.action, &*notice.reporter), ("ResolveRefs", "tidegate.dev/gateway-controller"));
    assert!(notice.uid.is_some() && notice.resource_version.is_some(), "{notice:?}");
    assert_eq!(rig.take(), ["Warning a BackendNotFound 0: no Service x"]);
    rig.tell(false, &[("a", Some("no Service x"))]);
    rig.tell(true, &[("a", Some("no Service x")), ("good", None)]);
    rig.put("a");
    settle().await;
    assert!(rig.take().is_empty(), "it is the same state of it still");
    rig.tell(false, &[("a", Some("no Service y"))]);
    settle().await;
    assert_eq!(rig.take(), ["Warning a BackendNotFound 0: no Service y"]);
    rig.tell(false, &[("a", None)]);
    settle().await;
    assert_eq!(rig.take(), ["Normal a ResolvedRefs 0: its references resolve again"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_comes_again_is_counted_and_never_faster_than_its_pace() {
    let rig = mk_rig().await;
    rig.put("a");
    for round in 0..3 {
        rig.tell(false, &[("a", Some("gone"))]);
        settle().await;
        rig.tell(false, &[("a", None)]);
        settle().await;
        let said = rig.take();
        assert!(said[0].starts_with(&format!("Warning a BackendNotFound {round}:")), "{said:?}");
        assert!(said[1].starts_with(&format!("Normal a ResolvedRefs {round}:")), "{said:?}");
    }
    // It goes on so for ten minutes.
    for _ in 0..100 {
        rig.tell(false, &[("a", Some("gone"))]);
        settle().await;
        rig.tell(false, &[("a", None)]);
        settle().await;
    }
    let said = rig.take().len();
    assert!((8..=16).contains(&said), "{said} in ten minutes, with one a minute and what was left of ten");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_before_it_has_stood_a_moment_is_not_said() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.tell(true, &[("a", Some("gone"))]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.tell(true, &[("a", None)]);
    settle().await;
    assert_eq!((rig.take(), rig.asked()), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_storm_keeps_the_rate_and_what_is_over_meanwhile_is_not_said() {
    let rig = mk_rig_with(WriteRate { per_second: 10.0, burst: 20 }).await;
    let names: Vec<String> = (0..1000).map(|at| format!("r{at:04}")).collect();
    names.iter().for_each(|name| rig.put(name));
    settle().await;
    let bad: Vec<_> = names.iter().map(|name| (&**name, Some("gone"))).collect();
    rig.tell(true, &bad);
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let said = rig.asked();
    assert!((110..=125).contains(&said), "a burst of 20, then 10 a second: {said}");
    // All but twenty are mended; those that were said so are said to be.
    let rest: Vec<_> = names.iter().enumerate().map(|(at, name)| (&**name, (at < 20).then_some("gone"))).collect();
    rig.tell(true, &rest);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let said = rig.asked();
    assert!((90..=130).contains(&said), "about as many are healed as were said to be bad: {said}");
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_speaks_and_a_new_one_says_what_stands() {
    let rig = mk_rig().await;
    rig.wall.leading.send_replace(false);
    rig.put("a");
    rig.tell(true, &[("a", Some("gone"))]);
    settle().await;
    assert_eq!(rig.asked(), 0);
    rig.wall.leading.send_replace(true);
    settle().await;
    assert_eq!(rig.take(), ["Warning a BackendNotFound 0: gone"]);
    rig.wall.leading.send_replace(false);
    rig.tell(true, &[("a", None)]);
    settle().await;
    assert!(rig.take().is_empty());
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_is_named_once_and_asked_for_again_now_and_then() {
    let rig = mk_rig().await;
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| rig.put(name));
    let denied = |of: &str| SinkError::NotPermitted { reason: format!("missing RBAC rule: create events of {of}") };
    *rig.wall.answers.lock() = vec![denied("b"), denied("a")];
    rig.tell(true, &names.map(|name| (name, Some("gone"))));
    settle().await;
    let problems = rig.problems.list();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].1.reason.contains("missing RBAC rule: create events of a"), "{problems:?}");
    assert_eq!(rig.asked(), 1, "whoever may not say one thing may say no other");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!((rig.asked(), rig.problems.list()), (1, problems), "asked again, and refused");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(rig.take().len(), 2, "what was refused last stands back");
    assert!(rig.problems.list().is_empty());
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.take().len(), 1);
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_is_tried_a_few_times_and_let_go() {
    let rig = mk_rig().await;
    rig.put("a");
    let failed = SinkError::Failed { reason: "500".into() };
    *rig.wall.answers.lock() = vec![failed; 5];
    rig.tell(true, &[("a", Some("gone"))]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((rig.asked(), rig.take()), (5, Vec::new()));
    rig.tell(true, &[("a", Some("still gone"))]);
    settle().await;
    assert_eq!(rig.take(), ["Warning a BackendNotFound 0: still gone"], "another state is another word");
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_busy_registry_is_left_alone_for_as_long_as_it_asks() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.put("b");
    *rig.wall.answers.lock() = vec![SinkError::Busy { reason: "429".into(), after: Some(Duration::from_secs(20)) }];
    rig.tell(true, &[("a", Some("gone")), ("b", Some("gone"))]);
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!((rig.asked(), rig.take().len()), (1, 0));
    settle().await;
    assert_eq!(rig.take().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_not_spoken_of() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.tell(true, &[("a", Some("gone")), ("never-there", Some("gone"))]);
    settle().await;
    assert_eq!(rig.take().len(), 1);
    rig.source.delete(&types::http_route(), Some("n"), "a");
    rig.tell(true, &[]);
    settle().await;
    assert!(rig.take().is_empty(), "that it is gone mends nothing");
}

#[tokio::test(start_paused = true)]
async fn an_object_created_anew_has_its_own() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.tell(true, &[("a", Some("gone"))]);
    settle().await;
    let first = rig.wall.said.lock()[0].0.uid.clone();
    rig.source.delete(&types::http_route(), Some("n"), "a");
    rig.tell(false, &[("a", None)]);
    rig.put("a");
    rig.tell(false, &[("a", Some("gone"))]);
    settle().await;
    let said = rig.wall.said.lock().clone();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_ne!(said[1].0.uid, first);
    assert_eq!(said[1].1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_rejects_an_object_is_one_event_and_its_end_another() {
    let rig = mk_rig().await;
    rig.put("a");
    let rejection = |proxy: &str| Rejection {
        proxy: proxy.into(),
        what: "virtual host h".into(),
        reason: "bad regex".into(),
        serving: Serving::LastGood,
        suspects: 1,
        part: Part::Whole,
    };
    for count in 1..20 {
        let all = (0..count).map(|at| rejection(&format!("envoy-{at}"))).collect();
        rig.teller.rejected(&BTreeMap::from([(route("a"), all)]));
        settle().await;
    }
    let said = rig.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("Warning a RejectedByProxy 0: a proxy rejects the virtual host h: bad regex"));
    rig.teller.rejected(&BTreeMap::new());
    settle().await;
    assert_eq!(rig.take(), ["Normal a Programmed 0: no proxy rejects it any more"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_translated_is_said_and_of_a_secret_only_that() {
    let rig = mk_rig().await;
    rig.put("a");
    let secret = ObjectRef { resource_type: types::secret(), key: ObjectKey::namespaced("east", "n", "s") };
    let mk_problem = |object: &ObjectRef, field: &str, reason: &str| Problem {
        place: String::new(),
        object: Some(object.clone()),
        field: field.to_owned(),
        reason: reason.to_owned(),
        serving: Serving::LastGood,
    };
    let others = ["xds/check", "status/east", "events/east", "handler/x"];
    others.iter().for_each(|scope| _ = rig.problems.set(scope, "1", mk_problem(&route("a"), "", "elsewhere")));
    rig.problems.set("view/HTTPRoute", "a", mk_problem(&route("a"), "spec.rules", "must be a list"));
    rig.problems.set("correlation/secrets", "s", mk_problem(&secret, "", "panicked: KEYBYTES"));
    settle().await;
    let expected = "Warning a Unreadable 0: it cannot be read: spec.rules: must be a list; its last good version stays \
                    in force";
    assert_eq!(rig.take(), [expected]);
    rig.problems.set("correlation/routes", "a", mk_problem(&route("a"), "", "panicked: index out of bounds"));
    settle().await;
    let said = rig.take();
    assert!(said[0].starts_with("Warning a TranslationFailed 0: it cannot be translated: panicked: index"), "{said:?}");
    let found = said::of_problems(rig.problems.list());
    let of_secret = &found[&(secret, Action::Translate)];
    assert_eq!(of_secret.note, "it cannot be translated; its last good version stays in force");
    rig.problems.clear("view/HTTPRoute", "a");
    settle().await;
    assert_eq!(rig.take(), ["Normal a Readable 0: it can be read again"]);
}

/// Another shard has this Gateway in its own problems, too, and says it.
#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_another_shards_gateway_or_before_it_is_known_whose_it_is() {
    let rig = mk_rig().await;
    let gateway =
        |name: &str| ObjectRef { resource_type: types::gateway(), key: ObjectKey::namespaced("east", "n", name) };
    for name in ["ours", "theirs"] {
        rig.source.apply(&types::gateway(), Some("n"), name, r#""spec":7"#);
        let (object, reason) = (Some(gateway(name)), "must be an object".to_owned());
        let problem = Problem { place: String::new(), object, field: "spec".into(), reason, serving: Serving::Nothing };
        rig.problems.set("view/Gateway", name, problem);
    }
    settle().await;
    assert!(rig.take().is_empty(), "nobody knows yet whose they are");
    let tell = |full, answers: &[(&str, Option<Answers>)]| {
        let answers: Vec<_> = answers.iter().map(|(name, answers)| (gateway(name).key, *answers)).collect();
        rig.teller.answers(full, answers.iter().map(|(key, answers)| (key, *answers)));
    };
    tell(true, &[("ours", Some(Answers::Here)), ("theirs", Some(Answers::Elsewhere))]);
    settle().await;
    let said = |name: &str| {
        format!("Warning {name} Unreadable 0: it cannot be read: spec: must be an object; nothing of it is served")
    };
    assert_eq!(rig.take(), [said("ours")]);
    tell(true, &[("ours", Some(Answers::Here)), ("theirs", Some(Answers::Elsewhere))]);
    settle().await;
    assert!(rig.take().is_empty(), "nothing is new");
    // They change hands.
    tell(false, &[("ours", Some(Answers::Elsewhere)), ("theirs", Some(Answers::Here))]);
    settle().await;
    assert_eq!(rig.take(), [said("theirs")], "what others speak of now was not mended");
    // A new start of who says it names only those that it knows.
    tell(true, &[]);
    settle().await;
    assert_eq!(rig.take(), [said("ours")], "nobody else speaks of it");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_told_nothing_more() {
    let rig = mk_rig().await;
    rig.put("a");
    rig.supervisor.remove("events-east").await.unwrap();
    rig.tell(true, &[("a", Some("gone"))]);
    settle().await;
    assert_eq!(rig.asked(), 0);
}
