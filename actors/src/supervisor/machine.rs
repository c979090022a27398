//! The supervisor's decisions as a pure state machine: an event and the time go in, actions come out. It
//! starts no actor, sets no timer and knows no names; randomness comes in as an argument.
//!
//! Laws: a child is started only when its earlier life is over; what concerns an earlier start or an earlier
//! timer (an older generation) is ignored; every child that is down for a while has exactly one way up.

mod child;

use std::time::Duration;

use tokio::time::Instant;

use child::{Child, Phase, Then};

use super::breaker::{Breaker, BreakerState};
use super::exit::ChildExit;
use super::policy::{Policy, Restart, Strategy};
use super::status::State;
use crate::env::Rng;

pub(super) type ChildId = u64;

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A child is new; one that was paused in an earlier life of its supervisor stays so.
    Add { id: ChildId, policy: Policy, paused: bool },
    /// A start worked.
    Started { id: ChildId, generation: u64 },
    /// A start did not work, or what was started is gone.
    Exited { id: ChildId, generation: u64, exit: ChildExit },
    /// A timer fired.
    Due { id: ChildId, generation: u64 },
    /// Somebody asks for it by hand.
    Ask { id: ChildId, order: Order },
    /// The supervisor should end.
    Shutdown,
}

/// What can be asked for by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Pause,
    Resume,
    Restart,
    Remove,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a child; its outcome is a `Started` or an `Exited` of this generation.
    Start { id: ChildId, generation: u64, again: bool },
    /// Stop a child, or cancel its start; its end is an `Exited` of this generation.
    Stop { id: ChildId, generation: u64 },
    /// Send `Due` at a time.
    Timer { id: ChildId, generation: u64, at: Instant },
    /// A child is down; `asked` when that was wanted.
    Gone { id: ChildId, exit: ChildExit, asked: bool },
    /// Forget a child.
    Forget { id: ChildId },
    /// Nothing is left alive: end.
    End(End),
}

/// How the supervisor ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Escalated { id: ChildId, error: String },
}

/// What is shown of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) generation: u64,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<ChildExit>,
    pub(super) next_attempt: Option<Instant>,
}

pub(super) struct Machine {
    strategy: Strategy,
    children: Vec<Child>,
    ending: Option<End>,
    ended: bool,
    actions: Vec<Action>,
}

