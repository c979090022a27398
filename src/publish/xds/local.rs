//! A delta client inside the process, without a network: it wants everything, and accepts everything at once. What
//! the benchmarks see a publisher through.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tidegate_actors::id::Name;

use super::cache::View;
use super::delta;
use super::hub::{Hub, XdsPublisher};
use super::kind::Kind;
use super::rope::Rope;
use super::scope::Scope;
use super::session::{Session, Violation};

/// See the module.
pub struct LocalClient {
    hub: Arc<Hub>,
    session: Session,
    connected: bool,
}

/// A response, encoded.
pub struct Sent {
    /// Its type.
    pub kind: Kind,
    /// What is added or changed, with the size of its message.
    pub resources: Vec<(Name, usize)>,
    /// What is removed.
    pub removed: Vec<Name>,
    /// The encoded `DeltaDiscoveryResponse`, in shared segments.
    pub encoded: Rope,
}

impl LocalClient {
    /// A client that has asked for nothing yet.
    pub fn new(publisher: &XdsPublisher) -> Self {
        let view = View { scope: Scope::All, inline: false };
        Self { hub: publisher.hub.clone(), session: Session::new(view, usize::MAX), connected: false }
    }

    /// All that there is to be sent since the last call, in order; each response is accepted before the next.
    ///
    /// # Errors
    /// When the publisher would end the stream.
    pub fn catch_up(&mut self) -> Result<Vec<Sent>, Violation> {
        let cache = self.hub.cache.read();
        let now = self.hub.env.clock.now();
        let mut sent = Vec::new();
        if !std::mem::replace(&mut self.connected, true) {
            for kind in Kind::ALL {
                let everything = DeltaDiscoveryRequest {
                    type_url: kind.type_url().to_owned(),
                    resource_names_subscribe: vec!["*".to_owned()],
                    ..DeltaDiscoveryRequest::default()
                };
                self.session.on_delta(&cache, now, kind, &everything)?;
            }
        }
        self.session.on_change(&cache, now);
        loop {
            let responses = self.session.take_responses();
            if responses.is_empty() {
                // Nobody listens to these here; a session that is not asked for them would keep them.
                drop(self.session.take_events());
                return Ok(sent);
            }
            for response in responses {
                let encoded = delta::encode(&response);
                let accepted = DeltaDiscoveryRequest {
                    type_url: response.kind.type_url().to_owned(),
                    response_nonce: response.nonce.to_string(),
                    ..DeltaDiscoveryRequest::default()
                };
                self.session.on_delta(&cache, now, response.kind, &accepted)?;
                let resources = response.resources.iter().map(|of| (of.name.clone(), of.body().len())).collect();
                sent.push(Sent { kind: response.kind, resources, removed: response.removed, encoded });
            }
        }
    }
}
