//! The server as a test holds it: start it, fill it, break it, and see what was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::listener::{Connections, Listening};
use crate::options::Options;
use crate::state::{Order, State};
use crate::tls::{Tls, TlsError};

/// A server that does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address that cannot be had.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate.
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
}

/// An API server in this process. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) state: Arc<State>,
    connections: Arc<Connections>,
    tls: Option<Tls>,
    /// The server's own address, and the replica's.
    addresses: Vec<SocketAddr>,
    listening: Mutex<Vec<Listening>>,
}

impl ApiServer {
    /// Starts a server; it serves when this returns.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let tls = options.tls.then(|| Tls::new(options.address.ip())).transpose()?;
        let wanted: Vec<SocketAddr> = [Some(options.address), options.replica].into_iter().flatten().collect();
        let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
        let state = Arc::new(State::new(options, orders));
        let mut inner =
            Inner { state, connections: Arc::default(), tls, addresses: wanted, listening: Mutex::default() };
        inner.listen().await?;
        inner.addresses = inner.listening.get_mut().iter().map(|listening| listening.address).collect();
        let inner = Arc::new(inner);
        inner.default_namespaces();
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            while let Some(order) = ordered.recv().await {
                let Some(inner) = weak.upgrade() else { return };
                inner.obey(order).await;
            }
        });
        Ok(Self { inner })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.inner.url(0)
    }

    /// Where the replica is; the server itself, if there is none.
    pub fn replica_url(&self) -> String {
        self.inner.url(1)
    }

    /// A kubeconfig for it, with a good token if tokens are asked for.
    pub fn kubeconfig(&self) -> String {
        self.inner.kubeconfig(0)
    }

    /// A kubeconfig for the replica.
    pub fn replica_kubeconfig(&self) -> String {
        self.inner.kubeconfig(1)
    }

    /// The authority that signed its certificate, in PEM; none without TLS.
    pub fn authority(&self) -> Option<&str> {
        self.inner.tls.as_ref().map(|tls| tls.authority.as_str())
    }

    /// Stops listening and closes every connection. What it holds it keeps.
    pub async fn stop(&self) {
        self.inner.stop().await;
    }

    /// Listens again, on the same ports.
    pub async fn start_again(&self) -> Result<(), StartError> {
        self.inner.listen().await
    }

    /// What a restart of the real one looks like from outside: connections close, and no watch can start before the
    /// present, since the watch cache is new.
    pub async fn restart(&self) -> Result<(), StartError> {
        self.stop().await;
        self.inner.state.world.lock().forget_windows();
        self.start_again().await
    }

    /// Every connection stands still, as when the process is stopped: new ones are accepted, and nothing is said.
    pub fn pause(&self) {
        self.inner.connections.gate.close();
    }

    /// Goes on.
    pub fn resume(&self) {
        self.inner.connections.gate.open();
    }

    /// How many connections are open.
    pub fn connections(&self) -> u64 {
        self.inner.connections.open()
    }

    /// How many connections have been opened since the start.
    pub fn connections_opened(&self) -> u64 {
        self.inner.connections.opened()
    }
}

impl Inner {
    async fn listen(&self) -> Result<(), StartError> {
        let mut listening = self.listening.lock().await;
        for at in listening.len()..self.addresses.len() {
            let address = self.addresses[at];
            let tls = self.tls.as_ref().map(|tls| tls.config.clone());
            let started = Listening::start(self.state.clone(), self.connections.clone(), tls, address, at > 0).await;
            listening.push(started.map_err(|source| StartError::Listen { address, source })?);
        }
        Ok(())
    }

    async fn stop(&self) {
        for listening in self.listening.lock().await.drain(..) {
            listening.stop().await;
        }
    }

    /// What was ordered over HTTP. Over such a server there is nobody to tell that a port was taken meanwhile, so that
    /// it is tried again.
    async fn obey(&self, order: Order) {
        let Order::Restart { millis, keep_window } = order;
        self.stop().await;
        if !keep_window {
            self.state.world.lock().forget_windows();
        }
        let clock = &self.state.env().clock;
        clock.sleep(Duration::from_millis(millis)).await;
        while self.listen().await.is_err() {
            clock.sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self, at: usize) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.addresses.get(at).or(self.addresses.first());
        address.map_or(String::new(), |address| format!("{scheme}://{address}"))
    }

    fn kubeconfig(&self, at: usize) -> String {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let authority = self
            .tls
            .as_ref()
            .map_or(String::new(), |tls| format!("    certificate-authority-data: {}\n", encode(&tls.authority)));
        let token = self.state.access.any_token();
        let user = token.map_or("{}".to_owned(), |token| format!("{{token: {token}}}"));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: tidegate\nclusters:\n- name: tidegate\n  cluster:\n    \
             server: {}\n{authority}users:\n- name: tidegate\n  user: {user}\ncontexts:\n- name: tidegate\n  context: \
             {{cluster: tidegate, user: tidegate}}\n",
            self.url(at)
        )
    }
}
