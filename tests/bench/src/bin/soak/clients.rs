//! xDS clients that take everything: delta, over gRPC, and again with what they have whenever a stream ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tidegate::publish::xds::Kind;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// Virtual hosts by name: version and body.
type Hosts = BTreeMap<String, (String, Vec<u8>)>;

/// See the module. They end when this is dropped.
pub struct Clients {
    _runtime: Runtime,
    all: Vec<Arc<Mutex<Hosts>>>,
}

impl Clients {
    /// So many clients of the service with this config.
    pub fn start(config: &Path, count: usize) -> Self {
        let runtime = Runtime::new().unwrap_or_else(|error| panic!("a runtime: {error}"));
        let server = address_of(config, "xds");
        let start = |number| {
            let hosts = Arc::new(Mutex::new(Hosts::new()));
            runtime.spawn(follow(server, format!("soak-{number}"), hosts.clone()));
            hosts
        };
        let all = (0..count).map(start).collect();
        Self { _runtime: runtime, all }
    }

    /// Which client lacks the last version of which route.
    pub fn lacking(&self, versions: &[usize]) -> Vec<(usize, usize)> {
        let mut lacking = Vec::new();
        for (client, hosts) in self.all.iter().enumerate() {
            let hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let by_host: BTreeMap<&str, &[u8]> =
                hosts.iter().map(|(name, (_, body))| (name.rsplit('/').next().unwrap_or(name), &**body)).collect();
            for (route, version) in versions.iter().enumerate() {
                let body = by_host.get(format!("h{route}.example.com").as_str());
                // Where the redirect goes names the version.
                let wanted = format!("v{version}.example.com");
                let has = body.is_some_and(|body| contains(body, wanted.as_bytes()));
                if !has {
                    lacking.push((client, route));
                }
            }
        }
        lacking
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

/// The address of a section, from a config that was written for us.
pub fn address_of(config: &Path, section: &str) -> SocketAddr {
    let text = std::fs::read_to_string(config).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
    let of_section = text.split(&format!("{section}:\n  address: ")).nth(1).and_then(|rest| rest.lines().next());
    let address = of_section.and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address of {section} in {text}"))
}

async fn follow(server: SocketAddr, node: String, hosts: Arc<Mutex<Hosts>>) {
    loop {
        // Why a stream ended is the service's to say; a client comes back.
        drop(stream(server, &node, &hosts).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn stream(server: SocketAddr, node: &str, hosts: &Mutex<Hosts>) -> Result<(), Status> {
    let gone = |error: &dyn std::error::Error| Status::unavailable(error.to_string());
    let channel = Channel::from_shared(format!("http://{server}")).map_err(|error| gone(&error))?;
    let channel = channel.connect().await.map_err(|error| gone(&error))?;
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let (requests, outgoing) = mpsc::channel(64);
    let mut responses = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await?.into_inner();
    let ask = async |request: DeltaDiscoveryRequest| requests.send(request).await.map_err(|error| gone(&error));

    let has: Vec<(String, String)> = {
        let hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(name, (version, _))| (name.clone(), version.clone())).collect()
    };
    for (at, kind) in [Kind::Cluster, Kind::Listener, Kind::RouteConfig, Kind::VirtualHost].into_iter().enumerate() {
        let named = kind == Kind::RouteConfig;
        ask(DeltaDiscoveryRequest {
            node: (at == 0).then(|| Node { id: node.to_owned(), ..Node::default() }),
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: if named { vec!["http/127.0.0.1:8080".to_owned()] } else { Vec::new() },
            initial_resource_versions: has.iter().filter(|_| kind == Kind::VirtualHost).cloned().collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await?;
    }
    while let Some(DeltaDiscoveryResponse { type_url, nonce, resources, removed_resources, .. }) =
        responses.message().await?
    {
        if type_url == Kind::VirtualHost.type_url() {
            let hosts = &mut *hosts.lock().unwrap_or_else(PoisonError::into_inner);
            for of in resources {
                hosts.insert(of.name, (of.version, of.resource.map(|any| any.value).unwrap_or_default()));
            }
            removed_resources.iter().for_each(|name| drop(hosts.remove(name)));
        }
        ask(DeltaDiscoveryRequest { type_url, response_nonce: nonce, ..DeltaDiscoveryRequest::default() }).await?;
    }
    Ok(())
}
