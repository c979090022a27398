//! Each transition of the machine, told what happens and asked what it does.

#![allow(clippy::unwrap_used)]

mod order;

use super::*;
use crate::env::SeededRng;
use crate::supervisor::{Backoff, BreakerPolicy, Intensity};

const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

/// A machine with a clock of its own.
struct Rig {
    machine: Machine,
    now: Instant,
    rng: SeededRng,
}

fn mk_policy() -> Policy {
    let backoff = Backoff { min: MIN, max: MAX, factor: 2.0, jitter: 0.0, reset_after: Duration::from_secs(60) };
    let intensity = Intensity { restarts: 1000, within: Duration::from_secs(3600) };
    Policy { backoff, intensity, ..Policy::default() }
}

fn mk_rig(strategy: Strategy) -> Rig {
    Rig { machine: Machine::new(strategy), now: Instant::now(), rng: SeededRng::new(1) }
}

/// A machine with running children 1, 2, ...
fn mk_running(strategy: Strategy, policies: &[Policy]) -> Rig {
    let mut rig = mk_rig(strategy);
    for (id, policy) in (1..).zip(policies) {
        rig.add(id, policy.clone());
        rig.started(id);
    }
    rig
}

fn mk_failure() -> ChildExit {
    ChildExit::Failed("no".to_owned())
}

impl Rig {
    fn step(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(self.now, event, &self.rng)
    }

    fn add(&mut self, id: ChildId, policy: Policy) -> Vec<Action> {
        self.step(Event::Add { id, policy, paused: false })
    }

    fn generation(&self, id: ChildId) -> u64 {
        self.machine.view(id).unwrap().generation
    }

    fn started(&mut self, id: ChildId) -> Vec<Action> {
        let generation = self.generation(id);
        self.step(Event::Started { id, generation })
    }

    fn exited(&mut self, id: ChildId, exit: ChildExit) -> Vec<Action> {
        let generation = self.generation(id);
        self.step(Event::Exited { id, generation, exit })
    }

    fn ask(&mut self, id: ChildId, order: Order) -> Vec<Action> {
        self.step(Event::Ask { id, order })
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Lets the child's timer fire at its time.
    fn due(&mut self, id: ChildId) -> Vec<Action> {
        let view = self.machine.view(id).unwrap();
        self.now = view.next_attempt.unwrap();
        self.step(Event::Due { id, generation: view.generation })
    }

    fn state(&self, id: ChildId) -> State {
        self.machine.view(id).unwrap().state
    }

    fn states(&self) -> Vec<State> {
        self.machine.children.iter().map(|child| self.state(child.id)).collect()
    }

    fn delay(&self, id: ChildId) -> Duration {
        self.machine.view(id).unwrap().next_attempt.unwrap() - self.now
    }

    fn start_of(&self, id: ChildId, again: bool) -> Action {
        Action::Start { id, generation: self.generation(id), again }
    }

    fn stop_of(&self, id: ChildId) -> Action {
        Action::Stop { id, generation: self.generation(id) }
    }
}

fn starts(actions: &[Action]) -> Vec<ChildId> {
    let start = |action: &Action| match action {
        Action::Start { id, .. } => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(start).collect()
}

fn stops(actions: &[Action]) -> Vec<ChildId> {
    let stop = |action: &Action| match action {
        Action::Stop { id, .. } => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(stop).collect()
}

/// backon counts in single precision.
fn about(duration: Duration, expected: Duration) {
    let off = duration.abs_diff(expected);
    assert!(off < Duration::from_millis(1), "{duration:?} is not about {expected:?}");
}

#[test]
fn a_new_child_is_started_at_once() {
    let mut rig = mk_rig(Strategy::OneForOne);
    let actions = rig.add(1, mk_policy());
    assert_eq!(actions, [rig.start_of(1, false)]);
    assert_eq!(rig.state(1), State::Starting);
    assert!(!rig.machine.is_settled());
    assert_eq!(rig.started(1), []);
    assert_eq!(rig.state(1), State::Running);
    assert!(rig.machine.is_settled());
}

#[test]
fn a_child_that_was_paused_in_an_earlier_life_of_its_supervisor_stays_paused() {
    let mut rig = mk_rig(Strategy::OneForOne);
    assert_eq!(rig.step(Event::Add { id: 1, policy: mk_policy(), paused: true }), []);
    assert_eq!(rig.state(1), State::Paused);
    assert_eq!(starts(&rig.ask(1, Order::Resume)), [1]);
}

#[test]
fn a_start_that_fails_is_backed_off_like_a_crash() {
    let mut rig = mk_rig(Strategy::OneForOne);
    rig.add(1, mk_policy());
    let actions = rig.exited(1, mk_failure());
    let at = rig.now + MIN;
    assert_eq!(actions[0], Action::Gone { id: 1, exit: mk_failure(), asked: false });
    let Action::Timer { id: 1, generation, at: set } = actions[1] else { panic!("{actions:?}") };
    about(set - rig.now, at - rig.now);
    assert_eq!(generation, rig.generation(1));
    assert_eq!(rig.state(1), State::BackingOff);
    assert_eq!(rig.due(1), [rig.start_of(1, true)]);
    assert_eq!(rig.machine.view(1).unwrap().restarts, 1);
}

#[test]
fn a_failure_touches_no_sibling() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy(), mk_policy(), mk_policy()]);
    let actions = rig.exited(2, ChildExit::Panicked("boom".to_owned()));
    assert_eq!(stops(&actions), [0_u64; 0]);
    assert_eq!(rig.states(), [State::Running, State::BackingOff, State::Running]);
}

