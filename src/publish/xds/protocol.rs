//! The two protocols as one interface: what a client's task needs to know about them.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::time::Instant;

use super::cache::Cache;
use super::kind::Kind;
use super::rope::Rope;
use super::session::{Response, Session, Violation};
use super::{delta, sotw};

/// A variant of the protocol.
pub trait Protocol: Send + Sync + 'static {
    /// What clients send.
    type Request: prost::Message + Default + Send + 'static;
    /// Its name.
    const NAME: &'static str;
    /// Whether routing tables carry their virtual hosts.
    const INLINE: bool;

    /// Who sends it; on the first request of a stream at least.
    fn node(request: &Self::Request) -> Option<&Node>;
    /// What it is about.
    fn type_url(request: &Self::Request) -> &str;
    /// Hands it to a session.
    fn handle(
        session: &mut Session,
        cache: &Cache,
        now: Instant,
        kind: Kind,
        request: &Self::Request,
    ) -> Result<(), Violation>;
    /// A response on the wire.
    fn encode(response: &Response) -> Rope;
}

/// `DeltaAggregatedResources`.
pub struct Delta;

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    const NAME: &'static str = "delta";
    const INLINE: bool = false;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn handle(
        session: &mut Session,
        cache: &Cache,
        now: Instant,
        kind: Kind,
        request: &Self::Request,
    ) -> Result<(), Violation> {
        session.on_delta(cache, now, kind, request)
    }

    fn encode(response: &Response) -> Rope {
        delta::encode(response)
    }
}

/// `StreamAggregatedResources`.
pub struct StateOfTheWorld;

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    const NAME: &'static str = "sotw";
    const INLINE: bool = true;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn handle(
        session: &mut Session,
        cache: &Cache,
        now: Instant,
        kind: Kind,
        request: &Self::Request,
    ) -> Result<(), Violation> {
        session.on_sotw(cache, now, kind, request)
    }

    fn encode(response: &Response) -> Rope {
        sotw::encode(response)
    }
}
