//! An xDS server with mTLS.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::publish::xds::{ClientRule, Options, ServerError, XdsPublisher, XdsServer};
use tidegate_actors::env::Env;
use tidegate_actors::problem::Problems;
use tokio_util::sync::CancellationToken;

use crate::caller::{PATIENCE, SERVER};
use crate::model::Update;
use crate::pki::{Authority, mk_server, write_files};

/// A running server with mTLS; it stops when dropped.
pub struct Server {
    /// Signs the server's certificate.
    pub own: Authority,
    /// Signs clients' certificates.
    pub clients: Authority,
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub problems: Problems,
    pub publisher: XdsPublisher,
    stop: CancellationToken,
}

/// Entries of `xds.clients`: identity and Gateways.
pub fn mk_rules(rules: &[(&str, &[&str])]) -> Vec<ClientRule> {
    let rule = |(identity, gateways): &(&str, &[&str])| {
        let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        ClientRule::new(identity, &gateways).unwrap()
    };
    rules.iter().map(rule).collect()
}

impl Server {
    /// Starts one that lets in clients by these rules: identity and Gateways.
    pub async fn start(rules: &[(&str, &[&str])]) -> Self {
        let (own, clients) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let files = write_files(folder.path(), &own.issue(&mk_server(SERVER)), &clients.pem());
        let options = Options {
            tcp: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            tls: Some(files),
            clients: mk_rules(rules),
            ..Options::default()
        };
        let problems = Problems::default();
        let publisher = XdsPublisher::new(options, problems.clone(), Env::system());
        let server = XdsServer::bind(&publisher).await.unwrap();
        let address = server.tcp_address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self { own, clients, folder, address, problems, publisher, stop }
    }

    pub fn apply(&self, update: &Update) {
        self.publisher.apply(&update.0);
    }

    /// Waits until something is true of it.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", self.problems.list());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Why a server with these options does not listen.
pub async fn refused(options: Options) -> ServerError {
    let publisher = XdsPublisher::new(options, Problems::default(), Env::system());
    match XdsServer::bind(&publisher).await {
        Ok(_) => panic!("it listens"),
        Err(error) => error,
    }
}
