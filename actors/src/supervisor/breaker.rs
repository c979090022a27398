//! A circuit breaker: stops hammering what is broken, and probes it with one try. Pure: time comes in as an
//! argument. The supervisor uses it for children; anybody may for an upstream.

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// It opens at so many failures in a row; at least 1.
    pub failures: u32,
    /// It stays open for so long, then lets one probe through.
    pub open_for: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(60) }
    }
}

/// What a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes before this time.
    Open {
        /// When a probe may pass.
        until: Instant,
    },
    /// One probe is under way; its outcome closes or opens the breaker.
    HalfOpen,
}

/// Whether a try may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Pass,
    /// It may, as the only one: report its outcome.
    Probe,
    /// Not before this time; `None` while somebody else's probe is under way.
    Refused(Option<Instant>),
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
    failures: u32,
}

impl Breaker {
    /// A closed one.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: BreakerState::Closed, failures: 0 }
    }

    /// What it is now. One whose time is up stays open until somebody asks for the probe.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Asks to try. Whoever is allowed reports `success` or `failure` afterwards.
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            BreakerState::Closed => Permit::Pass,
            BreakerState::Open { until } if until > now => Permit::Refused(Some(until)),
            BreakerState::Open { .. } => {
                self.state = BreakerState::HalfOpen;
                Permit::Probe
            }
            BreakerState::HalfOpen => Permit::Refused(None),
        }
    }

    /// A try worked: closed again.
    pub fn success(&mut self) {
        self.failures = 0;
        self.state = BreakerState::Closed;
    }

    /// A try failed. A failed probe opens it at once, and so does the last of too many in a row; a failure of
    /// a try that began before it opened does not keep it open for longer.
    pub fn failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.policy.failures.max(1),
            BreakerState::HalfOpen => true,
            BreakerState::Open { .. } => false,
        };
        if opens {
            self.state = BreakerState::Open { until: now + self.policy.open_for };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_breaker() -> (Breaker, Instant) {
        (Breaker::new(BreakerPolicy { failures: 2, open_for: Duration::from_secs(10) }), Instant::now())
    }

    #[test]
    fn it_opens_at_failures_in_a_row_and_not_before() {
        let (mut breaker, now) = mk_breaker();
        breaker.failure(now);
        breaker.success();
        breaker.failure(now);
        assert_eq!(breaker.permit(now), Permit::Pass);
        breaker.failure(now);
        let until = now + Duration::from_secs(10);
        assert_eq!(breaker.state(), BreakerState::Open { until });
        assert_eq!(breaker.permit(now), Permit::Refused(Some(until)));
    }

    #[test]
    fn one_probe_passes_when_its_time_is_up() {
        let (mut breaker, now) = mk_breaker();
        breaker.failure(now);
        breaker.failure(now);
        let later = now + Duration::from_secs(10);
        assert_eq!(breaker.permit(later), Permit::Probe);
        assert_eq!(breaker.permit(later), Permit::Refused(None));
        breaker.success();
        assert_eq!(breaker.permit(later), Permit::Pass);
        assert_eq!(breaker.failures(), 0);
    }

    #[test]
    fn a_failed_probe_opens_it_again_at_once() {
        let (mut breaker, now) = mk_breaker();
        breaker.failure(now);
        breaker.failure(now);
        let later = now + Duration::from_secs(10);
        breaker.permit(later);
        breaker.failure(later);
        assert_eq!(breaker.state(), BreakerState::Open { until: later + Duration::from_secs(10) });
    }

    #[test]
    fn a_late_failure_does_not_keep_it_open_for_longer() {
        let (mut breaker, now) = mk_breaker();
        breaker.failure(now);
        breaker.failure(now);
        breaker.failure(now + Duration::from_secs(5));
        assert_eq!(breaker.state(), BreakerState::Open { until: now + Duration::from_secs(10) });
    }
}
