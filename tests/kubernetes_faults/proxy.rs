//! A TCP proxy on loopback: the network between a client and a server, with the faults that networks have. What it
//! carries is TLS, so it counts bytes and knows nothing of them.
//!
//! Law: what is cut is cut for good; what is only held up arrives in order once it may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports::free_port;

/// How bytes travel from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// At once.
    #[default]
    Pass,
    /// Each piece so much later.
    Delay(Duration),
    /// A few bytes at a time.
    Trickle(usize),
    /// Not at all, and nothing is closed.
    Freeze,
    /// Nobody listens, and what was open is cut.
    Refuse,
}

/// See the module.
pub struct Proxy {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    target: watch::Sender<SocketAddr>,
    network: watch::Sender<Network>,
    /// Connections up to this number are cut.
    cut: watch::Sender<u64>,
    /// Connections up to this number carry nothing any more, and stay open.
    lost: AtomicU64,
    accepted: AtomicU64,
    /// How many bytes more come from the server until the connection that carries them is cut; negative: no end.
    budget: AtomicI64,
    /// What was cut while something was under way.
    cuts: AtomicU64,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let inner = Arc::new(Inner {
            target: watch::Sender::new(target),
            network: watch::Sender::default(),
            cut: watch::Sender::default(),
            lost: AtomicU64::default(),
            accepted: AtomicU64::default(),
            budget: AtomicI64::new(-1),
            cuts: AtomicU64::default(),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let task = tokio::spawn(listen(inner.clone(), address, listener));
        Self { address, inner, task }
    }

    /// From now on new connections go there.
    pub fn lead_to(&self, target: SocketAddr) {
        self.inner.target.send_replace(target);
    }

    pub fn set(&self, network: Network) {
        if network == Network::Refuse {
            self.cut();
        }
        self.inner.network.send_replace(network);
    }

    /// Cuts whatever is open.
    pub fn cut(&self) {
        self.inner.cut.send_replace(self.accepted());
    }

    /// Cuts the connection that carries the byte that comes from the server after so many.
    pub fn cut_after(&self, bytes: u32) {
        self.inner.budget.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Whatever is open carries nothing any more, and neither end hears of it.
    pub fn lose(&self) {
        self.inner.lost.store(self.accepted(), Ordering::SeqCst);
        // Those that wait for bytes look again.
        self.inner.network.send_modify(|_| ());
    }

    /// As if nothing had ever been wrong, for those who connect now.
    pub fn heal(&self) {
        self.inner.budget.store(-1, Ordering::SeqCst);
        self.set(Network::Pass);
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.inner.accepted.load(Ordering::SeqCst)
    }

    /// How many were cut.
    pub fn cuts(&self) -> u64 {
        self.inner.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.cut.send_replace(u64::MAX);
    }
}

async fn listen(inner: Arc<Inner>, address: SocketAddr, listener: TcpListener) {
    let (mut network, mut listener) = (inner.network.subscribe(), Some(listener));
    loop {
        if *network.borrow_and_update() == Network::Refuse {
            listener = None;
            if network.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listening = match listener.take() {
            Some(listening) => listening,
            // The port is ours; whoever still closes a connection on it is about to be done.
            None => loop {
                match TcpListener::bind(address).await {
                    Ok(listening) => break listening,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            },
        };
        tokio::select! {
            biased;
            changed = network.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = listening.accept() => {
                if let Ok((client, _)) = accepted {
                    let number = inner.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                    tokio::spawn(connection(inner.clone(), number, client));
                }
            }
        }
        listener = Some(listening);
    }
}

async fn connection(inner: Arc<Inner>, number: u64, client: TcpStream) {
    let target = *inner.target.borrow();
    let Ok(server) = TcpStream::connect(target).await else {
        // Refused there is refused here, though a little later.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Every other one ends with a reset, as of a machine that has lost its memory.
    if number.is_multiple_of(2) {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
    let mut cut = inner.cut.subscribe();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let carried = async {
        tokio::select! {
            biased;
            () = carry(&inner, number, from_client, to_server, false) => {}
            () = carry(&inner, number, from_server, to_client, true) => {}
        }
    };
    tokio::select! {
        biased;
        _ = cut.wait_for(|cut| *cut >= number) => drop(inner.cuts.fetch_add(1, Ordering::SeqCst)),
        () = carried => {}
    }
}

/// Carries one direction until its end.
async fn carry(inner: &Inner, number: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, down: bool) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        flows(inner, number).await;
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        let network = flows(inner, number).await;
        let piece = match network {
            Network::Delay(by) => {
                tokio::time::sleep(by).await;
                read
            }
            Network::Trickle(piece) => piece.max(1),
            _ => read,
        };
        for bytes in buffer[..read].chunks(piece) {
            let allowed = if down { spend(&inner.budget, bytes.len()) } else { bytes.len() };
            if to.write_all(&bytes[..allowed]).await.is_err() {
                return;
            }
            if allowed < bytes.len() {
                inner.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until bytes may travel, and says how.
async fn flows(inner: &Inner, number: u64) -> Network {
    let mut network = inner.network.subscribe();
    let may = |network: &Network| *network != Network::Freeze && inner.lost.load(Ordering::SeqCst) < number;
    let now = network.wait_for(may).await.map(|network| *network);
    match now {
        Ok(network) => network,
        Err(_) => std::future::pending().await,
    }
}

/// How many of these bytes may still go; when fewer than all, that was the end of it.
fn spend(budget: &AtomicI64, bytes: usize) -> usize {
    let bytes = i64::try_from(bytes).unwrap();
    let take = |left: i64| match left {
        left if left < 0 => None,
        left if left < bytes => Some(-1),
        left => Some(left - bytes),
    };
    match budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
        Ok(left) if left < bytes => usize::try_from(left).unwrap(),
        _ => usize::try_from(bytes).unwrap(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn mk_echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn answer(stream: &mut TcpStream) -> Option<u8> {
        stream.write_all(b"abcd").await.ok()?;
        let mut got = [0; 4];
        let read = tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut got)).await;
        read.ok()?.ok().map(|_| got[3])
    }

    #[tokio::test]
    async fn each_fault_is_what_it_is_called() {
        let proxy = Proxy::start(mk_echo().await).await;
        let connect = || TcpStream::connect(proxy.address);
        let mut first = connect().await.unwrap();
        assert_eq!(answer(&mut first).await, Some(b'd'));
        proxy.set(Network::Freeze);
        assert_eq!(answer(&mut first).await, None);
        proxy.set(Network::Trickle(1));
        let mut late = [0; 4];
        first.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"abcd", "what was held up arrives");

        proxy.lose();
        let mut second = connect().await.unwrap();
        assert_eq!((answer(&mut first).await, answer(&mut second).await), (None, Some(b'd')));

        proxy.cut_after(6);
        assert_eq!(answer(&mut second).await, Some(b'd'));
        assert_eq!(answer(&mut second).await, None, "two bytes, and the end");
        assert_eq!(proxy.cuts(), 1);

        proxy.set(Network::Refuse);
        let refused = async {
            while connect().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.expect("it still listens");
        proxy.heal();
        let back = async {
            loop {
                if let Ok(mut stream) = connect().await {
                    return answer(&mut stream).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), back).await.unwrap(), Some(b'd'));
    }
}
