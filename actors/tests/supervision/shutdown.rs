//! How a tree ends on purpose.

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::supervisor::{ChildSpec, Exit, State, Strategy};
use tokio::time::Instant;

use crate::worker::{Order, Record, mk_root, until};
use crate::{SECOND, find, state};

#[tokio::test(start_paused = true)]
async fn children_stop_in_reverse_order_of_their_start_each_awaited() {
    let supervisor = mk_root().await;
    let record = Record::default();
    let log = record.log();
    supervisor.add(record.spec("a")).await.unwrap();
    let nested = vec![record.spec_in("b", &log), record.spec_in("c", &log)];
    supervisor.add(ChildSpec::supervisor("nested", Strategy::OneForOne, nested)).await.unwrap();
    supervisor.add(record.spec("d")).await.unwrap();
    log.lock().clear();
    supervisor.shutdown(10 * SECOND).await;
    assert_eq!(*log.lock(), ["stop d", "drop d", "stop c", "drop c", "stop b", "drop b", "stop a", "drop a"]);
    assert_eq!(supervisor.ended().await, Exit::Stopped);
    assert_eq!((record.alive(), supervisor.tree().state), (0, State::Stopped));
    for path in ["a", "nested", "nested/b", "nested/c", "d"] {
        assert_eq!(state(&supervisor, path), State::Stopped);
        assert!(supervisor.get(path).is_none());
    }
    assert!(supervisor.get("").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_is_killed_at_its_own_timeout_and_the_rest_stops_in_order() {
    let supervisor = mk_root().await;
    let (before, hanging, after) = (Record::default(), Record::default(), Record::default());
    hanging.hang_in_stop(true);
    supervisor.add(before.spec("before")).await.unwrap();
    let nested = vec![hanging.spec("hanging").stop_timeout(7 * SECOND)];
    supervisor.add(ChildSpec::supervisor("nested", Strategy::OneForOne, nested)).await.unwrap();
    supervisor.add(after.spec("after")).await.unwrap();
    let start = Instant::now();
    supervisor.shutdown(60 * SECOND).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(supervisor.ended().await, Exit::Stopped);
    assert_eq!((before.post_stops(), hanging.post_stops(), after.post_stops()), (1, 0, 1));
    assert_eq!(find(&supervisor, "nested/hanging").last_error.as_deref(), Some("killed"));
    assert_eq!(find(&supervisor, "nested").last_error, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_killed() {
    let supervisor = mk_root().await;
    let (early, hanging) = (Record::default(), Record::default());
    hanging.hang_in_stop(true);
    supervisor.add(early.spec("early")).await.unwrap();
    let nested = vec![hanging.spec("hanging").stop_timeout(3600 * SECOND)];
    supervisor.add(ChildSpec::supervisor("nested", Strategy::OneForOne, nested)).await.unwrap();
    let start = Instant::now();
    supervisor.shutdown(3 * SECOND).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(supervisor.ended().await, Exit::Killed);
    assert_eq!((early.alive(), hanging.alive(), early.post_stops()), (0, 0, 0));
    assert_eq!(state(&supervisor, "nested/hanging"), State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cancels_starts_and_timers() {
    let supervisor = mk_root().await;
    let (starting, failing, busy) = (Record::default(), Record::default(), Record::default());
    failing.fail_starts(u64::MAX);
    starting.hang_in_start(true);
    supervisor.add(failing.spec("failing")).await.unwrap();
    supervisor.add(busy.spec("busy").stop_timeout(SECOND)).await.unwrap();
    supervisor.get("busy").unwrap().send_message(Order::Hang).unwrap();
    let adding = supervisor.clone();
    let spec = starting.spec("starting");
    tokio::spawn(async move { adding.add(spec).await });
    until(|| starting.starts() == 1).await;
    let tries = failing.starts();
    supervisor.shutdown(10 * SECOND).await;
    assert_eq!(supervisor.ended().await, Exit::Stopped);
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!((starting.alive(), busy.alive(), failing.starts()), (0, 0, tries));
}

#[tokio::test(start_paused = true)]
async fn a_root_that_somebody_stops_or_kills_leaves_no_child_alive() {
    for kill in [false, true] {
        let supervisor = mk_root().await;
        let record = Record::default();
        supervisor.add(record.spec("a")).await.unwrap();
        let nested = vec![record.spec("b")];
        supervisor.add(ChildSpec::supervisor("nested", Strategy::OneForOne, nested)).await.unwrap();
        let root = supervisor.get("").unwrap();
        if kill {
            root.kill();
        } else {
            root.stop(None);
        }
        assert_eq!(supervisor.ended().await, if kill { Exit::Killed } else { Exit::Stopped });
        until(|| record.alive() == 0).await;
        assert_eq!(record.post_stops(), if kill { 0 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_twice_is_a_shutdown_once() {
    let supervisor = mk_root().await;
    let record = Record::default();
    supervisor.add(record.spec("a")).await.unwrap();
    tokio::join!(supervisor.shutdown(SECOND), supervisor.shutdown(SECOND));
    tokio::time::timeout(Duration::from_millis(1), supervisor.shutdown(SECOND)).await.unwrap();
    assert_eq!((record.post_stops(), supervisor.ended().await), (1, Exit::Stopped));
}

/// A child often captures the handle of its own tree, to add others; then nobody else could let go of either.
#[tokio::test(start_paused = true)]
async fn a_tree_that_has_ended_holds_nothing_that_its_children_captured() {
    let supervisor = mk_root().await;
    let captured = Arc::new(supervisor.clone());
    let task = |name: &'static str| {
        let captured = captured.clone();
        ChildSpec::task(name, move |context| {
            let captured = captured.clone();
            async move {
                context.stop.stopped().await;
                drop(captured);
                Ok(())
            }
        })
    };
    supervisor.add(task("a")).await.unwrap();
    supervisor.add(ChildSpec::supervisor("nested", Strategy::OneForOne, vec![task("b")])).await.unwrap();
    supervisor.add_to("nested", task("c")).await.unwrap();
    assert!(Arc::strong_count(&captured) > 6);
    supervisor.shutdown(10 * SECOND).await;
    assert_eq!(Arc::strong_count(&captured), 1);
    assert_eq!(state(&supervisor, "nested/c"), State::Stopped, "it still says how they stood");
}
