//! Handlers on a factory with a source in memory, in virtual time.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::*;
use crate::env::{Env, Fault, Faults};
use crate::informer::{Informer, InformerError, InformerFactory, RegisterOptions};
use crate::problem::Problems;
use crate::reflector::scripted::{ScriptedSource, mk_type, retry};
use crate::supervisor::{Strategy, Supervisor};

/// Writes down its calls; may be slow, and may panic on some objects.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<String>>,
    slow: Option<Duration>,
    panics_on: BTreeSet<&'static str>,
}

impl Recorder {
    async fn record(&self, object: &Object, call: String) {
        if let Some(slow) = self.slow {
            tokio::time::sleep(slow).await;
        }
        self.calls.lock().push(call);
        assert!(!self.panics_on.contains(&*object.key().name), "secret");
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock())
    }
}

fn version(object: &Object) -> &str {
    object.resource_version().unwrap()
}

#[async_trait]
impl EventHandler for Recorder {
    async fn on_add(&self, object: Arc<Object>, initial: bool) {
        let i = if initial { " i" } else { "" };
        self.record(&object, format!("+{}@{}{i}", object.key().name, version(&object))).await;
    }

    async fn on_update(&self, old: Arc<Object>, new: Arc<Object>) {
        self.record(&new, format!("{}@{}>{}", new.key().name, version(&old), version(&new))).await;
    }

    async fn on_delete(&self, object: Arc<Object>, tombstone: bool) {
        let t = if tombstone { " t" } else { "" };
        self.record(&object, format!("-{}@{}{t}", object.key().name, version(&object))).await;
    }
}

struct Rig {
    source: Arc<ScriptedSource>,
    supervisor: Supervisor,
    informer: Informer,
    problems: Problems,
}

async fn mk_rig_in(env: Env) -> Rig {
    let (rig, factory) = mk_rig_before_start(env).await;
    factory.start().await.unwrap();
    rig
}

async fn mk_rig_before_start(env: Env) -> (Rig, InformerFactory) {
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let problems = Problems::default();
    let factory = InformerFactory::new(env, supervisor.clone(), problems.clone());
    let source = ScriptedSource::new();
    factory.add_source(source.clone()).unwrap();
    let informer = factory.register("demo", mk_type(), RegisterOptions::default()).await.unwrap();
    (Rig { source, supervisor, informer, problems }, factory)
}

async fn mk_rig() -> Rig {
    mk_rig_in(Env::system()).await
}

