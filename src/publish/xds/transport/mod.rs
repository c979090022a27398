//! How proxies reach us: sockets that are accepted, TLS over those that others could read, and who a connection is
//! from. It knows nothing of what is said over a connection.
//!
//! Laws: who shakes hands slowly, or not at all, holds up nobody else; what is not proven by a certificate is nobody's
//! identity.

mod accept;

mod identity;

mod tls;

pub use accept::{bind_unix, tcp, unix};
pub use identity::{ClientCertificate, Identity};
pub use tls::{Tls, TlsError, TlsFiles};

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_actors::env::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Where a connection comes from; the transport puts it into every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address, or `unix`.
    pub address: String,
    /// What it has shown. `None` where there is no TLS: on loopback and on the Unix socket, where whoever can connect is
    /// trusted.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A connection as the server takes it.
pub struct Io {
    connection: Box<dyn Connection>,
    peer: Peer,
}

impl Connected for Io {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
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
