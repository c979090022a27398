//! An async loop as a child.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tidegate_actors::supervisor::{ChildSpec, Restart, State};

use crate::worker::{mk_backoff, mk_root, until};
use crate::{SECOND, find, state};

/// Counts lives: one more while it exists.
struct Alive(Arc<AtomicI64>);

impl Alive {
    fn begin(count: &Arc<AtomicI64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_asked_to_stop_and_awaited() {
    let supervisor = mk_root().await;
    let tidied = Arc::new(AtomicU64::new(0));
    let count = tidied.clone();
    let spec = ChildSpec::task("loop", move |context| {
        let count = count.clone();
        async move {
            context.stop.stopped().await;
            tokio::time::sleep(SECOND).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    supervisor.add(spec).await.unwrap();
    supervisor.pause("loop").await.unwrap();
    assert_eq!(tidied.load(Ordering::SeqCst), 1);
    assert_eq!((state(&supervisor, "loop"), find(&supervisor, "loop").last_error), (State::Paused, None));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_listen_is_aborted_with_its_actor() {
    let supervisor = mk_root().await;
    let alive = Arc::new(AtomicI64::new(0));
    let count = alive.clone();
    let spec = ChildSpec::task("deaf", move |_| {
        let guard = Alive::begin(&count);
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok(())
        }
    });
    supervisor.add(spec.stop_timeout(2 * SECOND)).await.unwrap();
    until(|| alive.load(Ordering::SeqCst) == 1).await;
    supervisor.remove("deaf").await.unwrap();
    until(|| alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_way_a_task_ends_has_a_name() {
    let supervisor = mk_root().await;
    let cases = [
        (0, "finished", State::Stopped),
        (1, "failed: no upstream", State::Failed),
        (2, "panicked: out of luck", State::Failed),
        (3, "panicked: before there is a future", State::Failed),
    ];
    for (case, expected, end) in cases {
        let spec = ChildSpec::task("a", move |_| {
            assert!(case != 3, "before there is a future");
            async move {
                match case {
                    0 => Ok(()),
                    1 => Err("no upstream".into()),
                    _ => panic!("out of luck"),
                }
            }
        });
        supervisor.add(spec.restart(Restart::Temporary)).await.unwrap();
        until(|| state(&supervisor, "a") == end).await;
        assert_eq!(find(&supervisor, "a").last_error.as_deref(), Some(expected));
        supervisor.remove("a").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_task_is_run_again_and_tells_its_health() {
    let supervisor = mk_root().await;
    let runs = Arc::new(AtomicU64::new(0));
    let count = runs.clone();
    let spec = ChildSpec::task("a", move |context| {
        let run = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if run < 2 {
                return Err("not yet".into());
            }
            context.reporter.degraded("only just");
            context.stop.stopped().await;
            assert!(context.stop.is_stopped());
            Ok(())
        }
    });
    supervisor.add(spec.backoff(mk_backoff())).await.unwrap();
    until(|| state(&supervisor, "a") == State::Degraded).await;
    let status = find(&supervisor, "a");
    assert_eq!((runs.load(Ordering::SeqCst), status.restarts), (3, 2));
    assert_eq!(status.reason.as_deref(), Some("only just"));
    tokio::time::timeout(Duration::from_millis(1), supervisor.pause("a")).await.unwrap().unwrap();
}
