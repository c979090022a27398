//! A client over a wire of the caller's: what the server does for a gRPC stream, without gRPC. For proxies in the same
//! process, and for systems of which every message is looked at.

use futures::{StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::admission::Standing;
use super::client::{self, Outbox, Seat};
use super::hub::XdsPublisher;
use super::kind::Kind;
use super::protocol::{Delta, Protocol, StateOfTheWorld};
use super::rope::Rope;
use super::transport::Peer;

/// A variant of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`.
    StateOfTheWorld,
}

/// The client's end of a wire: encoded requests go up, encoded responses or the reason for the end come down.
pub struct Wire {
    /// Encoded `DeltaDiscoveryRequest` or `DiscoveryRequest`. Dropped, it ends the stream.
    pub up: mpsc::Sender<Vec<u8>>,
    /// `DeltaDiscoveryResponse` or `DiscoveryResponse`. Who does not read holds up nobody but itself.
    pub down: mpsc::Receiver<Result<Rope, Status>>,
}

/// So many requests may be on their way.
const REQUESTS: usize = 16;

impl XdsPublisher {
    /// A stream of one client, who is known as `peer`; the future serves it, and ends with it or when `stop` says so.
    ///
    /// # Errors
    /// When there are as many clients as the options allow.
    pub fn attach(
        &self,
        variant: Variant,
        peer: &str,
        stop: CancellationToken,
    ) -> Result<(Wire, impl Future<Output = ()> + Send + use<>), Status> {
        let name = match variant {
            Variant::Delta => Delta::NAME,
            Variant::StateOfTheWorld => StateOfTheWorld::NAME,
        };
        // In the same process it is trusted as on the Unix socket.
        let peer = Peer { address: peer.to_owned(), certificate: None };
        let standing = Standing::of(&self.hub.rules.borrow(), &peer)?;
        let seat = Seat::take(&self.hub, name, &peer.address, &standing)?;
        let (up, requests) = mpsc::channel(REQUESTS);
        // One response in flight a type, and a last word.
        let (outbox, down) = mpsc::channel(Kind::COUNT + 1);
        let serve = async move {
            match variant {
                Variant::Delta => run::<Delta>(seat, standing, requests, outbox, stop).await,
                Variant::StateOfTheWorld => run::<StateOfTheWorld>(seat, standing, requests, outbox, stop).await,
            }
        };
        Ok((Wire { up, down }, serve))
    }
}

async fn run<P: Protocol>(
    seat: Seat,
    standing: Standing,
    requests: mpsc::Receiver<Vec<u8>>,
    outbox: Outbox,
    stop: CancellationToken,
) {
    let inbound = stream::unfold(requests, |mut requests| async {
        let bytes = requests.recv().await?;
        let decoded = P::Request::decode(&*bytes);
        let decoded = decoded.map_err(|error| Status::internal(format!("the request does not decode: {error}")));
        Some((decoded, requests))
    });
    client::run::<P>(seat, standing, inbound.boxed(), outbox, stop).await;
}
