//! Steady traffic that counts what fails: over connections that are kept, over new ones, over TLS. Whatever is not the
//! wanted answer is a failure, a connection that breaks as much as a status.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::envoy::{Answer, send};
use super::gateway::who;
use super::tls::{Authority, TlsAnswer};

/// How long a request may take. No test lets one wait on purpose.
const TOO_LONG: Duration = Duration::from_secs(10);

/// Says what is wrong with an answer, if anything is.
pub type Check<A> = Arc<dyn Fn(&A) -> Result<(), String> + Send + Sync>;

/// Any echo backend's 200 will do.
pub fn ok() -> Check<Answer> {
    Arc::new(|answer| if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) })
}

/// Where requests go.
#[derive(Clone)]
pub struct Target {
    /// The gateway's listener.
    pub address: SocketAddr,
    /// The host that is asked for.
    pub host: String,
    /// The path that is asked for.
    pub path: String,
}

impl Target {
    /// The path `/` of a host.
    pub fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), path: "/".to_owned() }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::get(&*self.path).header("host", &*self.host).body(Full::default()).unwrap()
    }
}

/// What traffic has seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// How long there was traffic.
    pub took: Duration,
    /// The longest time that one took.
    pub slowest: Duration,
    /// When after its beginning, and what.
    pub failures: Vec<(Duration, String)>,
    /// How many requests each backend answered.
    pub backends: BTreeMap<String, u64>,
}

impl Outcome {
    /// Panics unless there were so many requests, and none failed.
    pub fn assert_no_failure(&self, at_least: u64) {
        let (failed, first) = (self.failures.len(), self.failures.iter().take(10).collect::<Vec<_>>());
        assert!(self.failures.is_empty(), "{failed} of {} requests failed: {first:#?}", self.requests);
        assert!(self.requests >= at_least, "only {} requests in {:?}", self.requests, self.took);
    }
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// Traffic that goes on until it is stopped.
pub struct Load {
    seen: Arc<Seen>,
    begun: Instant,
    workers: Vec<JoinHandle<()>>,
}

type Kept = Arc<tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>>;

impl Load {
    /// No traffic yet.
    pub fn new() -> Self {
        Self { seen: Arc::default(), begun: Instant::now(), workers: Vec::new() }
    }

    /// Adds a worker that sends so many requests a second over a connection that it keeps, as browsers and proxies do:
    /// it opens another only when the gateway has closed it after an answer.
    pub fn kept(self, rate: u32, target: &Target, check: &Check<Answer>) -> Self {
        let (target, check, kept) = (target.clone(), check.clone(), Kept::default());
        self.worker(rate, move || {
            let (target, check, kept) = (target.clone(), check.clone(), kept.clone());
            Box::pin(async move {
                let mut kept = kept.lock().await;
                // Put back only after a whole answer.
                let (answer, sender) = over(kept.take(), &target).await?;
                *kept = Some(sender);
                check(&answer).map(|()| who(&answer))
            })
        })
    }

    /// Adds a worker that opens a connection for each request.
    pub fn fresh(self, rate: u32, target: &Target, check: &Check<Answer>) -> Self {
        let (target, check) = (target.clone(), check.clone());
        self.worker(rate, move || {
            let (target, check) = (target.clone(), check.clone());
            Box::pin(async move {
                let answer = send(target.address, target.request()).await?;
                check(&answer).map(|()| who(&answer))
            })
        })
    }

    /// Adds a worker that opens a TLS connection for each request.
    pub fn tls(self, rate: u32, target: &Target, authority: &Arc<Authority>, check: &Check<TlsAnswer>) -> Self {
        let (target, authority, check) = (target.clone(), authority.clone(), check.clone());
        self.worker(rate, move || {
            let (target, authority, check) = (target.clone(), authority.clone(), check.clone());
            Box::pin(async move {
                let answer = authority.get(target.address, &target.host, &target.path).await?;
                check(&answer).map(|()| "tls".to_owned())
            })
        })
    }

    fn worker(
        mut self,
        rate: u32,
        mut ask: impl FnMut() -> BoxFuture<'static, Result<String, String>> + Send + 'static,
    ) -> Self {
        let (seen, begun) = (self.seen.clone(), self.begun);
        self.workers.push(tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
            // A machine that was busy is not asked for everything at once.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !seen.stop.load(Ordering::SeqCst) {
                pace.tick().await;
                let asked = Instant::now();
                let answer = tokio::time::timeout(TOO_LONG, ask()).await;
                let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {TOO_LONG:?}")));
                seen.count(begun, asked, answer);
            }
        }));
        self
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Which of them failed so far: when after the beginning, and how.
    pub fn failures(&self) -> Vec<(Duration, String)> {
        self.seen.outcome.lock().failures.clone()
    }

    /// Lets so many more requests happen.
    pub async fn more(&self, requests: u64) {
        let wanted = self.requests() + requests;
        while self.requests() < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the traffic, each worker after its current request.
    pub async fn stop(mut self) -> Outcome {
        let took = self.begun.elapsed();
        self.seen.stop.store(true, Ordering::SeqCst);
        for worker in std::mem::take(&mut self.workers) {
            worker.await.unwrap();
        }
        Outcome { requests: self.requests(), took, ..std::mem::take(&mut *self.seen.outcome.lock()) }
    }
}

impl Seen {
    fn count(&self, begun: Instant, asked: Instant, answer: Result<String, String>) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut outcome = self.outcome.lock();
        outcome.slowest = outcome.slowest.max(asked.elapsed());
        match answer {
            Ok(backend) => *outcome.backends.entry(backend).or_default() += 1,
            Err(reason) => outcome.failures.push((begun.elapsed(), reason)),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
    }
}

/// Asks over a connection, or a new one if it has been closed since.
async fn over(
    kept: Option<SendRequest<Full<Bytes>>>,
    target: &Target,
) -> Result<(Answer, SendRequest<Full<Bytes>>), String> {
    let open = match kept {
        Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
        None => None,
    };
    let mut sender = match open {
        Some(sender) => sender,
        None => {
            let stream = tokio::net::TcpStream::connect(target.address).await;
            let stream = stream.map_err(|error| format!("connect: {error}"))?;
            let handshake = http1::handshake(TokioIo::new(stream)).await;
            let (sender, connection) = handshake.map_err(|error| format!("handshake: {error}"))?;
            tokio::spawn(connection);
            sender
        }
    };
    let response = sender.send_request(target.request()).await.map_err(|error| format!("request: {error}"))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((Answer { status: parts.status, headers: parts.headers, body }, sender))
}
