//! When a stream that was let in ends all the same: its certificate has expired, or who it is for may see something else
//! by now (`xds.clients` was changed).
//!
//! Law: who may see what it sees, as before, notices nothing.

use std::time::Duration;

use tonic::Status;

use super::admission::{Refusal, Standing};
use super::hub::Hub;
use super::scope::Scope;

/// Between looks at the time of day, which may be set to another one.
const LOOK: Duration = Duration::from_secs(60);

/// Waits until a client is not to be served as it is, and says why. `claimed` is what it asked for, `seen` what it is sent.
pub async fn lapse(hub: &Hub, standing: &Standing, claimed: Option<Scope>, seen: Scope) -> Status {
    let Some(certificate) = standing.certificate() else {
        return std::future::pending().await;
    };
    let mut rules = hub.rules.subscribe();
    // They may have changed since it was let in.
    rules.mark_changed();
    // It is valid to the end of that second (RFC 5280, section 4.1.2.5).
    let end = certificate.not_after + Duration::from_secs(1);
    loop {
        let left = end.saturating_sub(hub.env.clock.wall());
        tokio::select! {
            biased;
            changed = rules.changed() => {
                if changed.is_err() {
                    // The publisher is gone, and its server ends all streams.
                    return std::future::pending().await;
                }
                let now = standing.by(&rules.borrow_and_update());
                match now.and_then(|standing| standing.within(claimed.as_ref(), hub.options.allow_all)) {
                    Ok(now) if now == seen => {}
                    Ok(_) => return Status::unavailable("it may see other Gateways now (xds.clients), please reconnect"),
                    Err(refusal) => return refusal.into(),
                }
            }
            () = hub.env.clock.sleep(left.min(LOOK)) => {
                if end <= hub.env.clock.wall() {
                    return Refusal::Expired(standing.identity().unwrap_or_default().to_owned()).into();
                }
            }
        }
    }
}