#[test]
fn delays_grow_to_the_longest_and_begin_anew_after_a_stable_period() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    for expected in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
        rig.exited(1, mk_failure());
        about(rig.delay(1), Duration::from_millis(expected));
        rig.due(1);
        rig.started(1);
        rig.wait(Duration::from_secs(59));
    }
    rig.wait(Duration::from_secs(1));
    rig.exited(1, mk_failure());
    about(rig.delay(1), MIN);
}

#[test]
fn chance_only_shortens_a_delay() {
    let mut policy = mk_policy();
    policy.backoff.jitter = 0.5;
    let mut rig = mk_running(Strategy::OneForOne, &[policy]);
    let mut distinct = std::collections::BTreeSet::new();
    for _ in 0..50 {
        rig.ask(1, Order::Restart);
        rig.exited(1, ChildExit::Finished);
        rig.started(1);
        rig.exited(1, mk_failure());
        let delay = rig.delay(1);
        assert!(delay >= MIN / 2 && delay <= MIN + Duration::from_millis(1), "{delay:?}");
        distinct.insert(delay);
        rig.due(1);
        rig.started(1);
    }
    assert!(distinct.len() > 40, "{distinct:?}");
}

#[test]
fn the_restart_policy_decides_which_exits_are_followed_by_a_restart() {
    use ChildExit::{Finished, Killed};
    let cases = [
        (Restart::Permanent, Finished, State::BackingOff),
        (Restart::Permanent, mk_failure(), State::BackingOff),
        (Restart::Permanent, Killed, State::BackingOff),
        (Restart::Transient, Finished, State::Stopped),
        (Restart::Transient, mk_failure(), State::BackingOff),
        (Restart::Transient, Killed, State::BackingOff),
        (Restart::Temporary, Finished, State::Stopped),
        (Restart::Temporary, mk_failure(), State::Failed),
    ];
    for (restart, exit, expected) in cases {
        let mut rig = mk_running(Strategy::OneForOne, &[Policy { restart, ..mk_policy() }]);
        let actions = rig.exited(1, exit.clone());
        assert_eq!(rig.state(1), expected, "{restart:?} {exit}");
        assert_eq!(actions[0], Action::Gone { id: 1, exit, asked: false });
        assert_eq!(actions.len() > 1, expected == State::BackingOff);
    }
}

#[test]
fn a_core_child_that_fails_too_often_ends_its_supervisor_after_its_siblings_are_stopped() {
    let intensity = Intensity { restarts: 2, within: Duration::from_secs(60) };
    let core = Policy { escalate: true, intensity, ..mk_policy() };
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy(), core, mk_policy()]);
    for _ in 0..2 {
        rig.exited(2, mk_failure());
        rig.due(2);
        rig.started(2);
    }
    let actions = rig.exited(2, mk_failure());
    assert_eq!(stops(&actions), [3], "the last one first");
    assert_eq!(rig.states(), [State::Stopping, State::Failed, State::Stopping]);
    assert_eq!(stops(&rig.exited(3, ChildExit::Finished)), [1]);
    let error = "it ended 3 times within 60s, the last time it failed: no".to_owned();
    let last = rig.exited(1, ChildExit::Finished);
    assert_eq!(last.last(), Some(&Action::End(End::Escalated { id: 2, error })));
    assert_eq!(rig.states(), [State::Stopped, State::Failed, State::Stopped]);
}

