//! How the server listens, and what it lets one client have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::admission::ClientRule;
use super::transport::TlsFiles;

/// See the module.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen for TCP, if anywhere. Without [`tls`](Self::tls), a loopback address.
    pub tcp: Option<SocketAddr>,
    /// TLS over TCP, by which clients have to prove who they are.
    pub tls: Option<TlsFiles>,
    /// What those may see at first. Who is in none of these is not let in.
    pub clients: Vec<ClientRule>,
    /// Where to listen on a Unix socket, if anywhere. Only its owner may connect.
    pub unix: Option<PathBuf>,
    /// Whether a proxy that names no Gateways is sent all of them.
    pub allow_all: bool,
    /// Streams at once.
    pub max_clients: usize,
    /// Resource names that one client may subscribe to, all types together.
    pub max_subscriptions: usize,
    /// Bytes of one request. A client that comes back names all that it has, some 100 bytes a resource.
    pub max_request_bytes: usize,
    /// How long a client may take, once its stream is open, to say who it is.
    pub first_request: Duration,
    /// Silence on a connection before it is pinged.
    pub keepalive: Duration,
    /// How long a ping may take before the connection counts as dead.
    pub keepalive_timeout: Duration,
    /// How long connections may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tcp: None,
            tls: None,
            clients: Vec::new(),
            unix: None,
            allow_all: true,
            max_clients: 1_000,
            max_subscriptions: 200_000,
            max_request_bytes: 64 * 1024 * 1024,
            first_request: Duration::from_secs(15),
            keepalive: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}
