//! The local Envoy as a child of the supervisor: its policy, and what its events mean for its health.

use std::time::Duration;

use tidegate_actors::supervisor::{Backoff, ChildSpec, Intensity, Reporter, TaskContext};

use super::ProxyEvent;
use super::child::{ChildOptions, run};
use super::envoy_admin::EnvoyState;

/// A local Envoy to be supervised: whenever it ends by itself it is started again, the first time at once.
pub fn child_spec(name: &str, options: ChildOptions) -> ChildSpec {
    // Draining, asking and killing each have their time; the rest is ours.
    let stop_timeout = options.drain_timeout + 2 * options.stop_timeout + Duration::from_secs(1);
    let run = move |context: TaskContext| {
        let options = options.clone();
        // Until it says otherwise: a child counts as running from its start, and an Envoy does not serve then.
        context.reporter.waiting("Envoy is looked for, or started", None);
        async move {
            let stop = context.stop.clone();
            let on_event = |event| tell(&context.reporter, &event);
            Ok(run(&options, async move { stop.stopped().await }, on_event).await?)
        }
    };
    ChildSpec::task(name, run)
        // A proxy that is down serves nobody: it gets short delays, long ones only if it keeps ending at its start.
        .backoff(Backoff {
            min: Duration::from_millis(50),
            max: Duration::from_secs(5),
            reset_after: Duration::from_secs(5),
            ..Backoff::default()
        })
        .intensity(Intensity { restarts: 20, within: Duration::from_secs(60) })
        .stop_timeout(stop_timeout)
}

/// Logs an event, counts it, and says what it means for the child's health.
fn tell(reporter: &Reporter, event: &ProxyEvent) {
    let live = metrics::gauge!("tidegate_envoy_live");
    match event {
        ProxyEvent::Started { pid } => {
            tracing::info!(pid, "Envoy started");
            metrics::counter!("tidegate_envoy_starts_total").increment(1);
            reporter.waiting("Envoy is starting", None);
        }
        ProxyEvent::Adopted { pid } => {
            tracing::info!(pid, "Envoy was running already, and is adopted");
            metrics::counter!("tidegate_envoy_adoptions_total").increment(1);
        }
        ProxyEvent::Replaced { pid, reason } => {
            tracing::info!(pid, reason, "an Envoy was running already, and is replaced");
            live.set(0.0);
        }
        ProxyEvent::State { state: EnvoyState::Live, after } => {
            tracing::info!(after_ms = after.as_millis() as u64, "Envoy is live");
            live.set(1.0);
            reporter.running();
        }
        ProxyEvent::State { state: EnvoyState::Initializing, .. } => {
            live.set(0.0);
            reporter.waiting("Envoy waits for its first configuration", None);
        }
        ProxyEvent::State { state: EnvoyState::Draining, .. } => {
            tracing::warn!("Envoy is draining, although we did not ask for it");
            reporter.degraded("somebody else is draining Envoy");
        }
        ProxyEvent::Unresponsive { reason } => {
            tracing::warn!(reason, "Envoy runs but does not answer");
            reporter.degraded(format!("Envoy runs but does not answer: {reason}"));
        }
        ProxyEvent::Draining { pid } => {
            tracing::info!(pid, "Envoy is draining");
            live.set(0.0);
        }
        ProxyEvent::Stopped { pid } => tracing::info!(pid, "Envoy stopped"),
    }
}
