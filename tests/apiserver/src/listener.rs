//! Listening, and the connections that come of it: each a task of its own that ends with the listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tidegate_actors::env::Connection;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::{Gate, Gated};
use crate::routes::{self, Via};
use crate::state::State;

/// The connections of one server.
#[derive(Default)]
pub struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
    /// What holds all of them up, if it does.
    pub gate: Arc<Gate>,
}

impl Connections {
    /// How many have been opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub fn open(&self) -> u64 {
        self.opened() - self.closed.load(Ordering::SeqCst)
    }
}

/// One address that is listened on.
pub struct Listening {
    /// Where, with the port that it got.
    pub address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listening {
    /// Listens.
    pub async fn start(
        state: Arc<State>,
        connections: Arc<Connections>,
        tls: Option<Arc<ServerConfig>>,
        address: SocketAddr,
        replica: bool,
    ) -> io::Result<Self> {
        let mut listener = state.env().net.listen(address).await?;
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stopped, accepted) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let connection = tokio::select! {
                    biased;
                    () = stopped.cancelled() => return,
                    connection = listener.accept() => connection,
                };
                // A client that is gone before it was accepted is nobody's fault.
                let Ok((connection, _)) = connection else { continue };
                let number = connections.opened.fetch_add(1, Ordering::SeqCst) + 1;
                let via = Via { connection: number, replica };
                let (state, tls, stopped, counted) = (state.clone(), tls.clone(), stopped.clone(), connections.clone());
                accepted.spawn(async move {
                    let connection = Gated { inner: connection, gate: counted.gate.clone() };
                    tokio::select! {
                        biased;
                        () = stopped.cancelled() => {}
                        () = serve(state, via, tls, connection) => {}
                    }
                    counted.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        tasks.close();
        Ok(Self { address, stop, tasks })
    }

    /// Closes the address and every connection, without a farewell.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(state: Arc<State>, via: Via, tls: Option<Arc<ServerConfig>>, connection: Gated<Box<dyn Connection>>) {
    match tls {
        None => converse(state, via, connection).await,
        Some(tls) => {
            // A handshake that fails is the client's to report.
            if let Ok(connection) = TlsAcceptor::from(tls).accept(connection).await {
                converse(state, via, connection).await;
            }
        }
    }
}

async fn converse(state: Arc<State>, via: Via, connection: impl Connection + 'static) {
    let max_streams = state.options.max_streams;
    let service = service_fn(move |request| routes::answer(state.clone(), via, request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(max_streams);
    // Broken on purpose, or by the client: either way it is over.
    let _over = builder.serve_connection(TokioIo::new(connection), service).await;
}
