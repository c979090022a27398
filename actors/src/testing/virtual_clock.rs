//! A wall clock that moves with tokio's virtual time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::env::Clock;

/// Starts at 2026-01-01T00:00:00Z when it is first asked, and moves with tokio's time, plus jumps.
pub struct VirtualClock {
    start: Mutex<Option<Instant>>,
    offset: Mutex<Duration>,
}

const EPOCH: Duration = Duration::from_secs(1_767_225_600);

impl VirtualClock {
    /// A clock at its start.
    pub fn new() -> Self {
        Self { start: Mutex::new(None), offset: Mutex::new(EPOCH) }
    }

    /// The wall clock jumps ahead, as when a machine sleeps; monotonic time does not.
    pub fn jump(&self, by: Duration) {
        *self.offset.lock() += by;
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn wall(&self) -> Duration {
        let now = Instant::now();
        let start = *self.start.lock().get_or_insert(now);
        *self.offset.lock() + now.saturating_duration_since(start)
    }
}
