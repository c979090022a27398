//! One client's task: it carries requests, changes and time to the session, and responses back. It waits for
//! nobody but its own client, and whatever happens in it, no other client notices.

use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::admission::{self, Standing};
use super::cache::View;
use super::hub::Hub;
use super::kind::Kind;
use super::lapse::lapse;
use super::protocol::Protocol;
use super::report::Report;
use super::rope::Rope;
use super::session::Session;
use super::status::{self, ClientStatus};

/// Where a client's responses go.
pub type Outbox = mpsc::Sender<Result<Rope, Status>>;

/// A client's place in the list of clients; leaves it when dropped.
pub struct Seat {
    hub: Arc<Hub>,
    id: u64,
}

impl Seat {
    /// Takes a place, if there is one.
    pub fn take(hub: &Arc<Hub>, protocol: &'static str, peer: &str, standing: &Standing) -> Result<Self, Status> {
        let id = hub.next_client();
        let mut clients = hub.clients.lock();
        let limit = hub.options.max_clients;
        if clients.len() >= limit {
            metrics::counter!("tidegate_xds_refused_total", "reason" => "clients").increment(1);
            return Err(Status::resource_exhausted(format!("{limit} clients are connected already (xds.max_clients)")));
        }
        let status = ClientStatus {
            id,
            node: String::new(),
            peer: peer.to_owned(),
            identity: standing.identity().map(str::to_owned),
            protocol,
            gateways: None,
            connected_since: hub.env.clock.wall(),
            live_version: 0,
            types: Vec::new(),
        };
        clients.insert(id, Arc::new(Mutex::new(status)));
        metrics::gauge!("tidegate_xds_clients").set(clients.len() as f64);
        drop(clients);
        Ok(Self { hub: hub.clone(), id })
    }

    fn update(&self, change: impl FnOnce(&mut ClientStatus)) {
        let status = self.hub.clients.lock().get(&self.id).cloned();
        if let Some(status) = status {
            change(&mut status.lock());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.hub.clients.lock();
        clients.remove(&self.id);
        metrics::gauge!("tidegate_xds_clients").set(clients.len() as f64);
    }
}

/// What a client says, as it comes in.
pub trait Inbound<R>: Stream<Item = Result<R, Status>> + Send + Unpin {}

impl<R, S: Stream<Item = Result<R, Status>> + Send + Unpin> Inbound<R> for S {}

/// Serves a client until it goes, errs, or the server stops.
pub async fn run<P: Protocol>(
    seat: Seat,
    standing: Standing,
    inbound: impl Inbound<P::Request>,
    outbox: Outbox,
    stop: CancellationToken,
) {
    let id = seat.id;
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Status::unavailable("the control plane is stopping, please reconnect")),
        end = serve::<P>(&seat, &standing, inbound, &outbox) => end,
    };
    match end {
        Ok(()) => tracing::info!(client = id, "an xDS client went"),
        Err(status) => {
            tracing::info!(client = id, reason = status.message(), "an xDS client's stream ends");
            // A client that reads nothing will not read this either.
            let _ = outbox.try_send(Err(status));
        }
    }
}

