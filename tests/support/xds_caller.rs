//! Whoever calls a method of an xDS server, in whatever way: in plain text or by TLS, as whom and with which claim.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Any, ListValue, Struct, Value};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tidegate::publish::xds::{Kind, METADATA_KEY};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};

/// The name by which servers are called.
pub const SERVER: &str = "xds.example";

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection: by TLS if there is a config, else in plain text.
pub async fn connect(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let stream: Box<dyn tidegate_actors::env::Connection> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = ServerName::try_from(SERVER).unwrap();
                    Box::new(TlsConnector::from(tls).connect(name, stream).await?)
                }
            };
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))
}

/// A node that claims some Gateways, or says nothing of them.
pub fn mk_node(gateways: Option<&[&str]>) -> Node {
    let text = |text: &&str| Value { kind: Some(ValueKind::StringValue((*text).to_owned())) };
    let list =
        |all: &[&str]| Value { kind: Some(ValueKind::ListValue(ListValue { values: all.iter().map(text).collect() })) };
    let fields = gateways.map(|all| (METADATA_KEY.to_owned(), list(all)));
    Node { id: "caller".to_owned(), metadata: Some(Struct { fields: fields.into_iter().collect() }), ..Node::default() }
}

/// One stream of one method, whichever of the two protocols it speaks.
pub enum Call {
    Delta(mpsc::Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>),
    Sotw(mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>),
}

impl Call {
    /// Opens a stream of the method at a path. A method that this does not know has to be taught to it, and so to the
    /// matrix.
    pub async fn open(channel: Channel, path: &'static str) -> Result<Self, Status> {
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        match path {
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources" => {
                let (requests, outgoing) = mpsc::channel(16);
                let answered = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await?;
                Ok(Self::Delta(requests, answered.into_inner()))
            }
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources" => {
                let (requests, outgoing) = mpsc::channel(16);
                let answered = client.stream_aggregated_resources(ReceiverStream::new(outgoing)).await?;
                Ok(Self::Sotw(requests, answered.into_inner()))
            }
            _ => panic!("{path} is new: say here how it is called"),
        }
    }

    /// Asks for a type: everything, or some names.
    pub async fn ask(&self, node: Option<Node>, kind: Kind, names: &[&str]) {
        let (type_url, names) = (kind.type_url().to_owned(), names.iter().map(ToString::to_string).collect());
        // Who is refused hears nothing of it any more.
        match self {
            Self::Delta(requests, _) => {
                let request =
                    DeltaDiscoveryRequest { node, type_url, resource_names_subscribe: names, ..Default::default() };
                let _ = requests.send(request).await;
            }
            Self::Sotw(requests, _) => {
                let request = DiscoveryRequest { node, type_url, resource_names: names, ..Default::default() };
                let _ = requests.send(request).await;
            }
        }
    }

    /// Accepts a response.
    pub async fn accept(&self, kind: Kind, version: &str, nonce: &str) {
        let (type_url, response_nonce) = (kind.type_url().to_owned(), nonce.to_owned());
        match self {
            Self::Delta(requests, _) => {
                let request = DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() };
                requests.send(request).await.unwrap();
            }
            Self::Sotw(requests, _) => {
                let version_info = version.to_owned();
                let request = DiscoveryRequest { type_url, response_nonce, version_info, ..Default::default() };
                requests.send(request).await.unwrap();
            }
        }
    }

    /// The next response: its version and nonce, and what is in it.
    pub async fn next(&mut self) -> Result<(String, String, Vec<Any>), Status> {
        let ended = || Status::unavailable("the stream ended without a word");
        let next = async {
            match self {
                Self::Delta(_, responses) => {
                    let response = responses.message().await?.ok_or_else(ended)?;
                    let resources = response.resources.into_iter().filter_map(|resource| resource.resource);
                    Ok((response.system_version_info, response.nonce, resources.collect()))
                }
                Self::Sotw(_, responses) => {
                    let response = responses.message().await?.ok_or_else(ended)?;
                    Ok((response.version_info, response.nonce, response.resources))
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("there was no answer")
    }
}

/// Everything that a caller gets of all types, by wildcard where there is one and by names where not; or why nothing.
pub async fn everything(
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    path: &'static str,
    node: Node,
    named: &[(Kind, &[&str])],
) -> Result<Vec<Any>, String> {
    let channel = connect(address, tls).await?;
    let mut call = Call::open(channel, path).await.map_err(|status| status.to_string())?;
    let mut node = Some(node);
    let mut all = Vec::new();
    for (kind, names) in named {
        call.ask(node.take(), *kind, names).await;
        let (version, nonce, resources) = call.next().await.map_err(|status| status.to_string())?;
        call.accept(*kind, &version, &nonce).await;
        all.extend(resources);
    }
    Ok(all)
}