impl Machine {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self { strategy, children: Vec::new(), ending: None, ended: false, actions: Vec::new() }
    }

    /// Whether it has begun to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether no first attempt to start is under way.
    pub(super) fn is_settled(&self) -> bool {
        !self.children.iter().any(|child| child.phase == Phase::Starting && child.starts == 1)
    }

    /// Whether that is the child's present life.
    pub(super) fn is_current(&self, id: ChildId, generation: u64) -> bool {
        self.current(id, generation).is_some()
    }

    pub(super) fn view(&self, id: ChildId) -> Option<View> {
        let child = &self.children[self.index(id)?];
        let (state, next_attempt) = match child.phase {
            Phase::Ready => (State::Waiting, None),
            Phase::Starting => (State::Starting, None),
            Phase::Running { .. } => (State::Running, None),
            Phase::BackingOff { until, open: false } => (State::BackingOff, Some(until)),
            Phase::BackingOff { until, open: true } => (State::Open, Some(until)),
            Phase::Stopping { .. } => (State::Stopping, None),
            Phase::Paused => (State::Paused, None),
            Phase::Stopped => (State::Stopped, None),
            Phase::Failed => (State::Failed, None),
        };
        Some(View {
            state,
            generation: child.generation,
            restarts: child.starts.saturating_sub(1),
            last_exit: child.last_exit.clone(),
            next_attempt,
        })
    }

    pub(super) fn step(&mut self, now: Instant, event: Event, rng: &dyn Rng) -> Vec<Action> {
        match event {
            Event::Add { id, policy, paused } => self.add(id, policy, paused),
            Event::Started { id, generation } => self.started(id, generation, now),
            Event::Exited { id, generation, exit } => self.exited(id, generation, exit, now, rng),
            Event::Due { id, generation } => self.due(id, generation, now),
            Event::Ask { id, order } => self.asked(id, order),
            Event::Shutdown => self.begin_to_end(End::Stopped),
        }
        self.settle();
        std::mem::take(&mut self.actions)
    }

    fn index(&self, id: ChildId) -> Option<usize> {
        self.children.iter().position(|child| child.id == id)
    }

    /// The child, if what happened concerns its present life.
    fn current(&self, id: ChildId, generation: u64) -> Option<usize> {
        self.index(id).filter(|index| self.children[*index].generation == generation)
    }

    fn add(&mut self, id: ChildId, policy: Policy, paused: bool) {
        if self.ending.is_some() {
            return;
        }
        self.children.push(Child::new(id, policy, paused));
    }

    fn started(&mut self, id: ChildId, generation: u64, now: Instant) {
        let Some(index) = self.current(id, generation) else { return };
        match self.children[index].phase {
            Phase::Starting => self.children[index].phase = Phase::Running { since: now },
            // Its start was to be cancelled, and was done before that was heard.
            Phase::Stopping { told: true, .. } => self.actions.push(Action::Stop { id, generation }),
            _ => {}
        }
    }

    fn exited(&mut self, id: ChildId, generation: u64, exit: ChildExit, now: Instant, rng: &dyn Rng) {
        let Some(index) = self.current(id, generation) else { return };
        match self.children[index].phase {
            Phase::Stopping { then, .. } => self.went_down(index, then, exit),
            Phase::Starting => self.fell_down(index, Duration::ZERO, exit, now, rng),
            Phase::Running { since } => self.fell_down(index, now.duration_since(since), exit, now, rng),
            _ => {}
        }
    }

    /// A child that was asked to stop is down.
    fn went_down(&mut self, index: usize, then: Then, exit: ChildExit) {
        let child = &mut self.children[index];
        // Should that life have been given up for lost, what it still says concerns nobody.
        child.generation += 1;
        let exit = if exit == ChildExit::Finished { ChildExit::Stopped } else { exit };
        self.actions.push(Action::Gone { id: child.id, exit: exit.clone(), asked: true });
        if exit.is_failure() {
            child.last_exit = Some(exit);
        }
        match then {
            Then::Start => child.phase = Phase::Ready,
            Then::Pause => child.phase = Phase::Paused,
            Then::End => child.phase = Phase::Stopped,
            Then::Remove => self.forget(index),
        }
    }

    /// A child that should run is down.
    fn fell_down(&mut self, index: usize, ran: Duration, exit: ChildExit, now: Instant, rng: &dyn Rng) {
        let child = &mut self.children[index];
        child.generation += 1;
        child.last_exit = Some(exit.clone());
        let again = match child.policy.restart {
            Restart::Permanent => true,
            Restart::Transient => exit.is_failure(),
            Restart::Temporary => false,
        };
        if !again {
            child.phase = if exit.is_failure() { Phase::Failed } else { Phase::Stopped };
            self.actions.push(Action::Gone { id: child.id, exit, asked: false });
            return;
        }
        let too_often = child.count_failure(ran, now);
        if too_often && child.policy.escalate {
            child.phase = Phase::Failed;
            let Policy { intensity, .. } = child.policy;
            let times = child.failures.len();
            let error = format!("it ended {times} times within {:?}, the last time it {exit}", intensity.within);
            let end = End::Escalated { id: child.id, error };
            self.actions.push(Action::Gone { id: child.id, exit, asked: false });
            self.begin_to_end(end);
            return;
        }
        let delay = if too_often { child.delays.longest(rng) } else { child.delays.next(rng) };
        let opened = child.breaker.as_ref().map(Breaker::state);
        let (until, open) = match opened {
            Some(BreakerState::Open { until }) => (until, true),
            _ => (now + delay, false),
        };
        child.phase = Phase::BackingOff { until, open };
        let (id, generation) = (child.id, child.generation);
        self.actions.push(Action::Gone { id, exit, asked: false });
        self.actions.push(Action::Timer { id, generation, at: until });
        self.take_down_after(index);
    }

    fn due(&mut self, id: ChildId, generation: u64, now: Instant) {
        let Some(index) = self.current(id, generation) else { return };
        let child = &mut self.children[index];
        if let Phase::BackingOff { open, .. } = child.phase {
            if let Some(breaker) = child.breaker.as_mut().filter(|_| open) {
                // The timer is the breaker's own time, so this is the probe.
                breaker.permit(now);
            }
            child.phase = Phase::Ready;
        }
    }

    fn asked(&mut self, id: ChildId, order: Order) {
        let Some(index) = self.index(id) else { return };
        if self.ending.is_some() {
            return;
        }
        if matches!(order, Order::Resume | Order::Restart) {
            let paused =
                matches!(self.children[index].phase, Phase::Paused | Phase::Stopping { then: Then::Pause, .. });
            if order == Order::Resume && !paused {
                return;
            }
            self.children[index].forgive();
        }
        let then = match order {
            Order::Pause => Then::Pause,
            Order::Resume | Order::Restart => Then::Start,
            Order::Remove => Then::Remove,
        };
        let child = &mut self.children[index];
        match child.phase {
            Phase::Starting | Phase::Running { .. } => {
                child.phase = Phase::Stopping { then, told: false };
                if order != Order::Remove {
                    self.take_down_after(index);
                }
            }
            // Whoever removed it waits for that.
            Phase::Stopping { then: Then::Remove | Then::End, .. } => {}
            Phase::Stopping { told, .. } => child.phase = Phase::Stopping { then, told },
            Phase::Ready | Phase::BackingOff { .. } | Phase::Paused | Phase::Stopped | Phase::Failed => {
                // A timer that is still set is now one of the past.
                child.generation += 1;
                match then {
                    Then::Pause => child.phase = Phase::Paused,
                    Then::Start => child.phase = Phase::Ready,
                    Then::Remove | Then::End => self.forget(index),
                }
            }
        }
    }

    fn forget(&mut self, index: usize) {
        let child = self.children.remove(index);
        self.actions.push(Action::Forget { id: child.id });
    }

    /// Under rest-for-one, those after a child that went down follow it, and come back after it.
    fn take_down_after(&mut self, index: usize) {
        if self.strategy == Strategy::OneForOne {
            return;
        }
        for child in &mut self.children[index + 1..] {
            match child.phase {
                Phase::Starting | Phase::Running { .. } => {
                    child.phase = Phase::Stopping { then: Then::Start, told: false };
                }
                Phase::BackingOff { .. } => {
                    child.generation += 1;
                    child.phase = Phase::Ready;
                }
                _ => {}
            }
        }
    }

    fn begin_to_end(&mut self, end: End) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(end);
        for child in &mut self.children {
            match child.phase {
                Phase::Starting | Phase::Running { .. } => {
                    child.phase = Phase::Stopping { then: Then::End, told: false };
                }
                Phase::Stopping { then: Then::Start, told } => {
                    child.phase = Phase::Stopping { then: Then::End, told };
                }
                Phase::Ready | Phase::BackingOff { .. } => {
                    child.generation += 1;
                    child.phase = Phase::Stopped;
                }
                Phase::Stopping { .. } | Phase::Paused | Phase::Stopped | Phase::Failed => {}
            }
        }
    }

    /// Does what has become possible: stops those whose turn it is, starts those whose turn it is, ends.
    fn settle(&mut self) {
        self.stop_in_order();
        if self.ending.is_none() {
            self.start_in_order();
            return;
        }
        let alive =
            |child: &Child| matches!(child.phase, Phase::Starting | Phase::Running { .. } | Phase::Stopping { .. });
        if !self.ended && !self.children.iter().any(alive) {
            self.ended = true;
            self.actions.extend(self.ending.clone().map(Action::End));
        }
    }

    /// Where order matters, the last one first, and the one before it when that is gone.
    fn stop_in_order(&mut self) {
        let ordered = self.strategy == Strategy::RestForOne || self.ending.is_some();
        for child in self.children.iter_mut().rev() {
            if let Phase::Stopping { then, told } = child.phase {
                if !told {
                    child.phase = Phase::Stopping { then, told: true };
                    self.actions.push(Action::Stop { id: child.id, generation: child.generation });
                }
                if ordered {
                    return;
                }
            }
        }
    }

    /// Where order matters, each one when all before it run, or are done for good, and none after it is still on its way down.
    fn start_in_order(&mut self) {
        let ordered = self.strategy == Strategy::RestForOne;
        if ordered && self.children.iter().any(|child| matches!(child.phase, Phase::Stopping { .. })) {
            return;
        }
        for child in &mut self.children {
            match child.phase {
                Phase::Ready => {
                    child.phase = Phase::Starting;
                    child.generation += 1;
                    child.starts += 1;
                    let (id, generation, again) = (child.id, child.generation, child.starts > 1);
                    self.actions.push(Action::Start { id, generation, again });
                    if ordered {
                        return;
                    }
                }
                Phase::Running { .. } | Phase::Stopped | Phase::Failed => {}
                _ if ordered => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