impl Rig {
    async fn add(&self, name: &str, recorder: &Arc<Recorder>) -> HandlerHandle {
        self.informer.add_handler(name, recorder.clone(), HandlerOptions::default()).await.unwrap()
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_shown_the_first_list_and_then_each_change() {
    let rig = mk_rig().await;
    let recorder = Arc::new(Recorder::default());
    let handle = rig.add("h", &recorder).await;
    settle().await;
    assert!(handle.has_synced(), "an empty list is a list");
    rig.source.apply("a", 1);
    settle().await;
    rig.source.apply("a", 2);
    rig.source.apply("a", 3);
    settle().await;
    rig.source.delete("a");
    settle().await;
    let calls = recorder.take();
    assert_eq!(calls.first().unwrap(), "+a@1");
    assert_eq!(calls.last().unwrap(), "-a@3");
    assert!(calls.contains(&"a@1>3".to_owned()) || calls.contains(&"a@2>3".to_owned()), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_the_first_list_syncs_with_it_though_it_is_empty() {
    let (rig, factory) = mk_rig_before_start(Env::system()).await;
    let recorder = Arc::new(Recorder::default());
    let handle = rig.add("h", &recorder).await;
    settle().await;
    assert!(!handle.has_synced());
    factory.start().await.unwrap();
    settle().await;
    assert!(handle.has_synced());
    assert!(recorder.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_comes_late_gets_a_replay_and_syncs_by_itself() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    rig.source.apply("b", 1);
    settle().await;
    let slow = Arc::new(Recorder { slow: Some(Duration::from_secs(10)), ..Recorder::default() });
    let (late, slow_one) = (Arc::new(Recorder::default()), rig.add("slow", &slow).await);
    let handle = rig.add("late", &late).await;
    settle().await;
    assert_eq!(late.take(), ["+a@1 i", "+b@1 i"]);
    assert!(handle.has_synced());
    assert!(!slow_one.has_synced(), "each handler syncs at its own pace");
    assert!(slow.take().is_empty(), "a slow handler delays only itself");
    slow_one.synced().await;
    assert_eq!(slow.take(), ["+a@1 i", "+b@1 i"]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_a_handler_is_busy_shows_as_one_with_old_as_it_last_saw_it() {
    let rig = mk_rig().await;
    let slow = Arc::new(Recorder { slow: Some(Duration::from_secs(10)), ..Recorder::default() });
    rig.add("slow", &slow).await;
    settle().await;
    rig.source.apply("a", 1);
    settle().await;
    for step in 2..6 {
        rig.source.apply("a", step);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(slow.take(), ["+a@1", "a@1>5"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_created_again_under_its_name_is_shown_as_both() {
    let rig = mk_rig().await;
    let recorder = Arc::new(Recorder::default());
    rig.add("h", &recorder).await;
    rig.source.apply("a", 1);
    settle().await;
    rig.source.recreate("a", 9);
    settle().await;
    assert_eq!(recorder.take(), ["+a@1", "-a@1", "+a@9"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_killed_between_the_two_is_not_shown_the_first_again() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    let recorder = Arc::new(Recorder { slow: Some(Duration::from_secs(10)), ..Recorder::default() });
    let handle = rig.add("h", &recorder).await;
    handle.synced().await;
    rig.source.recreate("a", 9);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(recorder.take(), ["+a@1 i", "-a@1"]);
    rig.supervisor.get(handle.path()).unwrap().kill();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(recorder.take(), ["+a@9"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_reported_on_the_object_and_not_repeated() {
    let rig = mk_rig().await;
    rig.source.apply("bad", 1);
    rig.source.apply("good", 1);
    let recorder = Arc::new(Recorder { panics_on: ["bad"].into(), ..Recorder::default() });
    let handle = rig.add("h", &recorder).await;
    settle().await;
    assert_eq!(recorder.take(), ["+bad@1 i", "+good@1 i"]);
    assert_eq!(handle.panics(), 1);
    assert!(handle.has_synced());
    let problems = rig.problems.list();
    assert_eq!(problems.len(), 1);
    let text = problems[0].1.to_string();
    assert!(text.starts_with("Thing demo:n/bad: the handler `demo:things.example.test:h` panicked"), "{text}");
    assert!(!text.contains("secret"));
    handle.remove().await;
    assert!(rig.problems.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missed_delete_is_shown_as_a_tombstone() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    let recorder = Arc::new(Recorder::default());
    rig.add("h", &recorder).await;
    settle().await;
    rig.source.cut(retry("gone"));
    rig.source.delete("a");
    rig.source.compact();
    settle().await;
    assert_eq!(recorder.take(), ["+a@1 i", "-a@1 t"]);
}

#[tokio::test(start_paused = true)]
async fn a_resync_shows_everything_again_and_again() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    let recorder = Arc::new(Recorder::default());
    let options = HandlerOptions { resync: Some(Duration::from_secs(60)) };
    rig.informer.add_handler("h", recorder.clone(), options).await.unwrap();
    settle().await;
    assert_eq!(recorder.take(), ["+a@1 i"]);
    rig.source.apply("a", 2);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(recorder.take(), ["a@1>2", "a@2>2", "a@2>2"]);
    rig.source.delete("a");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(recorder.take(), ["-a@2"]);
}

#[tokio::test(start_paused = true)]
async fn removal_waits_for_the_call_under_way_and_no_other_follows() {
    let rig = mk_rig().await;
    rig.source.apply("a", 1);
    rig.source.apply("b", 1);
    let recorder = Arc::new(Recorder { slow: Some(Duration::from_secs(3)), ..Recorder::default() });
    let handle = rig.add("h", &recorder).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(recorder.take().is_empty());
    handle.remove().await;
    assert_eq!(recorder.take(), ["+a@1 i"], "the call under way has ended");
    rig.source.apply("a", 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(recorder.take().is_empty());
    handle.remove().await;
    assert!(rig.supervisor.get(handle.path()).is_none());
}

#[tokio::test(start_paused = true)]
async fn two_handlers_of_one_name_are_refused() {
    let rig = mk_rig().await;
    let recorder = Arc::new(Recorder::default());
    rig.add("h", &recorder).await;
    let again = rig.informer.add_handler("h", recorder.clone(), HandlerOptions::default()).await;
    assert!(matches!(again, Err(InformerError::HandlerExists { .. })));
    rig.source.apply("a", 1);
    settle().await;
    assert_eq!(recorder.take().len(), 1, "the one that was refused is not called");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_killed_in_a_call_goes_on_with_that_call() {
    let rig = mk_rig().await;
    for name in ["a", "b", "c"] {
        rig.source.apply(name, 1);
    }
    settle().await;
    let recorder = Arc::new(Recorder { slow: Some(Duration::from_secs(10)), ..Recorder::default() });
    let handle = rig.add("h", &recorder).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(recorder.take(), ["+a@1 i"]);
    rig.supervisor.get(handle.path()).unwrap().kill();
    handle.synced().await;
    assert_eq!(recorder.take(), ["+b@1 i", "+c@1 i"]);
}

/// Makes the handler's own task panic when it looks for work.
struct PanickingTask(std::sync::atomic::AtomicU32);

impl Faults for PanickingTask {
    fn at(&self, place: &str) -> Fault {
        let hit = place == "port/handler/demo:things.example.test:h/receive"
            && self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        if hit { Fault::Panic("injected".into()) } else { Fault::None }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_task_is_restarted_misses_nothing() {
    let rig = mk_rig_in(Env { faults: Some(Arc::new(PanickingTask(0.into()))), ..Env::system() }).await;
    rig.source.apply("a", 1);
    let recorder = Arc::new(Recorder::default());
    let handle = rig.add("h", &recorder).await;
    settle().await;
    assert_eq!(recorder.take(), ["+a@1 i"]);
    assert!(handle.has_synced());
}
