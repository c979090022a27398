//! Random schedules of crashes, pauses, resumes, restarts, removes and additions. One seed, one schedule: a
//! failing one is replayed with TIDEGATE_SEED, and TIDEGATE_SEEDS asks for more of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_actors::env::{Rng, SeededRng};
use tidegate_actors::supervisor::{BreakerPolicy, ChildSpec, Exit, Intensity, State, Strategy, Supervisor};

use crate::find;
use crate::worker::{Order, Record, mk_env, until};

const SEEDS: u64 = 300;
const STEPS: u64 = 60;

/// A child as the schedule knows it.
struct Known {
    record: Record,
    paused: bool,
}

struct Schedule {
    rng: SeededRng,
    /// Of the nested supervisor; the root is one-for-one.
    strategy: Strategy,
    supervisor: Supervisor,
    known: BTreeMap<String, Known>,
    removed: Vec<Record>,
    names: u64,
}

#[test]
fn after_any_schedule_every_unpaused_child_runs_and_a_shutdown_leaves_none_alive() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let seeds = match number("TIDEGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SEEDS").unwrap_or(SEEDS),
    };
    // Injected panics are meant; their backtraces would bury a real one.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"told to panic") {
            hook(info);
        }
    }));
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(run(seed))
        });
        assert!(run.is_ok(), "replay with TIDEGATE_SEED={seed}");
    }
}

#[test]
fn a_schedule_replays_exactly() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(7))
    };
    let first = run();
    assert!(!first.is_empty());
    assert_eq!(first, run());
}

/// Runs one schedule, checks it, and gives its end state.
async fn run(seed: u64) -> String {
    let rng = SeededRng::new(seed);
    let strategy = if rng.below(2) == 0 { Strategy::OneForOne } else { Strategy::RestForOne };
    let supervisor = Supervisor::start("root", Strategy::OneForOne, mk_env(seed ^ 0xabcd)).await.unwrap();
    supervisor.add(ChildSpec::supervisor("nested", strategy, Vec::new())).await.unwrap();
    let mut schedule = Schedule { rng, strategy, supervisor, known: BTreeMap::new(), removed: Vec::new(), names: 0 };
    for _ in 0..5 {
        schedule.add().await;
    }
    for _ in 0..STEPS {
        schedule.step().await;
        let pause = schedule.rng.below(3) * schedule.rng.below(400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    schedule.check().await
}

impl Schedule {
    async fn add(&mut self) {
        self.names += 1;
        let parent = if self.rng.below(2) == 0 { "" } else { "nested" };
        // Padded, so that names sort in order of addition.
        let name = format!("w{:03}", self.names);
        let record = Record::default();
        record.fail_starts(self.rng.below(3) * self.rng.below(4));
        let mut spec = record.spec(&name).intensity(Intensity { restarts: 4, within: Duration::from_secs(60) });
        if self.rng.below(3) == 0 {
            spec = spec.breaker(BreakerPolicy { failures: 3, open_for: Duration::from_secs(5) });
        }
        self.supervisor.add_to(parent, spec).await.unwrap();
        let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        self.known.insert(path, Known { record, paused: false });
    }

    async fn step(&mut self) {
        if self.known.is_empty() {
            return self.add().await;
        }
        let nth = self.rng.below(self.known.len() as u64) as usize;
        let path = self.known.keys().nth(nth).unwrap().clone();
        let known = self.known.get_mut(&path).unwrap();
        match self.rng.below(16) {
            0 => self.add().await,
            1 => {
                // Half of the removals are left to run while the schedule goes on.
                let known = self.known.remove(&path).unwrap();
                self.removed.push(known.record);
                self.in_background_or_not(move |supervisor| async move { supervisor.remove(&path).await.unwrap() })
                    .await;
            }
            2 | 3 => {
                known.paused = true;
                self.in_background_or_not(move |supervisor| async move { supervisor.pause(&path).await.unwrap() })
                    .await;
            }
            4 | 5 => {
                known.paused = false;
                self.supervisor.resume(&path).await.unwrap();
            }
            6 => {
                known.paused = false;
                self.supervisor.restart(&path).await.unwrap();
            }
            7 => known.record.hang_in_stop(self.rng.below(2) == 0),
            8 => known.record.fail_starts(self.rng.below(5)),
            _ => {
                let orders = [Order::Fail, Order::Panic, Order::Die, Order::Finish, Order::Hang, Order::Count];
                let order = orders[self.rng.below(6) as usize];
                if let Some(cell) = self.supervisor.get(&path) {
                    // It may have ended since.
                    let _ = cell.send_message(order);
                }
            }
        }
    }

    async fn in_background_or_not<F: Future<Output = ()> + Send + 'static>(&self, ask: impl FnOnce(Supervisor) -> F) {
        let asked = ask(self.supervisor.clone());
        if self.rng.below(2) == 0 {
            // The order itself is given now; only its end is not awaited.
            let mut asked = Box::pin(asked);
            if futures::poll!(&mut asked).is_pending() {
                tokio::spawn(asked);
            }
        } else {
            asked.await;
        }
    }

    /// What each child should end up as: under rest-for-one, those after a paused one wait for it.
    fn expected(&self) -> BTreeMap<String, State> {
        let mut held = false;
        let expect = |(path, known): (&String, &Known)| {
            let ordered = self.strategy == Strategy::RestForOne && path.starts_with("nested/");
            let state = match known.paused {
                true => State::Paused,
                false if ordered && held => State::Waiting,
                false => State::Running,
            };
            held |= ordered && known.paused;
            (path.clone(), state)
        };
        self.known.iter().map(expect).collect()
    }

    async fn check(self) -> String {
        let expected = self.expected();
        let Self { supervisor, known, removed, .. } = self;
        for (path, Known { record, .. }) in &known {
            let alive = i64::from(expected[path] == State::Running);
            until(|| find(&supervisor, path).state == expected[path] && record.alive() == alive).await;
        }
        // What runs goes on running, and what is paused stays so.
        tokio::time::sleep(Duration::from_secs(300)).await;
        for (path, Known { record, .. }) in &known {
            let status = find(&supervisor, path);
            let runs = expected[path] == State::Running;
            assert_eq!(status.state, expected[path], "{path}");
            assert_eq!(record.alive(), i64::from(runs), "{path}");
            assert!(record.most_alive() <= 1, "{path}: two lives at one time");
            // A start that was cancelled before the actor came to it is counted by the supervisor alone.
            assert!(record.starts() <= status.restarts + 1, "{path}: {} starts, {status:?}", record.starts());
            assert_eq!(supervisor.get(path).is_some(), runs, "{path}");
        }
        assert_eq!(removed.iter().map(Record::alive).sum::<i64>(), 0, "removed ones stay away");
        let end = format!("{:?}", supervisor.tree());
        supervisor.shutdown(Duration::from_secs(600)).await;
        assert_eq!(supervisor.ended().await, Exit::Stopped);
        for (path, Known { record, .. }) in &known {
            assert_eq!(record.alive(), 0, "{path} outlived the shutdown");
        }
        end
    }
}
