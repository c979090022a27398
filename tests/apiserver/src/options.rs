//! What a server is started with. Every default is the real server's, as far as it has one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidegate_actors::env::Env;

/// How watches begin and end.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// How often a watch that allows bookmarks gets one.
    pub bookmark_period: Duration,
    /// Whether a watch may ask for its initial events, as servers since 1.34 let it. Without, it is answered 422.
    pub streaming_lists: bool,
    /// Whether a watch from a forgotten version is refused with the HTTP status 410, as servers without a watch cache
    /// do, and not by an ERROR event.
    pub gone_as_status: bool,
    /// How long a watch lasts that names no `timeoutSeconds`.
    pub timeout: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            bookmark_period: Duration::from_secs(60),
            streaming_lists: true,
            gone_as_status: false,
            timeout: Duration::from_secs(1800),
        }
    }
}

/// Everything that can be chosen at the start.
#[derive(Clone)]
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// A second address, which [`freeze`](crate::ApiServer::freeze) makes a stale replica.
    pub replica: Option<SocketAddr>,
    /// TLS with HTTP/2 by ALPN; without, HTTP/1 and HTTP/2 with prior knowledge.
    pub tls: bool,
    /// The last revision before the first write.
    pub revision: u64,
    /// How many events of a type a watch can go back over.
    pub window: usize,
    /// How many events of a type a list at an earlier version can go back over.
    pub history: usize,
    /// How watches begin and end.
    pub watch: WatchOptions,
    /// Bearer tokens and their users. With none, everybody is `system:admin`.
    pub tokens: BTreeMap<String, String>,
    /// Streams on one HTTP/2 connection.
    pub max_streams: u32,
    /// Clock, randomness and sockets.
    pub env: Env,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            replica: None,
            tls: false,
            revision: 100,
            window: 10_000,
            history: 100_000,
            watch: WatchOptions::default(),
            tokens: BTreeMap::new(),
            max_streams: 100,
            env: Env::system(),
        }
    }
}
