//! The writer on a factory with a source in memory, whose registry is the sink, in virtual time.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_actors::handler::HandlerOptions;
use tidegate_actors::informer::RegisterOptions;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing::{self, MemorySource};
use tidegate_actors::watch;

use super::*;
use crate::correlate::status::{Condition, ParentStatus, RouteStatus, Status, Truth};
use crate::resource::http_route::ParentRef;

const OURS: &str = "tidegate.dev/gateway-controller";

/// The registry behind the source: what it is told becomes the next version of the object.
struct Registry {
    source: MemorySource,
    leading: watch::Sender<bool>,
    /// Answers to the next writes, before any succeeds.
    answers: Mutex<Vec<SinkError>>,
    writes: Mutex<Vec<String>>,
}

impl Registry {
    fn now(&self, object: &ObjectRef) -> Option<Arc<Object>> {
        self.source.objects(&object.resource_type).get(&object.key).cloned()
    }

    fn put(&self, name: &str, status: &Value) {
        let body = format!(r#""spec":{{}},"status":{status}"#);
        self.source.apply(&types::http_route(), Some("n"), name, &body);
    }

    fn status(&self, name: &str) -> Value {
        Held::of(&self.now(&route(name)).unwrap()).unwrap().status
    }

    fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut *self.writes.lock())
    }
}

#[async_trait]
impl StatusSink for Registry {
    fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    async fn read(&self, object: &ObjectRef) -> Result<Option<Held>, SinkError> {
        Ok(self.now(object).map(|object| Held::of(&object).unwrap()))
    }

    async fn write(&self, object: &ObjectRef, over: &str, status: &Value) -> Result<(), SinkError> {
        if let Some(answer) = self.answers.lock().pop() {
            return Err(answer);
        }
        if self.now(object).is_some_and(|now| now.resource_version() != Some(over)) {
            return Err(SinkError::Conflict);
        }
        self.writes.lock().push(object.key.name.to_string());
        self.put(&object.key.name, status);
        Ok(())
    }
}

struct Rig {
    registry: Arc<Registry>,
    writer: StatusWriter,
    problems: Problems,
    supervisor: Supervisor,
}

async fn mk_rig() -> Rig {
    mk_rig_of(Speaker::default()).await
}

async fn mk_rig_of(speaker: Speaker) -> Rig {
    let (env, _) = testing::env(1);
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let problems = Problems::default();
    let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
    let source = MemorySource::new("east");
    source.add_type(&types::http_route());
    factory.add_source(Arc::new(source.clone())).unwrap();
    let informer = factory.register("east", types::http_route(), RegisterOptions::default()).await.unwrap();
    let writer = StatusWriter::new(&env, &problems, &factory, move || speaker.clone());
    informer.add_handler("status", Arc::new(writer.clone()), HandlerOptions::default()).await.unwrap();
    factory.start().await.unwrap();
    let registry =
        Registry { source, leading: watch::Sender::new(true), answers: Mutex::default(), writes: Mutex::default() };
    let registry = Arc::new(registry);
    let rate = WriteRate { per_second: 100.0, burst: 100 };
    supervisor.add(writer.workers()).await.unwrap();
    supervisor.add(writer.spec(&"east".into(), registry.clone(), rate)).await.unwrap();
    Rig { registry, writer, problems, supervisor }
}

impl Rig {
    fn want(&self, full: bool, routes: &[(&str, Option<Truth>)]) {
        let changes: Vec<_> = routes.iter().map(|(name, truth)| (route(name), truth.map(wanted))).collect();
        self.writer.apply(full, changes.iter().map(|(object, status)| (object, status.clone())));
    }
}

fn route(name: &str) -> ObjectRef {
    ObjectRef { resource_type: types::http_route(), key: tidegate_actors::id::ObjectKey::namespaced("east", "n", name) }
}

fn wanted(truth: Truth) -> Arc<ObjectStatus> {
    wanted_at(&["g"], truth)
}

