//! Time. Sleeping goes through tokio's timer, which a paused runtime makes virtual; the wall clock is a
//! trait, since tokio does not make that one virtual.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The time, monotonic and civil.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Time since the Unix epoch.
    fn wall(&self) -> Duration;

    /// Waits; under a paused runtime this costs no real time.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        // Before 1970 only on a machine whose clock is broken; zero is then as good as any other answer.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
