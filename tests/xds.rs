//! xDS from the outside: clients of the tests' own over real gRPC, and a real Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/xds_client.rs"]
mod client;
#[path = "support/xds_envoy.rs"]
mod envoy;
#[path = "support/xds_model.rs"]
mod model;
#[path = "support/ports.rs"]
#[allow(dead_code, reason = "each suite uses its part")]
mod ports;

#[path = "xds/clients.rs"]
mod clients;
#[path = "xds/grpc.rs"]
mod grpc;
#[path = "xds/metrics.rs"]
mod metrics;
#[path = "xds/proxy.rs"]
mod proxy;
#[path = "xds/text.rs"]
mod text;

use std::net::SocketAddr;

use tidegate::publish::xds::{Options, ServerError, XdsPublisher, XdsServer};
use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running server; it stops when dropped.
struct Server {
    publisher: XdsPublisher,
    address: SocketAddr,
    problems: Problems,
    stop: CancellationToken,
    run: JoinHandle<Result<(), ServerError>>,
}

impl Server {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let problems = Problems::default();
        let anywhere = || "127.0.0.1:0".parse().unwrap();
        let options = Options { tcp: Some(options.tcp.unwrap_or_else(anywhere)), ..options };
        let publisher = XdsPublisher::new(options, problems.clone(), Env::system());
        let server = XdsServer::bind(&publisher).await.unwrap();
        let address = server.tcp_address().unwrap();
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone()));
        Self { publisher, address, problems, stop, run }
    }

    fn apply(&self, update: model::Update) {
        self.publisher.apply(&update.0);
    }

    /// Standing problems: scope, object's name, reason.
    fn problems(&self) -> Vec<(String, String, String)> {
        let name = |object: Option<tidegate_actors::id::ObjectRef>| object.map(|object| object.key.name.to_string());
        let all = self.problems.list().into_iter();
        all.map(|(scope, problem)| (scope, name(problem.object).unwrap_or_default(), problem.reason)).collect()
    }

    /// Waits for something to become true of the server.
    async fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let end = std::time::Instant::now() + client::DEADLINE;
        while !is(self) {
            assert!(std::time::Instant::now() < end, "{what}: {:#?} {:?}", self.publisher.clients(), self.problems());
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
