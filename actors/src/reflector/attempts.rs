//! When the next try may be made: backoff and circuit breaker of one reflector. No stream here, no store.

use std::time::Duration;

use tokio::time::Instant;

use super::ReflectorOptions;
use crate::env::Env;
use crate::supervisor::{Breaker, BreakerState, Delays, Permit};

pub(super) struct Attempts {
    delays: Delays,
    breaker: Breaker,
    reset_after: Duration,
    env: Env,
    opened: Instant,
    /// The last end asked for a list.
    relisted: bool,
}

impl Attempts {
    pub fn new(options: &ReflectorOptions, env: &Env) -> Self {
        Self {
            delays: options.backoff.delays(),
            breaker: Breaker::new(options.breaker),
            reset_after: options.backoff.reset_after,
            env: env.clone(),
            opened: env.clock.now(),
            relisted: false,
        }
    }

    /// How long to wait before the stream may be opened; zero when it may be now.
    pub fn permit(&mut self) -> Duration {
        let now = self.env.clock.now();
        let wait = match self.breaker.permit(now) {
            Permit::Refused(Some(until)) => until.saturating_duration_since(now),
            // Only this reflector asks its breaker, so nobody else's probe is under way.
            Permit::Pass | Permit::Probe | Permit::Refused(None) => Duration::ZERO,
        };
        self.opened = now;
        wait
    }

    /// The stream works.
    pub fn success(&mut self) {
        self.breaker.success();
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.breaker.failures()
    }

    /// The stream ended; how long to wait, at the least `after`.
    pub fn failure(&mut self, after: Option<Duration>) -> Duration {
        let now = self.env.clock.now();
        self.relisted = false;
        if now.saturating_duration_since(self.opened) >= self.reset_after {
            self.delays.reset();
        }
        self.breaker.failure(now);
        let mut wait = self.delays.next(&*self.env.rng).max(after.unwrap_or_default());
        if let BreakerState::Open { until } = self.breaker.state() {
            wait = wait.max(until.saturating_duration_since(now));
        }
        wait
    }

    /// A new list is needed; how long to wait. The source answered, so what was learnt from an outage before it no
    /// longer counts; lists that follow each other are spaced like failures all the same.
    pub fn relist(&mut self) -> Duration {
        if self.failures() > 1 && !self.relisted {
            self.breaker.success();
            self.delays.reset();
        }
        let wait = self.failure(None);
        self.relisted = true;
        wait
    }

    /// Some time around `interval`, so that many reflectors do not probe at once.
    pub fn probe(&mut self, interval: Duration) -> Duration {
        self.breaker.success();
        self.delays.reset();
        interval.mul_f64(1.0 - 0.25 * self.env.rng.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lost_history_after_an_outage_is_listed_at_once_and_lists_that_follow_are_spaced() {
        let (options, env) = (ReflectorOptions::default(), Env::system());
        let mut attempts = Attempts::new(&options, &env);
        let outage = (0..options.breaker.failures).map(|_| attempts.failure(None)).max().unwrap();
        assert!(outage >= options.breaker.open_for, "the breaker is open: {outage:?}");
        assert!(attempts.relist() < Duration::from_secs(1), "the source answered");
        assert_eq!((attempts.permit(), attempts.failures()), (Duration::ZERO, 1));
        let loops = (0..8).map(|_| attempts.relist()).max().unwrap();
        assert!(loops > Duration::from_secs(5), "a source that asks for a list each time is not hammered: {loops:?}");
    }
}
