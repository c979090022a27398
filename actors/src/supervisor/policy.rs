//! How a supervisor treats a child: when to restart it, how long to wait, when to give up on it. Plain data
//! with defaults, and the sequence of delays that a backoff means.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::breaker::BreakerPolicy;
use crate::env::Rng;

/// Which exits of a child are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Restart {
    /// All of them: the child is meant to run for ever.
    #[default]
    Permanent,
    /// Failures only: the child may finish.
    Transient,
    /// None.
    Temporary,
}

/// Whom a child's failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The child alone.
    #[default]
    OneForOne,
    /// The child and those that were added after it, since they hold references to it: they are stopped in
    /// reverse order, and started in order once it runs again. A pause or a restart by hand counts too.
    RestForOne,
}

/// Exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub min: Duration,
    /// No delay is longer.
    pub max: Duration,
    /// What one delay is multiplied by to give the next; at least 1.
    pub factor: f32,
    /// How much of a delay, in `0..=1`, is left to chance; chance only shortens it.
    pub jitter: f64,
    /// A child that ran for so long starts again from `min`.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.25,
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The delays of this backoff, from the first on. For whoever retries outside a supervisor too.
    pub fn delays(&self) -> Delays {
        Delays { backoff: *self, sequence: self.sequence() }
    }

    fn sequence(&self) -> Sequence {
        // Jitter is added here and not by backon, whose randomness is its own and does not replay.
        ExponentialBuilder::new()
            .with_min_delay(self.min.min(self.max))
            .with_max_delay(self.max)
            .with_factor(self.factor.max(1.0))
            .without_max_times()
            .build()
    }

    fn jittered(&self, delay: Duration, rng: &dyn Rng) -> Duration {
        delay.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * rng.unit())
    }
}

type Sequence = <ExponentialBuilder as backon::BackoffBuilder>::Backoff;

/// Where a retry is in its backoff.
pub struct Delays {
    backoff: Backoff,
    sequence: Sequence,
}

impl Delays {
    /// The next delay.
    pub fn next(&mut self, rng: &dyn Rng) -> Duration {
        let delay = self.sequence.next().unwrap_or(self.backoff.max);
        self.backoff.jittered(delay, rng)
    }

    /// The longest delay, for what has failed too often.
    pub fn longest(&self, rng: &dyn Rng) -> Duration {
        self.backoff.jittered(self.backoff.max, rng)
    }

    /// Begins again with the first delay. backon's iterator cannot, so it is built anew.
    pub fn reset(&mut self) {
        self.sequence = self.backoff.sequence();
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

/// How many restarts in how much time are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// So many restarts are still accepted.
    pub restarts: u32,
    /// Within this time.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts: 5, within: Duration::from_secs(60) }
    }
}

/// How a supervisor treats one child.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which exits are followed by a restart.
    pub restart: Restart,
    /// How long to wait before a restart.
    pub backoff: Backoff,
    /// When restarts become too many: a core child then escalates, any other waits the longest delay.
    pub intensity: Intensity,
    /// Whether and when to stop trying for a while.
    pub breaker: Option<BreakerPolicy>,
    /// How long a start may take before it counts as failed.
    pub start_timeout: Duration,
    /// How long a stop may take before the child is killed.
    pub stop_timeout: Duration,
    /// Whether this child is core: when it exceeds its intensity, its supervisor fails.
    pub escalate: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::Permanent,
            backoff: Backoff::default(),
            intensity: Intensity::default(),
            breaker: None,
            start_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
            escalate: false,
        }
    }
}