async fn serve<P: Protocol>(
    seat: &Seat,
    standing: &Standing,
    mut inbound: impl Inbound<P::Request>,
    outbox: &Outbox,
) -> Result<(), Status> {
    let hub = &seat.hub;
    // The server counts every client that has connected, but only one that says who it is can be served.
    let Some(first) = first_request(hub, &mut inbound).await? else { return Ok(()) };
    let node = P::node(&first).ok_or_else(|| Status::invalid_argument("the first request must carry a node"))?;
    let claimed = admission::claimed(node)?;
    let scope = standing.within(claimed.as_ref(), hub.options.allow_all)?;
    let mut lapse = pin!(lapse(hub, standing, claimed, scope.clone()));
    let node = node.id.clone();
    seat.update(|status| (status.node, status.gateways) = (node.clone(), scope.names()));
    tracing::info!(client = seat.id, node, protocol = P::NAME, "an xDS client came");

    let mut client = Client::<P> {
        session: Session::new(View { scope, inline: P::INLINE }, hub.options.max_subscriptions)
            .salted(hub.env.rng.next_u64()),
        report: Report::new(hub.problems.clone(), hub.rejections.clone(), &node, seat.id),
        seat,
        outbox,
        protocol: std::marker::PhantomData,
    };
    let mut changes = hub.changes();
    client.request(&first)?;
    // A client that comes back names all that it has in it; that need not be held for as long as it stays.
    drop(first);
    client.flush().await?;
    loop {
        let deadline = client.session.deadline();
        tokio::select! {
            biased;
            status = &mut lapse => return Err(status),
            request = inbound.next() => match request.transpose().map_err(|status| refusal(hub, status))? {
                Some(request) => client.request(&request)?,
                None => return Ok(()),
            },
            _ = changes.changed() => client.session.on_change(&hub.cache.read(), hub.env.clock.now()),
            () = sleep_until(deadline) => client.session.on_tick(&hub.cache.read(), hub.env.clock.now()),
        }
        client.flush().await?;
    }
}

/// A stream that says nothing holds a seat that others may need, so it has a deadline.
async fn first_request<R>(hub: &Hub, inbound: &mut impl Inbound<R>) -> Result<Option<R>, Status> {
    let patience = hub.options.first_request;
    tokio::select! {
        biased;
        first = inbound.next() => first.transpose().map_err(|status| refusal(hub, status)),
        () = hub.env.clock.sleep(patience) => {
            metrics::counter!("tidegate_xds_refused_total", "reason" => "silent").increment(1);
            let message = format!(
                "no request came within {patience:?} of the stream's beginning (xds.first_request_timeout), please reconnect"
            );
            Err(Status::deadline_exceeded(message))
        }
    }
}

/// What a client is told whose request cannot be read: if that is its size, which limit it is.
fn refusal(hub: &Hub, status: Status) -> Status {
    if status.code() != Code::OutOfRange {
        return status;
    }
    metrics::counter!("tidegate_xds_refused_total", "reason" => "request_size").increment(1);
    let limit = hub.options.max_request_bytes;
    let message = format!("a request is larger than the {limit} bytes that are allowed (xds.max_request_size)");
    Status::resource_exhausted(message)
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Client<'a, P> {
    session: Session,
    report: Report,
    seat: &'a Seat,
    outbox: &'a Outbox,
    protocol: std::marker::PhantomData<P>,
}

impl<P: Protocol> Client<'_, P> {
    fn request(&mut self, request: &P::Request) -> Result<(), Status> {
        let url = P::type_url(request);
        let Some(kind) = Kind::from_type_url(url) else {
            // Clients may ask for types that nobody configured them with here; that is no reason to part.
            tracing::debug!(client = self.seat.id, url, "a type that is not served");
            return Ok(());
        };
        let hub = &self.seat.hub;
        let now = hub.env.clock.now();
        P::handle(&mut self.session, &hub.cache.read(), now, kind, request).map_err(|violation| {
            metrics::counter!("tidegate_xds_refused_total", "reason" => "subscriptions").increment(1);
            Status::resource_exhausted(violation.to_string())
        })
    }

    /// Sends what is to be sent. Waits only when the client has read nothing of what it was sent before, and
    /// then no request of it is read either.
    async fn flush(&mut self) -> Result<(), Status> {
        let now = self.seat.hub.env.clock.now();
        for event in self.session.take_events() {
            self.report.tell(event, now, &self.seat.hub.cache.read());
        }
        for response in self.session.take_responses() {
            let rope = P::encode(&response);
            Report::pushed(response.kind, rope.len());
            if self.outbox.send(Ok(rope)).await.is_err() {
                return Err(Status::cancelled("the client is gone"));
            }
        }
        let (types, live) = (status::types(&self.session), self.session.live());
        self.seat.update(|status| (status.types, status.live_version) = (types, live));
        Ok(())
    }
}
