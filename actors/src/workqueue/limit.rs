//! A token bucket that hands out times instead of making anybody wait. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How fast, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Tokens that come a second; a rate that is not above zero hands out one token an hour.
    pub per_second: f64,
    /// Tokens that are there at the start, and that gather at most.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 10.0, burst: 100 }
    }
}

/// The bucket. Tokens may be taken in advance; the taker then waits.
pub struct TokenBucket {
    interval: Duration,
    /// When the bucket was, or will be, empty of all tokens handed out so far.
    next: Instant,
    window: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        let hour = Duration::from_secs(3600);
        let interval = Duration::try_from_secs_f64(1.0 / limit.per_second).unwrap_or(hour).min(hour);
        let window = interval.saturating_mul(limit.burst.max(1) - 1);
        // A full bucket: the last `burst` tokens were not taken.
        let next = now.checked_sub(window).unwrap_or(now);
        Self { interval, next, window }
    }

    /// When a token that was taken now could be used.
    pub fn ready(&self, now: Instant) -> Instant {
        self.next.max(now)
    }

    /// Takes a token; when it may be used.
    pub fn take(&mut self, now: Instant) -> Instant {
        let oldest = now.checked_sub(self.window).unwrap_or(now);
        let at = self.next.max(oldest);
        self.next = at + self.interval;
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        // Time before the process began cannot be expressed everywhere.
        let start = Instant::now() + Duration::from_secs(1000);
        let mut bucket = TokenBucket::new(RateLimit { per_second: 2.0, burst: 3 }, start);
        assert_eq!(bucket.ready(start), start);
        let waits: Vec<_> = (0..6).map(|_| (bucket.take(start) - start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500, 1000, 1500]);
        assert_eq!((bucket.ready(start) - start).as_millis(), 2000);
        let later = start + Duration::from_secs(100);
        let waits: Vec<_> = (0..4).map(|_| (bucket.take(later) - later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500]);
    }
}
