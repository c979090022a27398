//! How the server listens, and what it lets one client have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen for TCP, if anywhere. There is no TLS: bind a loopback address.
    pub tcp: Option<SocketAddr>,
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
