//! An xDS client of the tests' own, over real gRPC. It knows what it has, as a proxy would, and answers only
//! when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use envoy_types::pb::google::rpc;
use tidegate::publish::xds::{Kind, METADATA_KEY};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// How long a test waits for what must come.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Opens a connection.
pub async fn connect(server: SocketAddr) -> AggregatedDiscoveryServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{server}")).unwrap().connect().await.unwrap();
    AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// A node that serves some Gateways, or says nothing about it.
pub fn mk_node(id: &str, gateways: Option<&[&str]>) -> Node {
    let text = |text: &&str| Value { kind: Some(ValueKind::StringValue((*text).to_owned())) };
    let metadata = gateways.map(|gateways| Struct {
        fields: [(
            METADATA_KEY.to_owned(),
            Value { kind: Some(ValueKind::ListValue(ListValue { values: gateways.iter().map(text).collect() })) },
        )]
        .into(),
    });
    Node { id: id.to_owned(), metadata, ..Node::default() }
}

/// A stream of one protocol.
pub struct Stream<Req, Res> {
    requests: mpsc::Sender<Req>,
    responses: Streaming<Res>,
    node: Option<Node>,
}

impl<Req, Res> Stream<Req, Res> {
    /// The next response; panics when none comes.
    pub async fn next(&mut self) -> Res {
        self.try_next().await.unwrap()
    }

    /// The next response, or why the stream ended.
    pub async fn try_next(&mut self) -> Result<Res, Status> {
        let message = tokio::time::timeout(DEADLINE, self.responses.message()).await.expect("no response came");
        message.map(|message| message.expect("the stream ended without a word"))
    }

    /// Sends a request.
    pub async fn send(&mut self, request: Req) {
        self.requests.send(request).await.unwrap();
    }
}

/// A delta client.
pub struct DeltaClient {
    stream: Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>,
    /// Versions by type URL and name.
    pub has: BTreeMap<(String, String), String>,
}

impl DeltaClient {
    /// Connects as a node.
    pub async fn start(server: SocketAddr, node: Node) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let outgoing = ReceiverStream::new(receiver);
        let responses = connect(server).await.delta_aggregated_resources(outgoing).await.unwrap().into_inner();
        Self { stream: Stream { requests, responses, node: Some(node) }, has: BTreeMap::new() }
    }

    /// Sends a request, the first with the node.
    pub async fn send(&mut self, kind: Kind, mut request: DeltaDiscoveryRequest) {
        request.type_url = kind.type_url().to_owned();
        request.node = self.stream.node.take();
        self.stream.send(request).await;
    }

    /// Subscribes; to everything without names.
    pub async fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        let resource_names_subscribe = names.iter().map(ToString::to_string).collect();
        self.send(kind, DeltaDiscoveryRequest { resource_names_subscribe, ..Default::default() }).await;
    }

    /// Unsubscribes.
    pub async fn unsubscribe(&mut self, kind: Kind, names: &[&str]) {
        let resource_names_unsubscribe = names.iter().map(ToString::to_string).collect();
        self.send(kind, DeltaDiscoveryRequest { resource_names_unsubscribe, ..Default::default() }).await;
    }

    /// Subscribes with what it has from an earlier stream.
    pub async fn resume(&mut self, kind: Kind, names: &[&str], has: &BTreeMap<(String, String), String>) {
        let own = has.iter().filter(|((url, _), _)| url == kind.type_url());
        let initial_resource_versions = own.map(|((_, name), version)| (name.clone(), version.clone())).collect();
        let resource_names_subscribe = names.iter().map(ToString::to_string).collect();
        let request =
            DeltaDiscoveryRequest { resource_names_subscribe, initial_resource_versions, ..Default::default() };
        self.send(kind, request).await;
    }

    /// The next response.
    pub async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.stream.next().await
    }

    /// The next response, or why the stream ended.
    pub async fn try_next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        self.stream.try_next().await
    }

    /// Takes a response in and acknowledges it.
    pub async fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        for resource in &response.resources {
            self.has.insert((response.type_url.clone(), resource.name.clone()), resource.version.clone());
        }
        for name in &response.removed_resources {
            self.has.remove(&(response.type_url.clone(), name.clone()));
        }
        self.answer(response, None).await;
    }

    /// Rejects a response.
    pub async fn nack(&mut self, response: &DeltaDiscoveryResponse, reason: &str) {
        let error = rpc::Status { code: 13, message: reason.to_owned(), details: Vec::new() };
        self.answer(response, Some(error)).await;
    }

    async fn answer(&mut self, response: &DeltaDiscoveryResponse, error_detail: Option<rpc::Status>) {
        let kind = Kind::from_type_url(&response.type_url).unwrap();
        let response_nonce = response.nonce.clone();
        self.send(kind, DeltaDiscoveryRequest { response_nonce, error_detail, ..Default::default() }).await;
    }

    /// Receives and acknowledges; rejects what is bad.
    pub async fn step(&mut self, bad: impl Fn(&str) -> bool) -> DeltaDiscoveryResponse {
        let response = self.next().await;
        if response.resources.iter().any(|resource| bad(&resource.name)) {
            self.nack(&response, "it is bad").await;
        } else {
            self.ack(&response).await;
        }
        response
    }

    /// The names of a type that it has.
    pub fn names(&self, kind: Kind) -> Vec<&str> {
        self.has.keys().filter(|(url, _)| url == kind.type_url()).map(|(_, name)| name.as_str()).collect()
    }
}

/// A state-of-the-world client.
pub struct SotwClient {
    stream: Stream<DiscoveryRequest, DiscoveryResponse>,
}

impl SotwClient {
    /// Connects as a node.
    pub async fn start(server: SocketAddr, node: Node) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let outgoing = ReceiverStream::new(receiver);
        let responses = connect(server).await.stream_aggregated_resources(outgoing).await.unwrap().into_inner();
        Self { stream: Stream { requests, responses, node: Some(node) } }
    }

    /// Asks for names of a type, answering a response if there is one.
    pub async fn ask(&mut self, kind: Kind, names: &[&str], answered: Option<&DiscoveryResponse>) {
        let request = DiscoveryRequest {
            node: self.stream.node.take(),
            type_url: kind.type_url().to_owned(),
            resource_names: names.iter().map(ToString::to_string).collect(),
            response_nonce: answered.map(|response| response.nonce.clone()).unwrap_or_default(),
            version_info: answered.map(|response| response.version_info.clone()).unwrap_or_default(),
            ..DiscoveryRequest::default()
        };
        self.stream.send(request).await;
    }

    /// The next response.
    pub async fn next(&mut self) -> DiscoveryResponse {
        self.stream.next().await
    }
}

/// The names of what a response adds, sorted.
pub fn added(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    let mut names: Vec<&str> = response.resources.iter().map(|resource| resource.name.as_str()).collect();
    names.sort_unstable();
    names
}