#[test]
fn failures_that_are_long_ago_do_not_count_towards_the_intensity() {
    let intensity = Intensity { restarts: 2, within: Duration::from_secs(60) };
    let mut rig = mk_running(Strategy::OneForOne, &[Policy { escalate: true, intensity, ..mk_policy() }]);
    for _ in 0..20 {
        rig.exited(1, mk_failure());
        assert_eq!(rig.state(1), State::BackingOff);
        rig.due(1);
        rig.started(1);
        rig.wait(Duration::from_secs(31));
    }
}

#[test]
fn a_child_that_is_not_core_waits_the_longest_delay_when_it_fails_too_often() {
    let intensity = Intensity { restarts: 2, within: Duration::from_secs(60) };
    let mut rig = mk_running(Strategy::OneForOne, &[Policy { intensity, ..mk_policy() }]);
    let mut delays = Vec::new();
    for _ in 0..6 {
        rig.exited(1, mk_failure());
        delays.push(rig.delay(1));
        rig.due(1);
        rig.started(1);
    }
    about(delays[1], MIN * 2);
    for delay in &delays[2..] {
        about(*delay, MAX);
    }
    assert!(rig.machine.children[0].failures.len() <= 3, "what is remembered does not grow");
    assert!(!rig.machine.is_ending());
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_probes_once() {
    let breaker = BreakerPolicy { failures: 3, open_for: Duration::from_secs(120) };
    let mut rig = mk_running(Strategy::OneForOne, &[Policy { breaker: Some(breaker), ..mk_policy() }]);
    for _ in 0..2 {
        rig.exited(1, mk_failure());
        assert_eq!(rig.state(1), State::BackingOff);
        rig.due(1);
        rig.started(1);
    }
    rig.exited(1, mk_failure());
    assert_eq!(rig.state(1), State::Open);
    assert_eq!(rig.delay(1), Duration::from_secs(120));
    rig.due(1);
    rig.started(1);
    rig.exited(1, mk_failure());
    assert_eq!(rig.state(1), State::Open, "one failed probe opens it again");
    rig.due(1);
    rig.started(1);
    rig.wait(Duration::from_secs(60));
    rig.exited(1, mk_failure());
    assert_eq!(rig.state(1), State::BackingOff, "a probe that ran for a while closes it");
    about(rig.delay(1), MIN);
}

#[test]
fn a_pause_stops_a_child_and_a_resume_starts_it_with_its_failures_forgotten() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    for _ in 0..3 {
        rig.exited(1, mk_failure());
        rig.due(1);
        rig.started(1);
    }
    let actions = rig.ask(1, Order::Pause);
    assert_eq!(actions, [rig.stop_of(1)]);
    assert_eq!(rig.state(1), State::Stopping);
    let gone = rig.exited(1, ChildExit::Finished);
    assert_eq!(gone, [Action::Gone { id: 1, exit: ChildExit::Stopped, asked: true }]);
    assert_eq!(rig.state(1), State::Paused);
    assert_eq!(starts(&rig.ask(1, Order::Resume)), [1]);
    rig.started(1);
    rig.exited(1, mk_failure());
    about(rig.delay(1), MIN);
}

#[test]
fn a_resume_of_what_is_not_paused_does_nothing() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy(), mk_policy()]);
    rig.exited(2, mk_failure());
    assert_eq!(rig.ask(1, Order::Resume), []);
    assert_eq!(rig.ask(2, Order::Resume), []);
    assert_eq!(rig.states(), [State::Running, State::BackingOff]);
}

#[test]
fn a_timer_of_the_past_is_ignored() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    rig.exited(1, mk_failure());
    let generation = rig.generation(1);
    rig.ask(1, Order::Pause);
    assert_eq!(rig.step(Event::Due { id: 1, generation }), [], "paused meanwhile");
    rig.ask(1, Order::Restart);
    assert_eq!(rig.step(Event::Due { id: 1, generation }), [], "restarted meanwhile");
    rig.started(1);
    rig.ask(1, Order::Remove);
    rig.exited(1, ChildExit::Finished);
    assert_eq!(rig.step(Event::Due { id: 1, generation }), [], "removed meanwhile");
}

