//! One child as the machine sees it: its phase, and what is remembered of its failures.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::ChildId;
use crate::supervisor::breaker::Breaker;
use crate::supervisor::exit::ChildExit;
use crate::supervisor::policy::{Delays, Policy};

pub(super) struct Child {
    pub(super) id: ChildId,
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    /// Counts starts and timers, so that those of the past can be told from the present one.
    pub(super) generation: u64,
    pub(super) delays: Delays,
    pub(super) breaker: Option<Breaker>,
    /// When it lately failed, for the intensity.
    pub(super) failures: VecDeque<Instant>,
    pub(super) starts: u64,
    pub(super) last_exit: Option<ChildExit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Starts as soon as its turn has come, which under one-for-one is at once.
    Ready,
    Starting,
    Running {
        since: Instant,
    },
    /// Down until a timer fires; `open` when that is the breaker's.
    BackingOff {
        until: Instant,
        open: bool,
    },
    /// On its way down; `told` once it was its turn.
    Stopping {
        then: Then,
        told: bool,
    },
    Paused,
    Stopped,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Start,
    Pause,
    Remove,
    End,
}

impl Child {
    pub(super) fn new(id: ChildId, policy: Policy, paused: bool) -> Self {
        Self {
            id,
            phase: if paused { Phase::Paused } else { Phase::Ready },
            generation: 0,
            delays: policy.backoff.delays(),
            breaker: policy.breaker.map(Breaker::new),
            failures: VecDeque::new(),
            starts: 0,
            last_exit: None,
            policy,
        }
    }

    /// Counts a failure, and tells whether there were too many lately.
    pub(super) fn count_failure(&mut self, ran: Duration, now: Instant) -> bool {
        if ran >= self.policy.backoff.reset_after {
            self.delays.reset();
            if let Some(breaker) = &mut self.breaker {
                breaker.success();
            }
        }
        if let Some(breaker) = &mut self.breaker {
            breaker.failure(now);
        }
        let intensity = self.policy.intensity;
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.duration_since(*first) > intensity.within) {
            self.failures.pop_front();
        }
        let too_often = self.failures.len() > intensity.restarts as usize;
        if too_often && !self.policy.escalate {
            // One more than accepted is all that need be known.
            self.failures.pop_front();
            return true;
        }
        too_often
    }

    /// Forgets its failures: somebody says by hand that it is worth trying.
    pub(super) fn forgive(&mut self) {
        self.delays.reset();
        self.failures.clear();
        if let Some(breaker) = &mut self.breaker {
            breaker.success();
        }
    }
}
