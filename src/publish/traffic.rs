//! Traffic first: what only people and API servers read waits until proxies have what it tells of. A status that is
//! written takes a request, a write and a watch event everywhere, on the cores on which a proxy takes a change in; and
//! one that says that a route is accepted should not be there long before the route is.
//!
//! Law: a proxy that does not answer holds nothing up for longer than [`LIMIT`].

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::env::Env;

/// How long what is told waits for proxies, at the most.
pub const LIMIT: Duration = Duration::from_millis(250);
/// Between looks. The first is after one, too: whoever is told first of one commit may be we.
const LOOK: Duration = Duration::from_millis(5);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Traffic {
    env: Env,
    is_served: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Traffic {
    /// `is_served` says whether all proxies have what is to be published.
    pub fn new(env: &Env, is_served: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { env: env.clone(), is_served: Arc::new(is_served) }
    }

    /// Waits until proxies have what there is now, or for as long as they may take.
    pub async fn go_first(&self) {
        let end = self.env.clock.now() + LIMIT;
        loop {
            self.env.clock.sleep(LOOK).await;
            if (self.is_served)() || self.env.clock.now() >= end {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tidegate_actors::testing;
    use tokio::time::Instant;

    use super::*;

    /// How long one waits whose proxies are served after `served`.
    async fn waits(served: Duration) -> Duration {
        let (env, _) = testing::env(1);
        let (is_served, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let (told, proxies) = (is_served.clone(), env.clock.sleep(served));
        tokio::spawn(async move {
            proxies.await;
            told.store(true, Ordering::SeqCst);
        });
        Traffic::new(&env, move || is_served.load(Ordering::SeqCst)).go_first().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_waits_for_proxies_and_for_one_that_says_nothing_only_for_a_while() {
        assert!(waits(Duration::ZERO).await <= LOOK);
        let soon = waits(Duration::from_millis(52)).await;
        assert!((Duration::from_millis(52)..Duration::from_millis(60)).contains(&soon), "{soon:?}");
        assert!((LIMIT..LIMIT + LOOK).contains(&waits(Duration::from_secs(3_600)).await));
    }
}
