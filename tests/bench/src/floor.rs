//! The least that a control plane can do: an ADS server that sends what it is handed, and knows nothing else. What
//! Envoy takes for a resource from here is what it takes from anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tidegate::proxy::bootstrap::{AdminAddress, Bootstrap, BootstrapOptions, XdsAddress};
use tidegate::proxy::child::ChildOptions;
use tidegate::proxy::supervised;
use tidegate_actors::env::Env;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::pipeline::Pipeline;
use crate::service::free_address;
use tidegate::publish::xds::Sent;

type Outbox = UnboundedSender<Result<DeltaDiscoveryResponse, Status>>;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Floor {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By type URL, then name.
    resources: BTreeMap<String, BTreeMap<String, Resource>>,
    client: Option<Outbox>,
    nonce: u64,
}

/// What is in a response of ours, as anybody's protobuf messages.
///
/// # Panics
/// When it does not decode.
pub fn decoded(sent: &Sent) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse::decode(sent.encoded.flat()).unwrap_or_else(|error| panic!("{}: {error}", sent.kind))
}

impl Floor {
    /// A server with all that a path has put out.
    pub fn new(pipeline: &mut Pipeline) -> Self {
        let floor = Self::default();
        for sent in pipeline.take_first() {
            let response = decoded(&sent);
            let mut state = floor.state();
            let of_type = state.resources.entry(response.type_url).or_default();
            of_type.extend(response.resources.into_iter().map(|resource| (resource.name.clone(), resource)));
        }
        floor
    }

    /// Listens on a Unix socket.
    ///
    /// # Panics
    /// When it cannot.
    fn listen(&self, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let service = AggregatedDiscoveryServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    }

    /// Starts an Envoy that gets what it has from here, with one worker; its folder is made.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_envoy(&self, folder: &Path, envoy: PathBuf) -> Supervisor {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let socket = folder.join("xds.sock");
        self.listen(&socket);
        let admin = AdminAddress::Tcp(free_address());
        let options = BootstrapOptions::new("floor", XdsAddress::Socket(socket), admin.clone());
        let bootstrap = Bootstrap::new(&options).and_then(|bootstrap| bootstrap.to_json());
        let bootstrap = bootstrap.unwrap_or_else(|error| panic!("{error}"));
        let mut child = ChildOptions::new(envoy, folder.join("envoy"), bootstrap, admin);
        child.concurrency = Some(1);
        let started = Supervisor::start("floor", Strategy::OneForOne, Env::system()).await;
        let supervisor = started.unwrap_or_else(|error| panic!("{error}"));
        let added = supervisor.add(supervised::child_spec("envoy", child)).await;
        added.unwrap_or_else(|error| panic!("{error}"));
        supervisor
    }

    /// Sends a response's resources, at once.
    pub fn send(&self, mut response: DeltaDiscoveryResponse) {
        let mut state = self.state();
        let of_type = state.resources.entry(response.type_url.clone()).or_default();
        of_type.extend(response.resources.iter().map(|resource| (resource.name.clone(), resource.clone())));
        state.nonce += 1;
        response.nonce = state.nonce.to_string();
        if let Some(client) = &state.client {
            // It fails only when the client is gone, which its probes will tell.
            let _ = client.send(Ok(response));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a subscription: by name, or everything of the type.
    fn answer(&self, request: &DeltaDiscoveryRequest, first: bool, outbox: &Outbox) {
        let names = &request.resource_names_subscribe;
        if names.is_empty() && !first {
            return;
        }
        let mut state = self.state();
        state.client = Some(outbox.clone());
        state.nonce += 1;
        let nonce = state.nonce.to_string();
        let of_type = state.resources.get(&request.type_url);
        let wanted = |resource: &&Resource| names.is_empty() || names.contains(&resource.name) || names[0] == "*";
        let resources = of_type.into_iter().flat_map(BTreeMap::values).filter(wanted).cloned().collect();
        let type_url = request.type_url.clone();
        let _ = outbox.send(Ok(DeltaDiscoveryResponse { resources, type_url, nonce, ..Default::default() }));
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Floor {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (outbox, responses) = unbounded_channel();
        let (floor, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some(Ok(request)) = requests.next().await {
                if let Some(error) = &request.error_detail {
                    panic!("Envoy rejects what the floor sends: {}", error.message);
                }
                let first = !asked.contains(&request.type_url);
                if first {
                    asked.push(request.type_url.clone());
                }
                floor.answer(&request, first, &outbox);
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(responses))))
    }
}
