//! Sockets: TCP, which goes through the environment's network, and a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tidegate_actors::env::{Connection, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::hub::XdsPublisher;
use super::service::{AdsService, Peer};

/// After a failure to accept (usually: out of file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The TCP address cannot be had.
    #[error("xDS cannot listen on {address} (xds.listen): {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket cannot be had.
    #[error("xDS cannot listen on the socket {path} (xds.socket): {source}")]
    Unix {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Serving failed.
    #[error("the xDS server failed: {source}")]
    Serve {
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A server that listens already and serves when it is run.
pub struct XdsServer {
    publisher: XdsPublisher,
    tcp: Option<Box<dyn Listener>>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl XdsServer {
    /// Opens the sockets that the publisher's options name.
    pub async fn bind(publisher: &XdsPublisher) -> Result<Self, ServerError> {
        let options = &publisher.hub.options;
        let tcp = match options.tcp {
            Some(address) => {
                let listener = publisher.hub.env.net.listen(address).await;
                Some(listener.map_err(|source| ServerError::Tcp { address, source })?)
            }
            None => None,
        };
        let unix = match &options.unix {
            Some(path) => {
                let listener = bind_unix(path).await;
                let listener =
                    listener.map_err(|source| ServerError::Unix { path: path.display().to_string(), source })?;
                Some((listener, path.clone()))
            }
            None => None,
        };
        Ok(Self { publisher: publisher.clone(), tcp, unix })
    }

    /// Where it listens for TCP; tells the port when it was asked for port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Serves until it is told to stop; then tells every client to reconnect, and waits for them a while.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let hub = self.publisher.hub;
        let tasks = TaskTracker::new();
        let service = AdsService::new(hub.clone(), tasks.clone(), stop.clone());
        let tcp = self.tcp.map(|listener| {
            let incoming = stream::unfold(listener, |mut listener| async {
                let (connection, peer) = loop {
                    match listener.accept().await {
                        Ok(accepted) => break accepted,
                        Err(error) => pause(&error).await,
                    }
                };
                Some((Ok(Io { connection, peer: peer.to_string() }), listener))
            });
            serve(hub.options.clone(), service.clone(), incoming.boxed(), stop.clone())
        });
        let (unix, path) = self.unix.unzip();
        let unix = unix.map(|listener| {
            let incoming = stream::unfold(listener, |listener| async {
                let connection = loop {
                    match listener.accept().await {
                        Ok((connection, _)) => break connection,
                        Err(error) => pause(&error).await,
                    }
                };
                Some((Ok(Io { connection: Box::new(connection), peer: "unix".to_owned() }), listener))
            });
            serve(hub.options.clone(), service.clone(), incoming.boxed(), stop.clone())
        });
        let both = futures::future::try_join_all(tcp.into_iter().chain(unix));
        let drained = async {
            stop.cancelled().await;
            hub.env.clock.sleep(hub.options.drain).await;
        };
        let result = tokio::select! {
            biased;
            result = both => result.map(|_| ()),
            () = drained => Ok(()),
        };
        tasks.close();
        if let Some(path) = path {
            // Nobody can connect to it any more; if it is gone already, so much the better.
            let _ = std::fs::remove_file(path);
        }
        result
    }
}

type FutureBox = Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>>;

fn serve(
    options: super::Options,
    service: AdsService,
    incoming: impl Stream<Item = io::Result<Io>> + Send + Unpin + 'static,
    stop: CancellationToken,
) -> FutureBox {
    Box::pin(async move {
        Server::builder()
            .http2_keepalive_interval(Some(options.keepalive))
            .http2_keepalive_timeout(Some(options.keepalive_timeout))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
            .map_err(|source| ServerError::Serve { source })
    })
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "xDS cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Takes over a socket that a dead process left behind, but none that somebody answers on.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A connection as the transport takes it.
struct Io {
    connection: Box<dyn Connection>,
    peer: String,
}

impl Connected for Io {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.peer.clone())
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
