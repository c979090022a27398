//! What is asked of a running Envoy: whether it is well, while it serves, and whether it is done, while it drains.

use std::time::Duration;

use tokio::time::Instant;

use super::ProxyEvent;
use super::envoy_admin::{EnvoyAdmin, EnvoyState};

/// What is known of an Envoy's health.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It has never answered.
    Nothing,
    /// What it said last.
    State(EnvoyState),
    /// It has answered before, and does not now.
    Silence,
}

/// Reports each change of an Envoy's health, for ever; returns, with the reason, only if it never answers.
pub(super) async fn watch_health(
    admin: &EnvoyAdmin,
    start_timeout: Duration,
    on_event: &mut impl FnMut(ProxyEvent),
) -> String {
    let begun = Instant::now();
    let mut known = Known::Nothing;
    let mut silent_for = 0;
    loop {
        match admin.state().await {
            Ok(state) => {
                silent_for = 0;
                if known != Known::State(state) {
                    known = Known::State(state);
                    on_event(ProxyEvent::State { state, after: begun.elapsed() });
                }
            }
            Err(error) if known == Known::Nothing => {
                if begun.elapsed() > start_timeout {
                    return error.to_string();
                }
            }
            Err(error) => {
                silent_for += 1;
                // An Envoy whose main thread is busy still serves: that is told, and nothing is done to it.
                if silent_for == 2 {
                    known = Known::Silence;
                    on_event(ProxyEvent::Unresponsive { reason: error.to_string() });
                }
            }
        }
        let pause = match known {
            Known::State(EnvoyState::Live) | Known::Silence => Duration::from_secs(1),
            _ if begun.elapsed() < Duration::from_secs(10) => Duration::from_millis(20),
            _ => Duration::from_millis(250),
        };
        tokio::time::sleep(pause).await;
    }
}

/// Waits until an Envoy has let go of its connections: until none is open, or none has been used for a while, or the
/// time is up.
pub(super) async fn drained(admin: &EnvoyAdmin, timeout: Duration) {
    const IDLE: Duration = Duration::from_millis(500);
    const PAUSE: Duration = Duration::from_millis(25);
    let wait = async {
        if let Err(error) = admin.drain().await {
            tracing::warn!(%error, "Envoy is ended without draining");
            return;
        }
        let mut idle_since = Instant::now();
        loop {
            match admin.load().await {
                Ok(load) if load.connections == 0 => return,
                Ok(load) if load.requests > 0 => idle_since = Instant::now(),
                Ok(_) if idle_since.elapsed() >= IDLE => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "Envoy is ended without knowing what it is doing");
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(timeout, wait).await.is_err() {
        tracing::warn!("Envoy still had connections after {timeout:?}, which are cut");
    }
}
