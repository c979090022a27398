//! The laws of the work queue, in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::env::SeededRng;

fn mk_queue(options: WorkQueueOptions) -> WorkQueue<&'static str> {
    WorkQueue::new("test", options, &Env::system())
}

fn exact() -> WorkQueueOptions {
    let backoff =
        Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.0, ..Backoff::default() };
    WorkQueueOptions { backoff, rate: None, max_tries: None }
}

async fn take(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
    let work = queue.get().await?;
    let key = *work.key();
    work.done();
    Some(key)
}

/// Whether nothing can be taken now.
async fn nothing(queue: &WorkQueue<&'static str>) -> bool {
    tokio::time::timeout(Duration::ZERO, queue.get()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_in_the_order_in_which_it_came() {
    let queue = mk_queue(exact());
    for key in ["b", "a", "b", "c"] {
        queue.add(key);
    }
    assert_eq!(queue.len(), 3);
    assert_eq!([take(&queue).await, take(&queue).await, take(&queue).await], [Some("b"), Some("a"), Some("c")]);
    assert!(nothing(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn higher_priorities_come_first_and_a_key_keeps_its_highest() {
    let queue = mk_queue(exact());
    queue.add("low");
    queue.add_with_priority("mid", 5);
    queue.add("late");
    queue.add_with_priority("late", 9);
    queue.add("late");
    queue.add_with_priority("low", 5);
    let order = [take(&queue).await, take(&queue).await, take(&queue).await];
    assert_eq!(order, [Some("late"), Some("low"), Some("mid")], "low came before mid and has its priority now");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_worked_on_twice_at_once_and_comes_again_if_it_was_added_meanwhile() {
    let queue = mk_queue(exact());
    queue.add("a");
    let work = queue.get().await.unwrap();
    queue.add("a");
    queue.add("a");
    assert!(nothing(&queue).await);
    work.done();
    assert_eq!(take(&queue).await, Some("a"));
    assert!(nothing(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_waits_is_woken() {
    let queue = mk_queue(exact());
    let (one, two) = (queue.clone(), queue.clone());
    let workers = [tokio::spawn(async move { take(&one).await }), tokio::spawn(async move { take(&two).await })];
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.add("a");
    queue.add("b");
    let mut taken = Vec::new();
    for worker in workers {
        taken.push(worker.await.unwrap().unwrap());
    }
    taken.sort_unstable();
    assert_eq!(taken, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_one_key_are_retried_ever_more_slowly_and_a_success_forgets_them() {
    let queue = mk_queue(exact());
    queue.add("a");
    let start = Instant::now();
    let mut at = Vec::new();
    for tries in 0..4 {
        let work = queue.get().await.unwrap();
        assert_eq!(work.tries(), tries);
        at.push(start.elapsed().as_secs());
        work.retry("no");
    }
    assert_eq!(at, [0, 1, 3, 7]);
    queue.get().await.unwrap().done();
    queue.add("a");
    assert_eq!(queue.get().await.unwrap().tries(), 0);
}

#[tokio::test(start_paused = true)]
async fn retries_of_all_keys_together_keep_to_the_rate() {
    let rate = Some(RateLimit { per_second: 0.5, burst: 1 });
    let queue = mk_queue(WorkQueueOptions { rate, ..exact() });
    let start = Instant::now();
    for key in ["a", "b", "c"] {
        queue.add(key);
        queue.get().await.unwrap().retry("no");
    }
    let mut at = Vec::new();
    for _ in 0..3 {
        queue.get().await.unwrap().done();
        at.push(start.elapsed().as_secs());
    }
    assert_eq!(at, [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_key_may_be_added_for_later_and_the_earliest_time_counts() {
    let queue = mk_queue(exact());
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(9));
    queue.add_after("a", Duration::from_secs(4));
    queue.add_after("a", Duration::from_secs(7));
    queue.add("b");
    assert_eq!(take(&queue).await, Some("b"));
    assert_eq!(start.elapsed().as_secs(), 0, "what is due now does not wait for what is due later");
    assert_eq!(take(&queue).await, Some("a"));
    assert_eq!(start.elapsed().as_secs(), 4);
    assert!(tokio::time::timeout(Duration::from_secs(60), queue.get()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_worker_notices_an_earlier_time() {
    let queue = mk_queue(exact());
    queue.add_after("late", Duration::from_secs(100));
    let other = queue.clone();
    let worker = tokio::spawn(async move { (take(&other).await, Instant::now()) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    queue.add_after("soon", Duration::from_secs(2));
    let (key, at) = worker.await.unwrap();
    assert_eq!((key, (at - start).as_secs()), (Some("soon"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_too_often_is_given_up_until_it_is_added_again() {
    let queue = mk_queue(WorkQueueOptions { max_tries: Some(2), ..exact() });
    let other = queue.clone();
    let outlet = tokio::spawn(async move { other.given_up().await });
    queue.add("a");
    queue.get().await.unwrap().retry("first");
    queue.get().await.unwrap().retry("second");
    let given_up = outlet.await.unwrap();
    assert_eq!(given_up, Some(GivenUp { key: "a", tries: 2, reason: "second".into() }));
    assert!(tokio::time::timeout(Duration::from_secs(1000), queue.get()).await.is_err());
    queue.add("a");
    assert_eq!(queue.get().await.unwrap().tries(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_its_last_try_fails_is_not_given_up() {
    let queue = mk_queue(WorkQueueOptions { max_tries: Some(1), ..exact() });
    queue.add("a");
    let work = queue.get().await.unwrap();
    queue.add("a");
    work.retry("no");
    assert_eq!(take(&queue).await, Some("a"));
    assert!(tokio::time::timeout(Duration::ZERO, queue.given_up()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_gives_its_key_back() {
    let queue = mk_queue(exact());
    queue.add("a");
    let other = queue.clone();
    let worker = tokio::spawn(async move {
        let _work = other.get().await.unwrap();
        panic!("injected");
    });
    assert!(worker.await.unwrap_err().is_panic());
    let work = queue.get().await.unwrap();
    assert_eq!((*work.key(), work.tries()), ("a", 1));
    work.done();
}

#[tokio::test(start_paused = true)]
async fn shutdown_drops_what_waits_and_sends_the_workers_home() {
    let queue = mk_queue(exact());
    let (one, two) = (queue.clone(), queue.clone());
    let worker = tokio::spawn(async move { take(&one).await });
    let outlet = tokio::spawn(async move { two.given_up().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.add_after("later", Duration::from_secs(1));
    queue.shutdown();
    assert_eq!((worker.await.unwrap(), outlet.await.unwrap()), (None, None));
    queue.add("a");
    assert!(queue.get().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_waits_and_retries_nothing() {
    let queue = mk_queue(exact());
    queue.add("a");
    queue.add("b");
    queue.add_after("later", Duration::from_secs(1));
    let work = queue.get().await.unwrap();
    let other = queue.clone();
    let drained = tokio::spawn(async move { other.drain().await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    queue.add("late");
    assert_eq!(take(&queue).await, Some("b"));
    assert!(!drained.is_finished(), "one key is still worked on");
    work.retry("no");
    drained.await.unwrap();
    assert!(queue.get().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_key_that_is_added_is_worked_on_after_its_last_add_and_never_twice_at_once() {
    for seed in 0..50 {
        let queue: WorkQueue<u64> = WorkQueue::new("test", exact(), &Env::system());
        let rng = Arc::new(SeededRng::new(seed));
        let added: Arc<[AtomicU32; 5]> = Arc::default();
        let worked: Arc<[AtomicU32; 5]> = Arc::default();
        let busy: Arc<[AtomicU32; 5]> = Arc::default();
        let mut workers = Vec::new();
        for _ in 0..3 {
            let (queue, rng, added) = (queue.clone(), rng.clone(), added.clone());
            let (worked, busy) = (worked.clone(), busy.clone());
            workers.push(tokio::spawn(async move {
                use crate::env::Rng as _;
                while let Some(work) = queue.get().await {
                    let at = *work.key() as usize;
                    assert_eq!(busy[at].fetch_add(1, Ordering::SeqCst), 0, "twice at once");
                    let seen = added[at].load(Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(rng.below(5))).await;
                    busy[at].fetch_sub(1, Ordering::SeqCst);
                    if rng.below(3) == 0 {
                        work.retry("no");
                    } else {
                        worked[at].store(seen, Ordering::SeqCst);
                        work.done();
                    }
                }
            }));
        }
        use crate::env::Rng as _;
        for _ in 0..100 {
            let key = rng.below(5);
            added[key as usize].fetch_add(1, Ordering::SeqCst);
            queue.add_with_priority(key, rng.below(3) as i32);
            tokio::time::sleep(Duration::from_millis(rng.below(3))).await;
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        queue.drain().await;
        for worker in workers {
            worker.await.unwrap();
        }
        for at in 0..5 {
            assert_eq!(worked[at].load(Ordering::SeqCst), added[at].load(Ordering::SeqCst), "seed {seed}, key {at}");
        }
    }
}

proptest! {
    #[test]
    fn the_state_never_hands_a_key_out_twice(ops in prop::collection::vec((0_u8..4, 0_u8..4, -2_i32..3), 0..80)) {
        let mut now = Instant::now();
        let mut state = State::new(exact(), now);
        let rng = SeededRng::new(1);
        let mut working = std::collections::BTreeSet::new();
        for (op, key, priority) in ops {
            match op {
                0 => state.add(key, priority),
                1 => state.add_at(key, priority, now + Duration::from_secs(2)),
                2 => {
                    if let Some((key, _)) = state.take(now) {
                        prop_assert!(working.insert(key), "worked on twice at once");
                    }
                }
                _ => {
                    if let Some(key) = working.pop_first() {
                        let outcome = if priority > 0 { Err("no".to_owned()) } else { Ok(()) };
                        state.finish(&key, outcome, now, &rng);
                    }
                    now += Duration::from_secs(1);
                }
            }
            prop_assert!(state.waiting() <= 4);
        }
        state.drain();
        while !state.is_idle() {
            if let Some((key, _)) = state.take(now) {
                prop_assert!(working.insert(key));
            }
            if let Some(key) = working.pop_first() {
                state.finish(&key, Ok(()), now, &rng);
            }
        }
        prop_assert!(state.is_over());
    }
}
