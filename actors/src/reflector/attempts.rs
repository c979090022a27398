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
}

impl Attempts {
    pub fn new(options: &ReflectorOptions, env: &Env) -> Self {
        Self {
            delays: options.backoff.delays(),
            breaker: Breaker::new(options.breaker),
            reset_after: options.backoff.reset_after,
            env: env.clone(),
            opened: env.clock.now(),
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

    /// Some time around `interval`, so that many reflectors do not probe at once.
    pub fn probe(&mut self, interval: Duration) -> Duration {
        self.breaker.success();
        self.delays.reset();
        interval.mul_f64(1.0 - 0.25 * self.env.rng.unit())
    }
}
