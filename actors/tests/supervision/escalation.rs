//! What happens when a core child cannot be kept running, and what a nested supervisor's restart keeps.

use tidegate_actors::supervisor::{ChildSpec, Exit, Intensity, State, Strategy};

use crate::worker::{Order, Record, mk_backoff, mk_root, until};
use crate::{SECOND, find, state};

fn mk_intensity(restarts: u32) -> Intensity {
    Intensity { restarts, within: 60 * SECOND }
}

#[tokio::test(start_paused = true)]
async fn a_core_child_that_fails_too_often_ends_the_root_with_a_clear_message() {
    let supervisor = mk_root().await;
    let (core, sibling) = (Record::default(), Record::default());
    supervisor.add(sibling.spec("sibling")).await.unwrap();
    core.fail_starts(u64::MAX);
    supervisor.add(core.spec("store").intensity(mk_intensity(3)).escalate(true)).await.unwrap();
    let exit = supervisor.ended().await;
    let error = "it ended 4 times within 60s, the last time it failed: cannot start".to_owned();
    assert_eq!(exit, Exit::Escalated { child: "store".to_owned(), error });
    let text =
        "core actor `store` cannot be kept running: it ended 4 times within 60s, the last time it failed: cannot start";
    assert_eq!(exit.to_string(), text);
    assert_eq!(core.starts(), 4);
    assert_eq!((sibling.alive(), sibling.post_stops()), (0, 1), "its sibling was stopped in order");
    assert_eq!((supervisor.tree().state, state(&supervisor, "store")), (State::Failed, State::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_not_core_never_ends_anybody() {
    let supervisor = mk_root().await;
    let (poor, sibling) = (Record::default(), Record::default());
    poor.fail_starts(u64::MAX);
    supervisor.add(sibling.spec("sibling")).await.unwrap();
    supervisor.add(poor.spec("poor").intensity(mk_intensity(3))).await.unwrap();
    tokio::time::sleep(3600 * SECOND).await;
    let tries = poor.starts();
    assert!((300..400).contains(&tries), "about every 10 s, the longest delay: {tries}");
    assert_eq!((sibling.starts(), supervisor.tree().state), (1, State::Running));
    poor.fail_starts(0);
    until(|| state(&supervisor, "poor") == State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_fails_is_restarted_with_all_its_children() {
    let supervisor = mk_root().await;
    let (core, first, added, removed, outside) =
        (Record::default(), Record::default(), Record::default(), Record::default(), Record::default());
    let core_spec = core.spec("core").intensity(mk_intensity(1)).escalate(true);
    let children = vec![first.spec("first"), removed.spec("removed"), core_spec];
    let nested = ChildSpec::supervisor("nested", Strategy::OneForOne, children);
    supervisor.add(nested.backoff(mk_backoff())).await.unwrap();
    supervisor.add(outside.spec("outside")).await.unwrap();
    supervisor.add_to("nested", added.spec("added")).await.unwrap();
    supervisor.remove("nested/removed").await.unwrap();
    supervisor.pause("nested/first").await.unwrap();
    for _ in 0..2 {
        until(|| core.alive() == 1 && supervisor.get("nested/core").is_some()).await;
        supervisor.get("nested/core").unwrap().send_message(Order::Fail).unwrap();
        until(|| core.alive() == 0).await;
    }
    until(|| state(&supervisor, "nested") == State::BackingOff).await;
    assert_eq!((added.alive(), added.post_stops()), (0, 1), "stopped in order before");
    let error = find(&supervisor, "nested").last_error.unwrap();
    assert!(error.starts_with("failed: core actor `nested/core` cannot be kept running"), "{error}");
    until(|| added.alive() == 1 && core.alive() == 1).await;
    assert_eq!((find(&supervisor, "nested").restarts, added.starts(), outside.starts()), (1, 2, 1));
    assert_eq!((state(&supervisor, "nested/first"), first.starts()), (State::Paused, 1), "a pause by hand holds");
    assert_eq!((removed.starts(), supervisor.tree().find("nested/removed")), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_escalation_goes_up_as_far_as_there_are_core_supervisors() {
    let supervisor = mk_root().await;
    let core = Record::default();
    core.fail_starts(u64::MAX);
    let inner = vec![core.spec("core").intensity(mk_intensity(0)).escalate(true)];
    let inner = ChildSpec::supervisor("inner", Strategy::OneForOne, inner).intensity(mk_intensity(0)).escalate(true);
    let outer = ChildSpec::supervisor("outer", Strategy::OneForOne, vec![inner]);
    supervisor.add(outer.intensity(mk_intensity(1)).escalate(true)).await.unwrap();
    let Exit::Escalated { child, error } = supervisor.ended().await else { panic!("it ended otherwise") };
    assert_eq!((child.as_str(), core.starts()), ("outer", 2));
    let whole = "it ended 2 times within 60s, the last time it failed: core actor `outer/inner` cannot be kept \
                 running: it ended 1 times within 60s, the last time it failed: core actor `outer/inner/core` cannot \
                 be kept running: it ended 1 times within 60s, the last time it failed: cannot start";
    assert_eq!(error, whole);
}

#[tokio::test(start_paused = true)]
async fn a_killed_nested_supervisor_takes_its_children_with_it_and_brings_them_back() {
    let supervisor = mk_root().await;
    let record = Record::default();
    let nested = ChildSpec::supervisor("nested", Strategy::OneForOne, vec![record.spec("a")]);
    supervisor.add(nested.backoff(mk_backoff())).await.unwrap();
    let earlier = record.reporter();
    supervisor.get("nested").unwrap().kill();
    until(|| state(&supervisor, "nested") == State::BackingOff).await;
    assert_eq!((state(&supervisor, "nested/a"), supervisor.get("nested/a").is_some()), (State::Stopped, false));
    assert!(supervisor.pause("nested/a").await.is_err(), "nobody is there to do it");
    until(|| record.starts() == 2 && record.alive() == 1).await;
    assert_eq!(record.most_alive(), 1);
    until(|| state(&supervisor, "nested/a") == State::Running).await;
    earlier.degraded("from a life under the supervisor before");
    assert_eq!(state(&supervisor, "nested/a"), State::Running);
    assert_eq!(find(&supervisor, "nested").last_error.as_deref(), Some("killed"));
}
