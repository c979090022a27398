//! The reflector against a source in memory, in virtual time, without a supervisor.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::scripted::{ScriptedSource, Trouble, mk_key, mk_type, retry};
use super::*;
use crate::env::{Fault, Faults};
use crate::problem::Problems;
use crate::queue::Phase;
use crate::source::SourceError;
use crate::supervisor::{BoxError, Reporter, Stop, Stopper, TaskContext};

/// A reflector that runs, with the rest of its slot.
struct Rig {
    source: Arc<ScriptedSource>,
    reflector: Reflector,
    running: Option<(Stopper, tokio::task::JoinHandle<Result<(), BoxError>>)>,
}

impl Rig {
    fn new(env: Env) -> Self {
        let source = ScriptedSource::new();
        let port = Port::new("store/demo/things", &env, DeltaQueue::default());
        let lister = Lister::new(&"demo".into(), &mk_type(), &env, &Problems::default());
        let options = ReflectorOptions::default();
        let reflector = Reflector { source: source.clone(), port, lister, options, env };
        Self { source, reflector, running: None }
    }

    fn start(&mut self) {
        let (stopper, stop) = Stop::channel();
        let context = TaskContext { stop, reporter: Reporter::detached() };
        self.running = Some((stopper, tokio::spawn(watch::run(self.reflector.clone(), context))));
    }

    /// Lets everything happen that happens in so many seconds, then does what the store's actor would.
    async fn after(&self, seconds: u64) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.seen()
    }

    /// Works the queue off and shows each object as `name@version`, and a deleted one as `-name`.
    fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(delta) = self.reflector.port.receive(|queue| queue.begin()) {
            self.reflector.lister.apply(&delta);
            seen.extend(delta.changes.iter().map(|(key, change)| match &change.new {
                Some(new) => format!("{}@{}", key.name, new.resource_version().unwrap()),
                None => format!("-{}", key.name),
            }));
            self.reflector.port.receive(|queue| queue.commit());
        }
        seen
    }

    fn phase(&self) -> Phase {
        self.reflector.lister.sync_state().phase
    }

    async fn kill(&mut self) {
        let (_, task) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}

fn mk_rig() -> Rig {
    let mut rig = Rig::new(Env::system());
    rig.start();
    rig
}

#[tokio::test(start_paused = true)]
async fn it_lists_then_watches() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    assert_eq!(rig.after(1).await, ["a@1"]);
    assert_eq!(rig.phase(), Phase::Synced);
    rig.source.apply("b", 2);
    rig.source.delete("a");
    assert_eq!(rig.after(1).await, ["b@2", "-a"]);
    assert_eq!(rig.source.opened(), ["-"]);
    assert!(rig.reflector.lister.age().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_resumes_from_its_cursor_without_a_list() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    rig.source.cut(retry("gone"));
    rig.source.apply("a", 2);
    assert_eq!(rig.after(1).await, ["a@2"]);
    assert_eq!(rig.source.opened(), ["-", "1"]);
    assert_eq!(rig.phase(), Phase::Synced);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_again_and_again_is_degraded_and_its_last_state_serves() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    for _ in 0..4 {
        rig.source.trouble(Trouble::Fail(retry("refused")));
    }
    rig.source.cut(retry("gone"));
    rig.after(1).await;
    assert_eq!(rig.phase(), Phase::Degraded("watch interrupted: refused".into()));
    assert!(rig.reflector.lister.sync_state().complete);
    assert!(rig.reflector.lister.get(&mk_key("a")).is_some());
    rig.after(20).await;
    assert_eq!(rig.phase(), Phase::Synced, "a resumed watch that stays open is followed again, though it is quiet");
}

