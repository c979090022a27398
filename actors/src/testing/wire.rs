//! Connections that something happens to on the way: delayed, cut, damaged, half open, byte by byte as a bad network
//! does it. In memory, for a system in virtual time, and between real sockets.
//!
//! Places: `PLACE/up` for what goes to the server and `PLACE/down` for what comes back, asked once for each piece that
//! is carried.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::env::{Connection, Env, Fault};

/// So much is carried at once, and is what one fault strikes.
const PIECE: usize = 16 * 1024;

/// Carries what two ends say to each other, in a task, until one of them has enough or a fault cuts it.
pub fn carry(env: &Env, place: &str, client: Box<dyn Connection>, server: Box<dyn Connection>) -> JoinHandle<()> {
    let cut = Arc::new(Notify::new());
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let up = Way { env: env.clone(), place: format!("{place}/up"), cut: cut.clone() };
    let down = Way { env: env.clone(), place: format!("{place}/down"), cut: cut.clone() };
    tokio::spawn(async move {
        let both = async { tokio::join!(biased; up.run(from_client, to_server), down.run(from_server, to_client)) };
        // Both ends are dropped with the ways, which is what a cut is to those who hold the other ends.
        tokio::select! {
            biased;
            () = cut.notified() => {}
            _ = both => {}
        }
    })
}

/// One direction of a connection.
struct Way {
    env: Env,
    place: String,
    cut: Arc<Notify>,
}

impl Way {
    async fn run(self, mut from: ReadHalf<Box<dyn Connection>>, mut to: WriteHalf<Box<dyn Connection>>) {
        let mut piece = vec![0; PIECE];
        loop {
            let length = match from.read(&mut piece).await {
                // The other direction may go on: a half-closed connection is one.
                Ok(0) => return drop(to.shutdown().await),
                Ok(length) => length,
                Err(_) => return self.cut.notify_one(),
            };
            let piece = &mut piece[..length];
            let mut times = 1;
            match self.env.fault(|| self.place.clone()) {
                Fault::None => {}
                Fault::Delay(wait) => self.env.clock.sleep(wait).await,
                Fault::Reorder => self.env.clock.sleep(std::time::Duration::from_millis(1)).await,
                Fault::Duplicate => times = 2,
                Fault::Corrupt => piece.iter_mut().for_each(|byte| *byte = !*byte),
                Fault::Drop | Fault::Error(_) | Fault::Panic(_) => return self.cut.notify_one(),
                // Half open: nobody is told anything, and nothing arrives any more.
                Fault::Stall => std::future::pending().await,
            }
            for _ in 0..times {
                if to.write_all(piece).await.is_err() {
                    return self.cut.notify_one();
                }
            }
        }
    }
}

/// A proxy before a real server, for programs that speak TCP: what it carries passes the places `PLACE/up` and
/// `PLACE/down`, and a connection that is opened `PLACE/connect`. It ends when it is dropped.
pub struct WireProxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl WireProxy {
    /// Listens on a free loopback port of the environment's network and carries to `server`, which is a `host:port`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(env: &Env, place: &str, server: &str) -> io::Result<Self> {
        let mut listener = env.net.listen(([127, 0, 0, 1], 0).into()).await?;
        let address = listener.local_addr()?;
        let (env, place, server) = (env.clone(), place.to_owned(), server.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !matches!(env.fault(|| format!("{place}/connect")), Fault::None) {
                    continue;
                }
                if let Ok(upstream) = env.net.connect(&server).await {
                    carry(&env, &place, client, upstream);
                }
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WireProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