fn wanted_at(gateways: &[&str], truth: Truth) -> Arc<ObjectStatus> {
    let parent = |name: &&str| ParentStatus {
        parent_ref: ParentRef {
            group: "gateway.networking.k8s.io".into(),
            kind: "Gateway".into(),
            namespace: None,
            name: (*name).into(),
            section_name: None,
            port: None,
        },
        controller_name: OURS.into(),
        conditions: vec![Condition::new("Accepted", truth, "R", "", 1)],
    };
    let parents = gateways.iter().map(parent).collect();
    Arc::new(ObjectStatus { object: route("-"), status: Status::Route(RouteStatus { parents }) })
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

fn is_told(status: &Value, truth: &str) -> bool {
    status["parents"][0]["conditions"][0]["status"] == truth
}

#[tokio::test(start_paused = true)]
async fn a_wanted_status_is_written_once_and_again_when_it_changes() {
    let rig = mk_rig().await;
    rig.registry.put("a", &Value::Null);
    rig.want(true, &[("a", Some(Truth::True))]);
    settle().await;
    assert!(is_told(&rig.registry.status("a"), "True"));
    rig.want(false, &[("a", Some(Truth::True))]);
    rig.want(true, &[("a", Some(Truth::True))]);
    settle().await;
    assert_eq!(rig.registry.take_writes(), ["a"], "our own write and a full batch change nothing");
    rig.want(false, &[("a", Some(Truth::False))]);
    settle().await;
    assert!(is_told(&rig.registry.status("a"), "False"));
    assert_eq!(rig.registry.take_writes(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_back_before_it_is_known_what_is_wanted() {
    let rig = mk_rig().await;
    let said = |truth: Truth| serde_json::to_value(&wanted(truth).status).unwrap();
    for name in ["kept", "gone"] {
        rig.registry.put(name, &said(Truth::True));
    }
    rig.registry.put("theirs", &json!({"parents": [{"controllerName": "theirs", "conditions": []}]}));
    settle().await;
    assert!(rig.registry.take_writes().is_empty());
    rig.want(true, &[("kept", Some(Truth::False))]);
    settle().await;
    assert!(is_told(&rig.registry.status("kept"), "False"));
    assert_eq!(rig.registry.status("gone"), json!({"parents": []}));
    let mut writes = rig.registry.take_writes();
    writes.sort();
    assert_eq!(writes, ["gone", "kept"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes_and_a_new_one_looks_at_everything() {
    let rig = mk_rig().await;
    rig.registry.leading.send_replace(false);
    rig.registry.put("a", &Value::Null);
    rig.want(true, &[("a", Some(Truth::True))]);
    settle().await;
    assert!(rig.registry.take_writes().is_empty());
    rig.registry.leading.send_replace(true);
    settle().await;
    assert_eq!(rig.registry.take_writes(), ["a"]);
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_over_ours_is_corrected() {
    let rig = mk_rig().await;
    rig.registry.put("a", &Value::Null);
    rig.want(true, &[("a", Some(Truth::True))]);
    settle().await;
    rig.registry.put("a", &json!({"parents": []}));
    settle().await;
    assert!(is_told(&rig.registry.status("a"), "True"));
    assert_eq!(rig.registry.take_writes(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_a_problem_of_the_object_until_it_succeeds() {
    let rig = mk_rig().await;
    rig.registry.put("a", &Value::Null);
    let denied = SinkError::NotPermitted { reason: "may not patch httproutes/status".into() };
    *rig.registry.answers.lock() = vec![denied.clone(), SinkError::Conflict, SinkError::Conflict];
    rig.want(true, &[("a", Some(Truth::True))]);
    tokio::time::sleep(Duration::from_millis(120)).await;
    let problems = rig.problems.list();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].1.reason.contains("may not patch httproutes/status"), "{problems:?}");
    settle().await;
    assert_eq!(rig.registry.take_writes(), ["a"]);
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_busy_registry_is_left_alone_for_as_long_as_it_asks() {
    let rig = mk_rig().await;
    rig.registry.put("a", &Value::Null);
    let after = Some(Duration::from_secs(20));
    *rig.registry.answers.lock() = vec![SinkError::Busy { reason: "429".into(), after }];
    rig.want(true, &[("a", Some(Truth::True))]);
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert!(rig.registry.take_writes().is_empty());
    settle().await;
    assert_eq!(rig.registry.take_writes(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn writes_keep_their_rate() {
    let rig = mk_rig().await;
    let names: Vec<String> = (0..300).map(|n| format!("r{n}")).collect();
    names.iter().for_each(|name| rig.registry.put(name, &Value::Null));
    settle().await;
    let routes: Vec<_> = names.iter().map(|name| (&**name, Some(Truth::True))).collect();
    rig.want(true, &routes);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let first = rig.registry.take_writes().len();
    assert!((190..=210).contains(&first), "a burst of 100, then 100 a second: {first}");
    settle().await;
    assert_eq!(first + rig.registry.take_writes().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_written_to_no_more() {
    let rig = mk_rig().await;
    rig.registry.put("a", &Value::Null);
    rig.supervisor.remove("status-east").await.unwrap();
    rig.want(true, &[("a", Some(Truth::True))]);
    settle().await;
    assert!(rig.registry.take_writes().is_empty());
}

impl Rig {
    /// What became of the Gateways `ours`, `theirs` and `gone` is told, then what is wanted of the route `a`.
    fn tell(&self, full: bool, gateways: &[(&str, Option<Answers>)], wanted: Option<Arc<ObjectStatus>>) {
        let keys: Vec<_> = gateways
            .iter()
            .map(|(name, answers)| (tidegate_actors::id::ObjectKey::namespaced("east", "n", name), *answers))
            .collect();
        self.writer.answers(full, keys.iter().map(|(key, answers)| (key, *answers)));
        self.writer.apply(full, [(&route("a"), wanted)].into_iter());
    }

    /// The Gateways at which the route `a` says something.
    fn parents(&self) -> Vec<String> {
        let status = self.registry.status("a");
        let parents = status["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
        parents.iter().map(|parent| parent["parentRef"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Entries of the controller's name, whichever shard wrote them.
fn said_at(gateways: &[&str]) -> Value {
    serde_json::to_value(&wanted_at(gateways, Truth::True).status).unwrap()
}

async fn mk_shard() -> Rig {
    mk_rig_of(Speaker { is_shard: true, ..Speaker::default() }).await
}

const HERE: Option<Answers> = Some(Answers::Here);
const ELSEWHERE: Option<Answers> = Some(Answers::Elsewhere);

#[tokio::test(start_paused = true)]
async fn a_shard_leaves_what_another_says_and_takes_back_what_is_its_own_or_nobodys() {
    let rig = mk_shard().await;
    rig.registry.put("a", &said_at(&["theirs", "old", "gone"]));
    settle().await;
    rig.tell(true, &[("ours", HERE), ("old", HERE), ("theirs", ELSEWHERE)], Some(wanted_at(&["ours"], Truth::True)));
    settle().await;
    assert_eq!(rig.parents(), ["theirs", "ours"], "that of nobody is taken back by whoever begins to lead");
    assert_eq!(rig.registry.take_writes(), ["a"]);

    // The Gateway goes to another shard, which speaks there from now on.
    rig.tell(false, &[("ours", ELSEWHERE)], None);
    settle().await;
    assert_eq!(rig.parents(), ["theirs", "ours"]);
    assert!(rig.registry.take_writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shard_never_writes_over_another_in_turns() {
    let rig = mk_shard().await;
    rig.registry.put("a", &Value::Null);
    rig.tell(true, &[("ours", HERE)], Some(wanted_at(&["ours"], Truth::True)));
    settle().await;
    rig.registry.take_writes();

    // Another shard speaks at a Gateway that we have not heard of yet.
    rig.registry.put("a", &said_at(&["ours", "new"]));
    settle().await;
    rig.tell(false, &[], Some(wanted_at(&["ours"], Truth::False)));
    settle().await;
    assert_eq!(rig.parents(), ["ours", "new"]);
    assert_eq!(rig.registry.take_writes(), ["a"], "ours, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_back_what_it_said_at_a_gateway_that_is_gone_even_if_that_fails_at_first() {
    let rig = mk_shard().await;
    rig.registry.put("a", &Value::Null);
    rig.tell(true, &[("ours", HERE), ("gone", HERE)], Some(wanted_at(&["ours", "gone"], Truth::True)));
    settle().await;
    assert_eq!(rig.parents(), ["ours", "gone"]);
    *rig.registry.answers.lock() = vec![SinkError::Conflict, SinkError::Conflict, SinkError::Conflict];
    rig.tell(false, &[("gone", None)], Some(wanted_at(&["ours"], Truth::True)));
    settle().await;
    assert_eq!(rig.parents(), ["ours"]);
    rig.tell(false, &[("ours", None)], None);
    settle().await;
    assert_eq!(rig.parents(), [""; 0]);
}
