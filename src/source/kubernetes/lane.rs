//! One connection to the API server that many requests share: HTTP/2 over TLS. A server without HTTP/2, or without TLS,
//! is talked to in HTTP/1, with a connection for each request under way.
//!
//! Laws: whoever finds no connection waits for the one that is being made, so that a thousand watches that lost it make
//! one new one; nothing is asked before the server has said how much it takes at a time; a connection that does not
//! answer pings ends, and with it all that it carried.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http2;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use tidegate_actors::env::Env;
use tokio::sync::Mutex;
use tower::{BoxError, ServiceExt as _};

use super::greeting::Greeted;

/// What one stream may have on the way; a watch that is not read keeps so much from the others on its connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// How connections are made: TCP, and TLS for https.
pub(super) type Connector = HttpsConnector<HttpConnector>;

/// What all lanes of a cluster have in common.
pub(super) struct Road {
    pub connector: Connector,
    pub server: Uri,
    pub connect_timeout: Duration,
    /// How often a connection is asked whether it is still there, and how long the answer may take.
    pub ping: (Duration, Duration),
    pub env: Env,
    /// How many requests at a time the server took on the connection that was made last.
    pub streams: AtomicUsize,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lane {
    inner: Arc<Inner>,
}

struct Inner {
    road: Arc<Road>,
    slot: Mutex<Slot>,
    http1: legacy::Client<Connector, Body>,
    connections: metrics::Gauge,
    /// How many requests at a time the connection takes.
    streams: AtomicUsize,
}

enum Slot {
    Empty,
    Http1,
    Http2(http2::SendRequest<Body>),
}

/// One connection, for as long as it is counted.
struct Counted(metrics::Gauge);

impl Counted {
    fn new(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The body of a response.
pub(super) struct Received {
    body: Incoming,
    _counted: Option<Counted>,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Lane {
    /// A lane without a connection yet; `connections` counts those that it has.
    pub fn new(road: Arc<Road>, connections: metrics::Gauge) -> Self {
        let http1 = legacy::Client::builder(TokioExecutor::new()).build(road.connector.clone());
        let slot = if road.server.scheme_str() == Some("https") { Slot::Empty } else { Slot::Http1 };
        // Until its own connection is made, the last one says what to expect of it.
        let streams = AtomicUsize::new(road.streams.load(Ordering::SeqCst));
        Self { inner: Arc::new(Inner { road, slot: Mutex::new(slot), http1, connections, streams }) }
    }

    /// How many requests at a time it takes, as far as is known; at least one.
    pub fn streams(&self) -> usize {
        self.inner.streams.load(Ordering::SeqCst).max(1)
    }

    /// Makes the connection if there is none, so that it is known how much it takes.
    pub async fn ready(&self) -> Result<(), BoxError> {
        self.connection().await.map(drop)
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Received>, BoxError> {
        let Some(mut sender) = self.connection().await? else {
            // It has a connection to itself until its body is over.
            let counted = Counted::new(&self.inner.connections);
            let response = self.inner.http1.request(request).await?;
            return Ok(response.map(|body| Received { body, _counted: Some(counted) }));
        };
        sender.ready().await?;
        Ok(sender.send_request(request).await?.map(|body| Received { body, _counted: None }))
    }

    /// The connection, made if need be; `None` when the server has no HTTP/2.
    async fn connection(&self) -> Result<Option<http2::SendRequest<Body>>, BoxError> {
        let mut slot = self.inner.slot.lock().await;
        match &*slot {
            Slot::Http1 => return Ok(None),
            Slot::Http2(sender) if !sender.is_closed() => return Ok(Some(sender.clone())),
            Slot::Empty | Slot::Http2(_) => *slot = Slot::Empty,
        }
        let road = &self.inner.road;
        let made = tokio::select! {
            biased;
            made = self.connect() => made?,
            () = road.env.clock.sleep(road.connect_timeout) => {
                return Err(format!("no connection to {} after {:?}", road.server, road.connect_timeout).into());
            }
        };
        *slot = made.as_ref().map_or(Slot::Http1, |sender| Slot::Http2(sender.clone()));
        Ok(made)
    }

    async fn connect(&self) -> Result<Option<http2::SendRequest<Body>>, BoxError> {
        let road = &self.inner.road;
        let stream = road.connector.clone().oneshot(road.server.clone()).await?;
        if !stream.connected().is_negotiated_h2() {
            return Ok(None);
        }
        let (stream, greeting) = Greeted::new(TokioIo::new(stream));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(road.ping.0)
            .keep_alive_timeout(road.ping.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        let counted = Counted::new(&self.inner.connections);
        tokio::spawn(async move {
            let _counted = counted;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API server ended");
            }
        });
        let Ok(limit) = greeting.await else {
            return Err(format!("{} does not speak HTTP/2, although it agreed to", road.server).into());
        };
        let streams = limit.unwrap_or(usize::MAX);
        self.inner.streams.store(streams, Ordering::SeqCst);
        road.streams.store(streams, Ordering::SeqCst);
        Ok(Some(sender))
    }
}

impl tower::Service<Request<Body>> for Lane {
    type Response = Response<Received>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // A watch brings the lane that it was given a place on.
        let lane = request.extensions_mut().remove::<Lane>().unwrap_or_else(|| self.clone());
        Box::pin(lane.send(request))
    }
}
