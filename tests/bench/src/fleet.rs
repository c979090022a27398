//! Many delta clients of one xDS server, each with a connection of its own. They ask as Envoy does, accept everything,
//! and tell what came; they look at names and versions, never into a resource.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tidegate::publish::xds::Kind;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// The table that the clients ask for: that of the HTTP listener.
pub const TABLE: &str = "http/127.0.0.1:8080";

/// Before a client that was refused, or not heard, tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// By type: names with their versions.
pub type Has = HashMap<Kind, HashMap<String, String>>;

/// What one client was told by one response.
pub struct Told {
    /// Which client.
    pub client: usize,
    /// When.
    pub at: Instant,
    /// The type.
    pub kind: Kind,
    /// What is added or changed, and its version.
    pub resources: Vec<(String, String)>,
    /// How much is removed.
    pub removed: usize,
}

/// See the module.
pub struct Fleet {
    tasks: Vec<JoinHandle<()>>,
    /// For each client, whether it stalls: neither reads nor answers.
    stalls: Vec<watch::Sender<bool>>,
    told: UnboundedReceiver<Told>,
}

impl Fleet {
    /// Connects so many clients at once, each with what it has from an earlier stream. To be called in a runtime.
    pub fn connect(server: SocketAddr, clients: usize, has: &Arc<Has>) -> Self {
        let (tell, told) = unbounded_channel();
        let (stalls, tasks) = (0..clients)
            .map(|client| {
                let (stall, stalled) = watch::channel(false);
                (stall, tokio::spawn(run(client, server, has.clone(), tell.clone(), stalled)))
            })
            .unzip();
        Self { tasks, stalls, told }
    }

    /// Lets some clients stall, or go on.
    pub fn stall(&self, clients: std::ops::Range<usize>, stall: bool) {
        for client in &self.stalls[clients] {
            client.send_replace(stall);
        }
    }

    /// What some client was told.
    ///
    /// # Panics
    /// When none is told anything for so long that something must be wrong.
    pub async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await;
        told.ok().flatten().unwrap_or_else(|| panic!("no client is told anything"))
    }

    /// What was told meanwhile.
    pub fn waiting(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn run(
    client: usize,
    server: SocketAddr,
    has: Arc<Has>,
    tell: UnboundedSender<Told>,
    mut stalled: watch::Receiver<bool>,
) {
    let node = Node { id: format!("client-{client}"), ..Node::default() };
    let (requests, mut responses) = loop {
        if let Some(stream) = open(server).await {
            break stream;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let mut asks = Asks { requests, node: Some(node) };
    for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::RouteConfig, Kind::VirtualHost] {
        let known = has.get(&kind).cloned().unwrap_or_default();
        let names = match kind {
            Kind::Endpoints => known.keys().cloned().collect(),
            Kind::RouteConfig => vec![TABLE.to_owned()],
            _ => Vec::new(),
        };
        // Envoy asks for endpoints when it has heard of clusters.
        if kind != Kind::Endpoints || !names.is_empty() {
            asks.send(
                kind,
                DeltaDiscoveryRequest {
                    resource_names_subscribe: names,
                    initial_resource_versions: known,
                    ..DeltaDiscoveryRequest::default()
                },
            )
            .await;
        }
    }
    loop {
        let stalls = *stalled.borrow_and_update();
        tokio::select! {
            biased;
            changed = stalled.changed() => if changed.is_err() { return },
            response = responses.message(), if !stalls => {
                let Ok(Some(response)) = response else { return };
                asks.answer(client, response, &tell).await;
            }
        }
    }
}

type Stream = (Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>);

async fn open(server: SocketAddr) -> Option<Stream> {
    let channel_to = Channel::from_shared(format!("http://{server}")).ok()?.connect().await.ok()?;
    let mut service = AggregatedDiscoveryServiceClient::new(channel_to).max_decoding_message_size(usize::MAX);
    let (requests, receiver) = channel(16);
    let responses = service.delta_aggregated_resources(ReceiverStream::new(receiver)).await.ok()?;
    Some((requests, responses.into_inner()))
}

struct Asks {
    requests: Sender<DeltaDiscoveryRequest>,
    node: Option<Node>,
}

impl Asks {
    async fn send(&mut self, kind: Kind, request: DeltaDiscoveryRequest) {
        let type_url = kind.type_url().to_owned();
        // If the server is gone, the stream of responses says so.
        let _ = self.requests.send(DeltaDiscoveryRequest { type_url, node: self.node.take(), ..request }).await;
    }

    async fn answer(&mut self, client: usize, response: DeltaDiscoveryResponse, tell: &UnboundedSender<Told>) {
        let at = Instant::now();
        let Some(kind) = Kind::from_type_url(&response.type_url) else { return };
        let resources = response.resources.into_iter().map(|resource| (resource.name, resource.version));
        let resources: Vec<(String, String)> = resources.collect();
        if kind == Kind::Cluster && !resources.is_empty() {
            let names = resources.iter().map(|(name, _)| name.clone()).collect();
            let subscribe = DeltaDiscoveryRequest { resource_names_subscribe: names, ..Default::default() };
            self.send(Kind::Endpoints, subscribe).await;
        }
        let accepted = DeltaDiscoveryRequest { response_nonce: response.nonce, ..DeltaDiscoveryRequest::default() };
        self.send(kind, accepted).await;
        // Nobody listens when the fleet is being dropped.
        let _ = tell.send(Told { client, at, kind, resources, removed: response.removed_resources.len() });
    }
}