#[tokio::test(start_paused = true)]
async fn the_pace_of_retries_slows_down_until_the_breaker_keeps_it() {
    let rig = mk_rig();
    for _ in 0..1000 {
        rig.source.trouble(Trouble::Fail(retry("refused")));
    }
    rig.after(60).await;
    let first_minute = rig.source.opened().len();
    assert!((8..=14).contains(&first_minute), "{first_minute}");
    rig.after(300).await;
    let later = rig.source.opened().len() - first_minute;
    assert!((8..=14).contains(&later), "{later}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_and_causes_no_list() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    let after = Some(Duration::from_secs(40));
    rig.source.cut(SourceError::Retry { reason: "429".into(), after });
    rig.after(39).await;
    assert_eq!(rig.source.opened(), ["-"]);
    rig.after(2).await;
    assert_eq!(rig.source.opened(), ["-", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_history_is_listed_anew_and_what_is_gone_is_deleted() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.source.apply("b", 2);
    rig.after(1).await;
    rig.source.cut(retry("gone"));
    rig.source.delete("a");
    rig.source.compact();
    assert_eq!(rig.after(2).await, ["-a"]);
    assert_eq!(rig.source.opened(), ["-", "2", "-"]);
    assert_eq!(rig.phase(), Phase::Synced);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_leaves_no_trace() {
    let mut rig = Rig::new(Env::system());
    rig.source.apply("a", 1);
    rig.source.trouble(Trouble::HalfList(retry("cut")));
    rig.start();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.source.opened(), ["-"]);
    assert!(rig.seen().is_empty());
    assert!(!rig.reflector.lister.sync_state().complete);
    assert_eq!(rig.after(1).await, ["a@1"]);
    assert_eq!(rig.source.opened(), ["-", "-"]);
}

#[tokio::test(start_paused = true)]
async fn an_absent_type_is_not_an_empty_list_and_is_waited_for() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    for _ in 0..3 {
        rig.source.trouble(Trouble::Fail(SourceError::Absent { reason: "no CRD".into() }));
    }
    rig.source.cut(SourceError::Absent { reason: "no CRD".into() });
    assert!(rig.after(1).await.is_empty());
    assert_eq!(rig.phase(), Phase::Absent("no CRD".into()));
    assert!(rig.reflector.lister.sync_state().is_settled());
    assert!(rig.reflector.lister.get(&mk_key("a")).is_some(), "the store is kept");
    rig.source.apply("a", 5);
    assert_eq!(rig.after(45).await, ["a@5"]);
    assert_eq!(rig.phase(), Phase::Synced);
    assert_eq!(rig.source.opened(), ["-"; 5]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_absent_type_looks_at_once_when_it_comes_and_nobody_else_does() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    rig.source.trouble(Trouble::Fail(SourceError::Absent { reason: "no CRD".into() }));
    rig.source.cut(SourceError::Absent { reason: "no CRD".into() });
    rig.after(1).await;
    assert_eq!(rig.phase(), Phase::Absent("no CRD".into()));
    for opened in 2..=3 {
        assert_eq!(rig.source.opened().len(), opened - 1);
        rig.source.arrive();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.source.opened().len(), opened, "it looked");
    }
    rig.seen();
    assert_eq!(rig.phase(), Phase::Synced);
    rig.source.arrive();
    rig.after(1).await;
    assert_eq!(rig.source.opened().len(), 3, "who follows the type goes on");
    rig.source.trouble(Trouble::Fail(SourceError::NotPermitted { reason: "list things".into() }));
    rig.source.cut(retry("cut"));
    rig.after(1).await;
    rig.source.arrive();
    rig.after(1).await;
    assert_eq!(rig.source.opened().len(), 4, "a permission does not come with the type");
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_degrades_and_is_probed_slowly() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    rig.source.trouble(Trouble::Fail(SourceError::NotPermitted { reason: "list things".into() }));
    rig.source.cut(SourceError::NotPermitted { reason: "list things".into() });
    rig.after(3).await;
    assert_eq!(rig.phase(), Phase::Degraded("not permitted: list things".into()));
    assert_eq!(rig.source.opened().len(), 1);
    // Two probes, and the time after which silence counts as well.
    rig.after(20).await;
    assert_eq!(rig.phase(), Phase::Synced);
    assert_eq!(rig.source.opened(), ["-", "1", "1"]);
}

#[tokio::test(start_paused = true)]
async fn silence_and_endless_lists_have_a_deadline() {
    let mut rig = Rig::new(Env::system());
    rig.source.apply("a", 1);
    rig.source.trouble(Trouble::Silence);
    rig.source.trouble(Trouble::EndlessList);
    rig.start();
    assert!(rig.after(299).await.is_empty());
    assert_eq!(rig.source.opened().len(), 1);
    rig.after(2).await;
    assert_eq!(rig.phase(), Phase::Degraded("watch interrupted: nothing heard for 300s".into()));
    assert!(rig.after(298).await.is_empty());
    assert_eq!(rig.source.opened().len(), 2);
    assert_eq!(rig.after(4).await, ["a@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lists_again_is_not_followed_before_the_list_ends() {
    let rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    for trouble in [Trouble::Fail(retry("refused")), Trouble::Fail(retry("refused")), Trouble::EndlessList] {
        rig.source.trouble(trouble);
    }
    rig.source.cut(retry("gone"));
    rig.after(60).await;
    assert_eq!(rig.source.opened(), ["-", "1", "1", "1"], "the last one lists although it could resume");
    assert_eq!(rig.phase(), Phase::Degraded("watch interrupted: refused".into()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lasted_is_opened_again_at_once() {
    let mut rig = Rig::new(Env::system());
    for _ in 0..8 {
        rig.source.trouble(Trouble::Fail(retry("refused")));
    }
    rig.start();
    rig.after(200).await;
    assert_eq!(rig.source.opened().len(), 9);
    rig.source.cut(retry("gone"));
    rig.after(1).await;
    assert_eq!(rig.source.opened().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_reflector_that_was_killed_resumes_where_it_was() {
    let mut rig = mk_rig();
    rig.source.apply("a", 1);
    rig.after(1).await;
    rig.kill().await;
    rig.source.apply("b", 2);
    assert!(rig.after(1).await.is_empty());
    rig.start();
    assert_eq!(rig.after(1).await, ["b@2"]);
    assert_eq!(rig.source.opened(), ["-", "1"]);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_asked_to() {
    let mut rig = mk_rig();
    rig.after(1).await;
    let (stopper, task) = rig.running.take().unwrap();
    stopper.stop();
    assert!(task.await.unwrap().is_ok());
}

/// One fault at the n-th event.
struct FaultAt(AtomicUsize, usize, Fault, &'static str);

impl Faults for FaultAt {
    fn at(&self, place: &str) -> Fault {
        if place != format!("source/demo/things.example.test/{}", self.3) {
            return Fault::None;
        }
        if self.0.fetch_add(1, Ordering::SeqCst) == self.1 { self.2.clone() } else { Fault::None }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fault_hits_whichever_event_no_update_is_lost() {
    let faults = [
        Fault::Delay(Duration::from_secs(3)),
        Fault::Duplicate,
        Fault::Drop,
        Fault::Error("injected".into()),
        Fault::Stall,
    ];
    for (place, places) in [("event", 9), ("open", 1)] {
        for fault in &faults {
            for at in 0..places {
                let plan = FaultAt(AtomicUsize::new(0), at, fault.clone(), place);
                let mut rig = Rig::new(Env { faults: Some(Arc::new(plan)), ..Env::system() });
                rig.source.apply("a", 1);
                rig.source.apply("b", 1);
                rig.start();
                rig.after(1).await;
                rig.source.apply("a", 2);
                rig.source.delete("b");
                rig.after(600).await;
                let held: Vec<_> = rig.reflector.lister.list().iter().map(|o| format!("{o:?}")).collect();
                assert_eq!(held, ["Thing demo:n/a@2"], "{place} {at} {fault:?}");
                assert_eq!(rig.phase(), Phase::Synced, "{place} {at} {fault:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_ends_the_reflector_for_its_supervisor_to_restart() {
    let mut rig = Rig::new(Env::system());
    rig.source.trouble(Trouble::Panic);
    rig.start();
    let (_stopper, task) = rig.running.take().unwrap();
    assert!(task.await.unwrap_err().is_panic());
    rig.source.apply("a", 1);
    rig.start();
    assert_eq!(rig.after(1).await, ["a@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_always_ready_lets_others_run() {
    let mut rig = Rig::new(Env::system());
    for n in 0..2_000 {
        rig.source.apply(&format!("o{n}"), 1);
    }
    rig.start();
    let mut turns = 0;
    while !rig.reflector.port.peek(DeltaQueue::is_complete) {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > 10, "{turns}");
}
