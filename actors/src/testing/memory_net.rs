//! A network in memory, so that servers and clients meet without a socket, in virtual time.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::wire;
use crate::env::{Connection, Env, Fault, Listener, Net};

/// So much may be on its way in one direction of a connection before its writer waits.
const WINDOW: usize = 256 * 1024;

type Accepted = (Box<dyn Connection>, SocketAddr);

/// See the module. Clones are one network. Without [`with_faults`](Self::with_faults) nothing happens to what it
/// carries.
#[derive(Clone, Default)]
pub struct MemoryNet {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    listening: BTreeMap<SocketAddr, mpsc::UnboundedSender<Accepted>>,
    next_port: u16,
    /// The environment whose faults strike connections. It holds the network, so it is held weakly.
    faults: Option<(Weak<dyn Net>, Env)>,
}

impl MemoryNet {
    /// From now on connections pass the places `net/connect`, `net/up` and `net/down` of an environment's faults.
    pub fn with_faults(&self, env: &Env) {
        // Of the environment all is needed but its network, which would hold itself.
        let quiet = Env { net: Arc::new(Self::default()), ..env.clone() };
        self.inner.lock().faults = Some((Arc::downgrade(&env.net), quiet));
    }

    fn refused(address: impl std::fmt::Display) -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens on {address}"))
    }
}

struct Listening {
    net: MemoryNet,
    address: SocketAddr,
    incoming: mpsc::UnboundedReceiver<Accepted>,
}

#[async_trait]
impl Net for MemoryNet {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let at: SocketAddr = address.parse().map_err(|_| Self::refused(address))?;
        let (faults, port) = {
            let inner = &mut *self.inner.lock();
            inner.next_port = inner.next_port.wrapping_add(1);
            let faults = inner.faults.as_ref().filter(|(net, _)| net.strong_count() > 0);
            (faults.map(|(_, env)| env.clone()), inner.next_port)
        };
        let mut broken = None;
        if let Some(env) = &faults {
            match env.fault(|| "net/connect".to_owned()) {
                Fault::Delay(wait) => env.clock.sleep(wait).await,
                Fault::Stall => std::future::pending().await,
                Fault::Drop | Fault::Error(_) | Fault::Panic(_) | Fault::Corrupt => broken = Some(Self::refused(at)),
                Fault::None | Fault::Duplicate | Fault::Reorder => {}
            }
        }
        let server = self.inner.lock().listening.get(&at).cloned().ok_or_else(|| Self::refused(at));
        if let Some(broken) = broken {
            return Err(broken);
        }
        let (ours, theirs) = tokio::io::duplex(WINDOW);
        let (ours, theirs): (Box<dyn Connection>, Box<dyn Connection>) = (Box::new(ours), Box::new(theirs));
        let client: SocketAddr = ([127, 0, 0, 1], 32_768 | port).into();
        let (ours, theirs) = match &faults {
            None => (ours, theirs),
            Some(env) => {
                let (near, far) = tokio::io::duplex(WINDOW);
                wire::carry(env, "net", Box::new(near), ours);
                (Box::new(far) as Box<dyn Connection>, theirs)
            }
        };
        server?.send((theirs, client)).map_err(|_| Self::refused(at))?;
        Ok(ours)
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let mut address = address;
        let inner = &mut *self.inner.lock();
        if address.port() == 0 {
            let free = (1..=u16::MAX).find(|port| {
                address.set_port(*port);
                !inner.listening.contains_key(&address)
            });
            free.ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "every port is taken"))?;
        }
        if inner.listening.get(&address).is_some_and(|there| !there.is_closed()) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{address} is taken")));
        }
        let (sender, incoming) = mpsc::unbounded_channel();
        inner.listening.insert(address, sender);
        Ok(Box::new(Listening { net: self.clone(), address, incoming }))
    }

    fn has_unix(&self) -> bool {
        false
    }
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&mut self) -> io::Result<Accepted> {
        // The network holds the sender as long as this listens.
        self.incoming.recv().await.ok_or_else(|| MemoryNet::refused(self.address))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.incoming.close();
        let listening = &mut self.net.inner.lock().listening;
        if listening.get(&self.address).is_some_and(mpsc::UnboundedSender::is_closed) {
            listening.remove(&self.address);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::env::FaultRule;
    use crate::testing;

    /// A server that says everything back, and the network that it is on.
    async fn mk_echo(env: &Env) -> SocketAddr {
        let mut listener = env.net.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (mut from, mut to) = tokio::io::split(connection);
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    fn mk_env() -> (Env, testing::FaultPlan) {
        let (env, plan) = testing::env(1);
        let net = MemoryNet::default();
        let env = Env { net: Arc::new(net.clone()), ..env };
        net.with_faults(&env);
        (env, plan)
    }

    async fn say(env: &Env, to: SocketAddr, text: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = env.net.connect(&to.to_string()).await?;
        connection.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        connection.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[test]
    fn who_connects_is_answered_and_who_stops_listening_is_not_there() {
        testing::run(async {
            let (env, _) = mk_env();
            let echo = mk_echo(&env).await;
            assert_eq!(say(&env, echo, b"hello").await.unwrap(), b"hello");
            let address = env.net.listen(([127, 0, 0, 1], 0).into()).await.unwrap().local_addr().unwrap();
            let refused = say(&env, address, b"hello").await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert!(env.net.listen(echo).await.is_err(), "it is taken");
        });
    }

    #[test]
    fn what_is_carried_is_delayed_damaged_cut_or_never_arrives() {
        testing::run(async {
            let (env, plan) = mk_env();
            let echo = mk_echo(&env).await;
            plan.add(FaultRule::once("net/up", Fault::Delay(Duration::from_secs(3))));
            let begun = env.clock.now();
            assert_eq!(say(&env, echo, b"late").await.unwrap(), b"late");
            assert_eq!(begun.elapsed(), Duration::from_secs(3));
            plan.add(FaultRule::once("net/down", Fault::Corrupt));
            assert_ne!(say(&env, echo, b"broken").await.unwrap(), b"broken");
            plan.add(FaultRule::once("net/down", Fault::Drop));
            assert_eq!(say(&env, echo, b"cut").await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            plan.add(FaultRule::once("net/connect", Fault::Drop));
            assert_eq!(say(&env, echo, b"no").await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            plan.add(FaultRule::once("net/up", Fault::Stall));
            let silent = tokio::time::timeout(Duration::from_secs(600), say(&env, echo, b"half open")).await;
            assert!(silent.is_err(), "nobody is told anything");
            assert_eq!(say(&env, echo, b"and well again").await.unwrap(), b"and well again");
        });
    }

    #[test]
    fn a_proxy_before_a_server_does_the_same_to_whoever_goes_through_it() {
        testing::run(async {
            let (env, plan) = mk_env();
            let echo = mk_echo(&env).await;
            let proxy = wire::WireProxy::start(&env, "wire/echo", &echo.to_string()).await.unwrap();
            assert_eq!(say(&env, proxy.address(), b"hello").await.unwrap(), b"hello");
            plan.add(FaultRule::once("wire/echo/connect", Fault::Drop));
            assert!(say(&env, proxy.address(), b"hello").await.is_err());
            plan.add(FaultRule::once("wire/echo/down", Fault::Drop));
            assert!(say(&env, proxy.address(), b"hello").await.is_err());
            assert_eq!(say(&env, proxy.address(), b"hello").await.unwrap(), b"hello");
        });
    }
}
