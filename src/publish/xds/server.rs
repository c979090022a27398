//! Sockets: TCP, which goes through the environment's network, and a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tidegate_actors::env::Listener;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use super::hub::XdsPublisher;
use super::service::AdsService;
use super::transport::{self, Io, Tls, TlsError};

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
    /// Others could read along.
    #[error("xDS carries private keys, and {address} (xds.address) is not a loopback address: set xds.tls")]
    Plain {
        /// The address.
        address: SocketAddr,
    },
    /// TLS cannot be had.
    #[error("xDS cannot be served over TLS")]
    Tls {
        /// Why.
        source: TlsError,
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
    tls: Option<Arc<Tls>>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl XdsServer {
    /// Opens the sockets that the publisher's options name.
    pub async fn bind(publisher: &XdsPublisher) -> Result<Self, ServerError> {
        let hub = &publisher.hub;
        let options = &hub.options;
        let tls = options.tls.clone().map(|files| Tls::load(files, &hub.env, &hub.problems).map(Arc::new));
        let tls = tls.transpose().map_err(|source| ServerError::Tls { source })?;
        if let Some(address) = options.tcp.filter(|address| tls.is_none() && !address.ip().is_loopback()) {
            return Err(ServerError::Plain { address });
        }
        let tcp = match options.tcp {
            Some(address) => {
                let listener = hub.env.net.listen(address).await;
                Some(listener.map_err(|source| ServerError::Tcp { address, source })?)
            }
            None => None,
        };
        let unix = match &options.unix {
            Some(path) => {
                let listener = transport::bind_unix(path).await;
                let listener =
                    listener.map_err(|source| ServerError::Unix { path: path.display().to_string(), source })?;
                Some((listener, path.clone()))
            }
            None => None,
        };
        Ok(Self { publisher: publisher.clone(), tcp, tls, unix })
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
        let tls = self.tls;
        let tcp = self.tcp.map(|listener| {
            let incoming = transport::tcp(listener, tls.clone(), &hub.env);
            serve(hub.options.clone(), service.clone(), incoming, stop.clone())
        });
        let (unix, path) = self.unix.unzip();
        let unix =
            unix.map(|listener| serve(hub.options.clone(), service.clone(), transport::unix(listener), stop.clone()));
        let rotation = async {
            match &tls {
                Some(tls) => tls.follow().await,
                None => std::future::pending().await,
            }
        };
        let both = futures::future::try_join_all(tcp.into_iter().chain(unix));
        let drained = async {
            stop.cancelled().await;
            hub.env.clock.sleep(hub.options.drain).await;
        };
        let result = tokio::select! {
            biased;
            result = both => result.map(|_| ()),
            () = drained => Ok(()),
            () = rotation => Ok(()),
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
