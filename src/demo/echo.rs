//! A small HTTP/1 backend that answers every request with JSON about that request. It knows nothing of gateways.
//!
//! Query knobs: `?sleep=MS` answers late (at most a minute), `?status=CODE` answers with that status, `?size=BYTES`
//! adds so much padding to the body (at most 16 MiB).

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The response header that names the backend.
pub const BACKEND_HEADER: &str = "x-echo-backend";

const LONGEST_SLEEP: Duration = Duration::from_secs(60);
const MOST_PADDING: usize = 16 * 1024 * 1024;

/// Why an echo backend could not run.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// The address is taken, or not ours.
    #[error("the demo backend {name} could not listen on {address} ({source}): end whatever uses that port")]
    Listen {
        /// The backend.
        name: String,
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server failed while it ran.
    #[error("the demo backend {name} stopped serving ({source})")]
    Serve {
        /// The backend.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What an echo backend answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The backend that answered.
    pub backend: String,
    /// The request's method.
    pub method: String,
    /// The request's path, without its query.
    pub path: String,
    /// The request's query, without its question mark; empty when there is none.
    #[serde(default)]
    pub query: String,
    /// The `Host` header.
    pub host: String,
    /// All headers, with several values of one name joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// `?size=BYTES` of padding.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub padding: String,
}

/// A bound echo backend, which serves once it is run.
pub struct EchoBackend {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl EchoBackend {
    /// Listens on an address. Connections wait until it is run.
    pub async fn bind(name: impl Into<String>, address: SocketAddr) -> Result<Self, EchoError> {
        let name = name.into();
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            Ok((listener.local_addr()?, listener))
        };
        match bound.await {
            Ok((address, listener)) => Ok(Self { name, address, listener }),
            Err(source) => Err(EchoError::Listen { name, address, source }),
        }
    }

    /// Where it listens; tells the port when it was bound to port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until told to stop, then finishes those that it has begun.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), EchoError> {
        let Self { name, listener, .. } = self;
        let router = Router::new().fallback(answer).with_state(name.clone());
        let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        served.map_err(|source| EchoError::Serve { name, source })
    }

    /// Binds and runs in a task of its own, which ends when the returned handle is dropped.
    pub async fn start(name: impl Into<String>, address: SocketAddr) -> Result<RunningEcho, EchoError> {
        let backend = Self::bind(name, address).await?;
        let address = backend.address();
        let task = tokio::spawn(async move {
            if let Err(error) = backend.run(std::future::pending()).await {
                tracing::error!(%error);
            }
        });
        Ok(RunningEcho { address, task })
    }
}

/// An echo backend that runs until this is dropped.
pub struct RunningEcho {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl RunningEcho {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RunningEcho {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The knobs in a query. What does not parse is as if it were not there: the query is the caller's, and may mean
/// something else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Knobs {
    sleep: Duration,
    status: StatusCode,
    padding: usize,
}

impl Knobs {
    fn parse(query: &str) -> Self {
        let mut knobs = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match (name, value.parse::<u64>()) {
                ("sleep", Ok(milliseconds)) => knobs.sleep = Duration::from_millis(milliseconds).min(LONGEST_SLEEP),
                ("status", Ok(code)) => {
                    let code = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
                    knobs.status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or_default();
                }
                ("size", Ok(bytes)) => knobs.padding = usize::try_from(bytes).unwrap_or(MOST_PADDING).min(MOST_PADDING),
                _ => {}
            }
        }
        knobs
    }
}

async fn answer(State(backend): State<String>, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let knobs = Knobs::parse(&query);
    let (parts, body) = request.into_parts();
    // A request is read to its end, so that its connection can carry the next one.
    let _ = axum::body::to_bytes(body, MOST_PADDING).await;
    if !knobs.sleep.is_zero() {
        tokio::time::sleep(knobs.sleep).await;
    }
    let headers = joined(&parts.headers);
    let echo = Echo {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query,
        host: headers.get("host").cloned().unwrap_or_default(),
        headers,
        padding: "x".repeat(knobs.padding),
        backend,
    };
    let name = HeaderValue::from_str(&echo.backend).unwrap_or(HeaderValue::from_static("unnamed"));
    let mut response = (knobs.status, Json(echo)).into_response();
    response.headers_mut().insert(BACKEND_HEADER, name);
    // An answer about one request is of no use for another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let entry = joined.entry(name.to_string()).or_default();
        if !entry.is_empty() {
            entry.push_str(", ");
        }
        entry.push_str(&value);
    }
    joined
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, target: &str, headers: &str) -> (String, Option<Echo>) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).ok())
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn it_says_what_it_was_asked() {
        let backend = EchoBackend::start("one", loopback()).await.unwrap();

        let (head, echo) = ask(backend.address(), "/a/b?c=d", "X-Two: 1\r\nX-Two: 2\r\n").await;

        let echo = echo.unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-echo-backend: one"), "{head}");
        assert_eq!((echo.backend.as_str(), echo.method.as_str(), echo.host.as_str()), ("one", "GET", "demo.local"));
        assert_eq!((echo.path.as_str(), echo.query.as_str()), ("/a/b", "c=d"));
        assert_eq!(echo.headers["x-two"], "1, 2");
    }

    #[tokio::test]
    async fn the_query_sets_status_size_and_delay() {
        let backend = EchoBackend::start("one", loopback()).await.unwrap();
        let begun = std::time::Instant::now();

        let (head, echo) = ask(backend.address(), "/?status=503&size=1000&sleep=30", "").await;

        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(echo.unwrap().padding.len(), 1000);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn knobs_that_make_no_sense_are_left_out_and_large_ones_are_bounded() {
        assert_eq!(Knobs::parse("status=99&sleep=soon&size=&x"), Knobs::default());
        let knobs = Knobs::parse("size=99999999999&sleep=99999999999");
        assert_eq!((knobs.padding, knobs.sleep), (MOST_PADDING, LONGEST_SLEEP));
    }

    #[tokio::test]
    async fn it_stops_when_told_and_frees_its_port() {
        let backend = EchoBackend::bind("one", loopback()).await.unwrap();
        let address = backend.address();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(backend.run(async {
            let _ = stopped.await;
        }));
        assert!(ask(address, "/", "").await.1.is_some());

        stop.send(()).unwrap();

        run.await.unwrap().unwrap();
        EchoBackend::bind("next", address).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = EchoBackend::bind("one", loopback()).await.unwrap();
        let message = EchoBackend::bind("two", first.address()).await.err().unwrap().to_string();
        assert!(message.contains("two") && message.contains(&first.address().to_string()), "{message}");
    }
}
