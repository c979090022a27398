//! Sockets, as far as stages open any themselves: byte streams, in both directions.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream to somebody else.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send {
    /// Waits for the next connection and says who it is.
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)>;

    /// Where it listens; tells the port when it was asked for port 0.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The network.
#[async_trait]
pub trait Net: Send + Sync + 'static {
    /// Opens a connection to `host:port`.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>>;

    /// Listens on an address.
    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Whether it has Unix sockets beside; a network in memory has none.
    fn has_unix(&self) -> bool {
        true
    }
}

/// The machine's network.
pub struct SystemNet;

#[async_trait]
impl Net for SystemNet {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}
