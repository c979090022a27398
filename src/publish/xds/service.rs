//! The gRPC service `AggregatedDiscoveryService`, by hand instead of generated, for the sake of its codec.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::admission::Standing;
use super::client::{self, Seat};
use super::codec::RopeCodec;
use super::hub::Hub;
use super::kind::Kind;
use super::protocol::{Delta, Protocol, StateOfTheWorld};
use super::rope::Rope;
use super::transport::Peer;

/// All methods that are served, by path; what is not listed is not there, whatever else knows it.
pub const METHODS: [&str; 2] = [DELTA, SOTW];

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// See the module.
#[derive(Clone)]
pub struct AdsService {
    hub: Arc<Hub>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl AdsService {
    /// Clients' tasks are tracked, and end when told to stop.
    pub fn new(hub: Arc<Hub>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { hub, tasks, stop }
    }

    fn grpc<P: Protocol>(&self) -> Grpc<RopeCodec<P::Request>> {
        let limit = self.hub.options.max_request_bytes;
        Grpc::new(RopeCodec::default()).apply_max_message_size_config(Some(limit), None)
    }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<B> Service<http::Request<B>> for AdsService
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let path = METHODS.into_iter().find(|path| *path == request.uri().path());
            Ok(match path {
                Some(DELTA) => {
                    let method = Method::<Delta>(service.clone(), PhantomData);
                    service.grpc::<Delta>().streaming(method, request).await
                }
                Some(SOTW) => {
                    let method = Method::<StateOfTheWorld>(service.clone(), PhantomData);
                    service.grpc::<StateOfTheWorld>().streaming(method, request).await
                }
                _ => Status::unimplemented("only the two methods of AggregatedDiscoveryService").into_http(),
            })
        })
    }
}

struct Method<P>(AdsService, PhantomData<P>);

impl<P: Protocol> StreamingService<P::Request> for Method<P> {
    type Response = Rope;
    type ResponseStream = ReceiverStream<Result<Rope, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<P::Request>>) -> Self::Future {
        let AdsService { hub, tasks, stop } = self.0.clone();
        Box::pin(async move {
            // The transport puts it there; without it nothing would be known of who asks.
            let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("a stream of nobody"))?;
            // Before it takes a seat that others may need.
            let standing = Standing::of(&hub.rules.borrow(), peer)?;
            let seat = Seat::take(&hub, P::NAME, &peer.address, &standing)?;
            // One response in flight a type, and a last word.
            let (outbox, responses) = mpsc::channel(Kind::COUNT + 1);
            tasks.spawn(client::run::<P>(seat, standing, request.into_inner(), outbox, stop));
            Ok(Response::new(ReceiverStream::new(responses)))
        })
    }
}
