//! Connections as they come: over TCP, plain or by TLS, and over a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use tidegate_actors::env::{Connection, Env, Listener};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::identity::ClientCertificate;
use super::tls::Tls;
use super::{Io, Peer};

/// After a failure to accept (usually: out of file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many may be under way at once. Who comes beyond that waits in the kernel's queue.
const HANDSHAKES: usize = 512;

/// Connections over TCP; by TLS if it is given.
pub fn tcp(listener: Box<dyn Listener>, tls: Option<Arc<Tls>>, env: &Env) -> BoxStream<'static, io::Result<Io>> {
    match tls {
        None => stream::unfold(listener, |mut listener| async {
            let (connection, from) = accepted(&mut *listener).await;
            let peer = Peer { address: from.to_string(), certificate: None };
            Some((Ok(Io { connection, peer }), listener))
        })
        .boxed(),
        Some(tls) => {
            let secured = Secured { listener, tls, env: env.clone(), handshakes: JoinSet::new() };
            stream::unfold(secured, |mut secured| async { Some((Ok(secured.next().await), secured)) }).boxed()
        }
    }
}

/// Connections over a Unix socket.
pub fn unix(listener: UnixListener) -> BoxStream<'static, io::Result<Io>> {
    stream::unfold(listener, |listener| async {
        let connection = loop {
            match listener.accept().await {
                Ok((connection, _)) => break Box::new(connection),
                Err(error) => pause(&error).await,
            }
        };
        let peer = Peer { address: "unix".to_owned(), certificate: None };
        Some((Ok(Io { connection, peer }), listener))
    })
    .boxed()
}

async fn accepted(listener: &mut dyn Listener) -> (Box<dyn Connection>, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "xDS cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// A listener with handshakes under way, each in a task of its own; they end with it.
struct Secured {
    listener: Box<dyn Listener>,
    tls: Arc<Tls>,
    env: Env,
    handshakes: JoinSet<Option<Io>>,
}

impl Secured {
    /// The next connection whose handshake is done.
    async fn next(&mut self) -> Io {
        loop {
            let has_room = self.handshakes.len() < HANDSHAKES;
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(io)) = done {
                        return io;
                    }
                }
                (connection, from) = accepted(&mut *self.listener), if has_room => {
                    let acceptor = TlsAcceptor::from(self.tls.config());
                    self.handshakes.spawn(handshake(acceptor, connection, from, self.env.clone()));
                }
            }
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, connection: Box<dyn Connection>, from: SocketAddr, env: Env) -> Option<Io> {
    let shaken = tokio::select! {
        biased;
        shaken = acceptor.accept(connection).map(|shaken| shaken.map_err(|error| error.to_string())) => shaken,
        () = env.clock.sleep(HANDSHAKE) => Err(format!("no TLS handshake within {HANDSHAKE:?}")),
    };
    let refused = |reason: &str| {
        metrics::counter!("tidegate_xds_refused_total", "reason" => "tls").increment(1);
        tracing::info!(%from, reason, "an xDS connection is refused");
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(reason) => {
            refused(&reason);
            return None;
        }
    };
    // The handshake ends without a certificate in no case; should it ever, nobody is what comes of it.
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(leaf) = leaf else {
        refused("no client certificate was shown");
        return None;
    };
    let peer = Peer { address: from.to_string(), certificate: Some(ClientCertificate::of(leaf).into()) };
    Some(Io { connection: Box::new(stream), peer })
}

/// Takes over a socket that a dead process left behind, but none that somebody answers on. Only its owner may connect.
pub async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
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