#[test]
fn an_exit_of_an_earlier_life_is_ignored() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    let generation = rig.generation(1);
    rig.exited(1, mk_failure());
    rig.due(1);
    rig.started(1);
    assert_eq!(rig.step(Event::Exited { id: 1, generation, exit: ChildExit::Killed }), []);
    assert_eq!(rig.state(1), State::Running);
}

#[test]
fn a_restart_by_hand_waits_for_the_end_of_the_old_life() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    let actions = rig.ask(1, Order::Restart);
    assert_eq!(actions, [rig.stop_of(1)]);
    assert_eq!(starts(&rig.exited(1, ChildExit::Killed)), [1]);
    assert_eq!(rig.machine.view(1).unwrap().last_exit, Some(ChildExit::Killed));
}

#[test]
fn a_restart_by_hand_cuts_any_wait_short() {
    let breaker = Some(BreakerPolicy { failures: 1, open_for: MAX });
    let temporary = Policy { restart: Restart::Temporary, ..mk_policy() };
    let policies = [mk_policy(), Policy { breaker, ..mk_policy() }, temporary, mk_policy()];
    let mut rig = mk_running(Strategy::OneForOne, &policies);
    rig.exited(1, mk_failure());
    rig.exited(2, mk_failure());
    rig.exited(3, mk_failure());
    rig.ask(4, Order::Pause);
    rig.exited(4, ChildExit::Finished);
    assert_eq!(rig.states(), [State::BackingOff, State::Open, State::Failed, State::Paused]);
    for id in 1..=4 {
        assert_eq!(starts(&rig.ask(id, Order::Restart)), [id]);
    }
}

#[test]
fn the_last_order_counts_while_a_child_is_on_its_way_down() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    rig.ask(1, Order::Restart);
    assert_eq!(rig.ask(1, Order::Pause), [], "it has been told to stop already");
    rig.exited(1, ChildExit::Finished);
    assert_eq!(rig.state(1), State::Paused);
    rig.ask(1, Order::Resume);
    rig.started(1);
    rig.ask(1, Order::Pause);
    rig.ask(1, Order::Resume);
    assert_eq!(starts(&rig.exited(1, ChildExit::Finished)), [1]);
    rig.started(1);
    rig.ask(1, Order::Remove);
    rig.ask(1, Order::Restart);
    let actions = rig.exited(1, ChildExit::Finished);
    assert_eq!(actions.last(), Some(&Action::Forget { id: 1 }), "a removal is final");
}

#[test]
fn a_child_that_is_down_is_removed_at_once() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    rig.exited(1, mk_failure());
    assert_eq!(rig.ask(1, Order::Remove), [Action::Forget { id: 1 }]);
    assert_eq!(rig.machine.view(1), None);
}

#[test]
fn a_start_that_works_although_it_was_cancelled_is_stopped() {
    let mut rig = mk_rig(Strategy::OneForOne);
    rig.add(1, mk_policy());
    let stop = rig.stop_of(1);
    assert_eq!(rig.ask(1, Order::Pause), std::slice::from_ref(&stop));
    assert_eq!(rig.started(1), [stop]);
    assert_eq!(rig.state(1), State::Stopping);
    rig.exited(1, ChildExit::Finished);
    assert_eq!(rig.state(1), State::Paused);
}

#[test]
fn a_start_that_comes_back_after_it_was_given_up_for_lost_concerns_nobody() {
    let mut rig = mk_rig(Strategy::OneForOne);
    rig.add(1, mk_policy());
    let generation = rig.generation(1);
    rig.ask(1, Order::Pause);
    rig.exited(1, ChildExit::Killed);
    assert!(!rig.machine.is_current(1, generation));
    assert_eq!(rig.step(Event::Started { id: 1, generation }), []);
    assert_eq!(rig.state(1), State::Paused);
}

#[test]
fn a_crash_on_the_way_down_is_no_failure_but_is_remembered() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    rig.ask(1, Order::Pause);
    let exit = ChildExit::Panicked("while stopping".to_owned());
    assert_eq!(rig.exited(1, exit.clone()), [Action::Gone { id: 1, exit: exit.clone(), asked: true }]);
    assert_eq!(rig.state(1), State::Paused);
    assert_eq!(rig.machine.view(1).unwrap().last_exit, Some(exit));
}
