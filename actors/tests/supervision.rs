//! The supervisor with real actors, in virtual time: what happens to whom, and when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "supervision/worker.rs"]
mod worker;

#[path = "supervision/abandoned.rs"]
mod abandoned;

#[path = "supervision/escalation.rs"]
mod escalation;

#[path = "supervision/schedule.rs"]
mod schedule;

#[path = "supervision/shutdown.rs"]
mod shutdown;

#[path = "supervision/tasks.rs"]
mod tasks;

use std::time::Duration;

use tidegate_actors::supervisor::{
    BreakerPolicy, ChildSpec, Restart, State, Strategy, Supervisor, SupervisorError, TreeStatus,
};
use tokio::time::Instant;
use worker::{Order, Record, Worker, mk_backoff, mk_env, mk_root, until};

const SECOND: Duration = Duration::from_secs(1);

fn find(supervisor: &Supervisor, path: &str) -> TreeStatus {
    supervisor.tree().find(path).unwrap_or_else(|| panic!("no `{path}` in {:#?}", supervisor.tree())).clone()
}

fn state(supervisor: &Supervisor, path: &str) -> State {
    find(supervisor, path).state
}

#[tokio::test(start_paused = true)]
async fn an_added_child_runs_and_can_be_talked_to() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    assert_eq!(state(&supervisor, "a"), State::Running);
    supervisor.get("a").unwrap().send_message(Order::Count).unwrap();
    until(|| record.handled() == 1).await;
    assert_eq!(record.starts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_child_is_started_again_after_its_backoff_and_its_sibling_goes_on() {
    let supervisor = mk_root().await;
    let (poor, sibling) = (Record::default(), Record::default());
    supervisor.add(poor.spec("poor")).await.unwrap();
    supervisor.add(sibling.spec("sibling")).await.unwrap();
    let before = Instant::now();
    supervisor.get("poor").unwrap().send_message(Order::Panic).unwrap();
    until(|| state(&supervisor, "poor") == State::BackingOff).await;
    let status = find(&supervisor, "poor");
    assert_eq!(status.last_error.as_deref(), Some("panicked: told to panic"));
    assert!(status.next_attempt.unwrap() <= 100, "{status:?}");
    assert!(supervisor.get("poor").is_none());
    until(|| poor.starts() == 2).await;
    let waited = before.elapsed();
    // 100 ms, seen by looking every 10 ms.
    assert!(waited >= Duration::from_millis(99) && waited <= Duration::from_millis(120), "{waited:?}");
    until(|| state(&supervisor, "poor") == State::Running).await;
    assert_eq!(find(&supervisor, "poor").restarts, 1);
    assert_eq!((sibling.starts(), find(&supervisor, "sibling").restarts), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn every_exit_has_a_name() {
    let supervisor = mk_root().await;
    let cases = [
        (Order::Fail, "failed: told to fail: because of this", State::Failed),
        (Order::Panic, "panicked: told to panic", State::Failed),
        (Order::Die, "killed", State::Failed),
        (Order::Finish, "finished", State::Stopped),
    ];
    for (order, expected, end) in cases {
        let record = Record::default();
        supervisor.add(record.spec("a").restart(Restart::Temporary)).await.unwrap();
        supervisor.get("a").unwrap().send_message(order).unwrap();
        until(|| state(&supervisor, "a") == end).await;
        assert_eq!(find(&supervisor, "a").last_error.as_deref(), Some(expected));
        assert_eq!((record.starts(), record.alive()), (1, 0));
        supervisor.remove("a").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_child_is_started_again() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    supervisor.get("a").unwrap().kill();
    until(|| record.starts() == 2).await;
    assert_eq!(find(&supervisor, "a").last_error.as_deref(), Some("killed"));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_start_is_tried_again_with_growing_delays() {
    let supervisor = mk_root().await;
    let record = Record::default();
    record.fail_starts(3);
    let before = Instant::now();
    supervisor.add(record.spec("a")).await.unwrap();
    let status = find(&supervisor, "a");
    assert_eq!(status.state, State::BackingOff);
    assert_eq!(status.last_error.as_deref(), Some("failed: cannot start"));
    until(|| state(&supervisor, "a") == State::Running).await;
    let waited = before.elapsed();
    // 100, 200 and 400 ms.
    assert!(waited >= Duration::from_millis(699) && waited < Duration::from_millis(730), "{waited:?}");
    assert_eq!((record.starts(), find(&supervisor, "a").restarts), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_child_is_made_is_the_childs() {
    let supervisor = mk_root().await;
    let spec = ChildSpec::actor("a", || -> (Worker, Record) { panic!("cannot be made") });
    supervisor.add(spec).await.unwrap();
    let status = find(&supervisor, "a");
    assert_eq!(status.state, State::BackingOff);
    assert_eq!(status.last_error.as_deref(), Some("panicked: cannot be made"));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_fails_at_its_timeout_and_holds_nobody_up() {
    let supervisor = mk_root().await;
    let (hanging, sibling) = (Record::default(), Record::default());
    hanging.hang_in_start(true);
    let adding = supervisor.clone();
    let spec = hanging.spec("hanging").start_timeout(7 * SECOND);
    let before = Instant::now();
    let added = tokio::spawn(async move { adding.add(spec).await });
    supervisor.add(sibling.spec("sibling")).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(state(&supervisor, "hanging"), State::Starting);
    added.await.unwrap().unwrap();
    assert_eq!(before.elapsed(), 7 * SECOND);
    assert_eq!(find(&supervisor, "hanging").last_error.as_deref(), Some("failed: it did not start within 7s"));
    hanging.hang_in_start(false);
    until(|| state(&supervisor, "hanging") == State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_can_be_removed_at_once() {
    let supervisor = mk_root().await;
    let record = Record::default();
    record.hang_in_start(true);
    let adding = supervisor.clone();
    let spec = record.spec("a");
    let before = Instant::now();
    let added = tokio::spawn(async move { adding.add(spec).await });
    until(|| supervisor.tree().find("a").is_some()).await;
    supervisor.remove("a").await.unwrap();
    added.await.unwrap().unwrap();
    assert!(before.elapsed() < SECOND);
    assert_eq!(supervisor.tree().children, []);
    assert_eq!(record.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_finishes_is_restarted_only_if_it_is_permanent() {
    let supervisor = mk_root().await;
    let (permanent, transient) = (Record::default(), Record::default());
    supervisor.add(permanent.spec("permanent")).await.unwrap();
    supervisor.add(transient.spec("transient").restart(Restart::Transient)).await.unwrap();
    for path in ["permanent", "transient"] {
        supervisor.get(path).unwrap().send_message(Order::Finish).unwrap();
    }
    until(|| permanent.starts() == 2).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((transient.starts(), state(&supervisor, "transient")), (1, State::Stopped));
    assert_eq!(permanent.starts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_paused_child_is_stopped_in_order_and_stays_down_until_it_is_resumed() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    supervisor.pause("a").await.unwrap();
    assert_eq!((state(&supervisor, "a"), record.alive(), record.post_stops()), (State::Paused, 0, 1));
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(record.starts(), 1);
    supervisor.resume("a").await.unwrap();
    until(|| state(&supervisor, "a") == State::Running).await;
    assert_eq!((record.starts(), record.alive()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn orders_reach_children_of_children_by_path() {
    let supervisor = mk_root().await;
    let (routes, services) = (Record::default(), Record::default());
    let demo = vec![routes.spec("httproutes"), services.spec("services/v1")];
    let demo = ChildSpec::supervisor("demo", Strategy::OneForOne, demo);
    supervisor.add(ChildSpec::supervisor("sources", Strategy::OneForOne, vec![demo])).await.unwrap();
    assert_eq!((routes.starts(), services.starts()), (1, 1));
    supervisor.pause("sources/demo/httproutes").await.unwrap();
    assert_eq!(state(&supervisor, "sources/demo/httproutes"), State::Paused);
    assert_eq!(state(&supervisor, "sources/demo/services/v1"), State::Running, "names may hold slashes");
    supervisor.resume("sources/demo/httproutes").await.unwrap();
    until(|| routes.alive() == 1).await;
    supervisor.restart("sources/demo/httproutes").await.unwrap();
    until(|| routes.starts() == 3).await;
    supervisor.remove("sources/demo/services/v1").await.unwrap();
    assert!(supervisor.tree().find("sources/demo/services/v1").is_none());
    assert_eq!((services.alive(), services.starts()), (0, 1));
    let paths: Vec<_> = find(&supervisor, "sources/demo").children.into_iter().map(|child| child.path).collect();
    assert_eq!(paths, ["sources/demo/httproutes"]);
}

#[tokio::test(start_paused = true)]
async fn adding_waits_for_the_first_attempt_of_first_children_at_any_depth() {
    let supervisor = mk_root().await;
    let slow = Record::default();
    slow.hang_in_start(true);
    let inner = ChildSpec::supervisor("inner", Strategy::OneForOne, vec![slow.spec("slow").start_timeout(7 * SECOND)]);
    let before = Instant::now();
    supervisor.add(ChildSpec::supervisor("outer", Strategy::OneForOne, vec![inner])).await.unwrap();
    assert_eq!((before.elapsed(), state(&supervisor, "outer/inner/slow")), (7 * SECOND, State::BackingOff));
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_replaces_a_running_child_without_a_delay() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    let before = Instant::now();
    supervisor.restart("a").await.unwrap();
    until(|| record.starts() == 2 && record.alive() == 1).await;
    assert!(before.elapsed() < Duration::from_millis(20));
    assert_eq!((record.post_stops(), record.most_alive()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_removed_while_it_backs_off_never_comes_back() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    supervisor.get("a").unwrap().send_message(Order::Fail).unwrap();
    until(|| state(&supervisor, "a") == State::BackingOff).await;
    supervisor.remove("a").await.unwrap();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!((record.starts(), record.alive()), (1, 0));
    supervisor.add(record.spec("a")).await.unwrap();
    assert_eq!(record.starts(), 2, "its name is free again");
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_stop_hangs_is_killed_at_its_timeout_and_holds_nobody_up() {
    let supervisor = mk_root().await;
    let (hanging, sibling) = (Record::default(), Record::default());
    hanging.hang_in_stop(true);
    supervisor.add(hanging.spec("hanging").stop_timeout(60 * SECOND)).await.unwrap();
    supervisor.add(sibling.spec("sibling")).await.unwrap();
    let before = Instant::now();
    let pausing = supervisor.clone();
    let paused = tokio::spawn(async move { pausing.pause("hanging").await });
    until(|| state(&supervisor, "hanging") == State::Stopping).await;
    supervisor.get("sibling").unwrap().send_message(Order::Panic).unwrap();
    until(|| sibling.starts() == 2).await;
    assert!(before.elapsed() < SECOND, "the sibling was seen to meanwhile");
    paused.await.unwrap().unwrap();
    assert_eq!(before.elapsed().as_secs(), 60);
    assert_eq!((state(&supervisor, "hanging"), hanging.alive()), (State::Paused, 0));
    assert_eq!(find(&supervisor, "hanging").last_error.as_deref(), Some("killed"));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_stops_hammering_and_probes() {
    let supervisor = mk_root().await;
    let record = Record::default();
    record.fail_starts(5);
    let breaker = BreakerPolicy { failures: 3, open_for: 100 * SECOND };
    supervisor.add(record.spec("a").breaker(breaker)).await.unwrap();
    until(|| state(&supervisor, "a") == State::Open).await;
    assert_eq!(record.starts(), 3);
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!(record.starts(), 3);
    assert!(find(&supervisor, "a").next_attempt.unwrap() <= 10_000);
    until(|| record.starts() == 4).await;
    until(|| state(&supervisor, "a") == State::Open).await;
    tokio::time::sleep(202 * SECOND).await;
    assert_eq!((record.starts(), state(&supervisor, "a")), (6, State::Running));
}

#[tokio::test(start_paused = true)]
async fn under_rest_for_one_the_later_ones_are_restarted_with_the_one_they_depend_on() {
    let supervisor = mk_root().await;
    let (first, store, reader) = (Record::default(), Record::default(), Record::default());
    let log = store.log();
    let children = vec![first.spec("first"), store.spec("store"), reader.spec_in("reader", &log)];
    supervisor.add(ChildSpec::supervisor("chain", Strategy::RestForOne, children)).await.unwrap();
    supervisor.get("chain/store").unwrap().send_message(Order::Panic).unwrap();
    until(|| reader.starts() == 2 && reader.alive() == 1).await;
    assert_eq!((first.starts(), store.starts()), (1, 2));
    assert_eq!(reader.post_stops(), 1);
    let expected =
        ["start store", "start reader", "drop store", "stop reader", "drop reader", "start store", "start reader"];
    assert_eq!(*log.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn under_rest_for_one_who_waits_says_for_whom() {
    let supervisor = mk_root().await;
    let (store, reader) = (Record::default(), Record::default());
    store.fail_starts(1);
    let children = vec![store.spec("store"), reader.spec("reader")];
    supervisor.add(ChildSpec::supervisor("chain", Strategy::RestForOne, children)).await.unwrap();
    let status = find(&supervisor, "chain/reader");
    assert_eq!((status.state, status.reason.as_deref()), (State::Waiting, Some("waits for `store`")));
    until(|| reader.alive() == 1).await;
    assert_eq!(find(&supervisor, "chain/reader").reason, None);
}

#[tokio::test(start_paused = true)]
async fn a_child_tells_its_health_for_its_own_life_only() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    let first = record.reporter();
    first.degraded("stale data");
    let status = find(&supervisor, "a");
    assert_eq!((status.state, status.reason.as_deref()), (State::Degraded, Some("stale data")));
    first.waiting("no such type", Some(5 * SECOND));
    let status = find(&supervisor, "a");
    assert_eq!((status.state, status.next_attempt), (State::Waiting, Some(5000)));
    first.running();
    assert_eq!((state(&supervisor, "a"), find(&supervisor, "a").reason), (State::Running, None));
    supervisor.restart("a").await.unwrap();
    until(|| record.starts() == 2 && state(&supervisor, "a") == State::Running).await;
    first.degraded("from the past");
    assert_eq!(state(&supervisor, "a"), State::Running);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_said() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    let text = |result: Result<(), SupervisorError>| result.unwrap_err().to_string();
    let exists = text(supervisor.add(record.spec("a")).await);
    assert!(exists.starts_with("add the child `a`: a child of this name exists"), "{exists}");
    assert!(matches!(supervisor.add(record.spec("")).await, Err(SupervisorError::EmptyName { .. })));
    assert!(matches!(supervisor.add_to("a", record.spec("b")).await, Err(SupervisorError::NotASupervisor { .. })));
    assert!(matches!(supervisor.pause("no/such").await, Err(SupervisorError::NotFound { .. })));
    supervisor.shutdown(SECOND).await;
    assert!(matches!(supervisor.add(record.spec("b")).await, Err(SupervisorError::Down { .. })));
    assert!(matches!(supervisor.restart("a").await, Err(SupervisorError::Down { .. })));
    assert_eq!(record.starts(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_trees_with_the_same_names_do_not_meet() {
    let (one, two) = (mk_root().await, mk_root().await);
    let (a, b) = (Record::default(), Record::default());
    one.add(a.spec("same")).await.unwrap();
    two.add(b.spec("same")).await.unwrap();
    one.shutdown(SECOND).await;
    assert_eq!((a.alive(), b.alive()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_tree_is_plain_json() {
    let supervisor = Supervisor::start("root", Strategy::OneForOne, mk_env(1)).await.unwrap();
    let record = Record::default();
    supervisor.add(ChildSpec::supervisor("sources", Strategy::OneForOne, vec![record.spec("a")])).await.unwrap();
    supervisor.get("sources/a").unwrap().send_message(Order::Fail).unwrap();
    until(|| state(&supervisor, "sources/a") == State::BackingOff).await;
    let json = serde_json::to_value(supervisor.tree()).unwrap();
    assert_eq!((&json["name"], &json["path"], &json["state"]), (&"root".into(), &"".into(), &"running".into()));
    let child = &json["children"][0]["children"][0];
    assert_eq!(child["path"], "sources/a");
    assert_eq!(child["state"], "backing-off");
    assert_eq!(child["last_error"], "failed: told to fail: because of this");
    assert!(child["next_attempt"].as_u64().unwrap() <= 100);
}

#[tokio::test(start_paused = true)]
async fn metrics_say_who_is_up_and_how_often_it_was_restarted() {
    let (recorder, _guard) = worker::record_metrics();
    let supervisor = mk_root().await;
    let record = Record::default();
    let nested = ChildSpec::supervisor("sources", Strategy::OneForOne, vec![record.spec("a").backoff(mk_backoff())]);
    supervisor.add(nested).await.unwrap();
    let up = || recorder.get("tidegate_actor_up", "sources/a");
    let restarts = || recorder.get("tidegate_actor_restarts_total", "sources/a");
    assert_eq!((up(), restarts()), (1.0, 0.0));
    supervisor.get("sources/a").unwrap().send_message(Order::Panic).unwrap();
    until(|| state(&supervisor, "sources/a") == State::BackingOff).await;
    assert_eq!((up(), restarts()), (0.0, 0.0));
    until(|| state(&supervisor, "sources/a") == State::Running).await;
    assert_eq!((up(), restarts()), (1.0, 1.0));
    supervisor.remove("sources").await.unwrap();
    assert_eq!((up(), restarts()), (0.0, 1.0));
}
