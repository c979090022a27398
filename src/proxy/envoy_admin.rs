//! A client of Envoy's own admin interface, with just the questions that keeping one alive needs.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidegate_actors::env::Connection;
use tokio::net::{TcpStream, UnixStream};

use super::bootstrap::AdminAddress;

/// How long an answer may take. Envoy's main thread is busy for a while when thousands of clusters change.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// What Envoy says about itself on `/ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvoyState {
    /// Serving.
    Live,
    /// Waits for its first configuration.
    Initializing,
    /// Lets go of its connections.
    Draining,
}

/// What it has to do at the moment, admin left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Open downstream connections.
    pub connections: u64,
    /// Requests being answered.
    pub requests: u64,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens.
    #[error("could not connect to Envoy's admin interface ({0})")]
    Connect(#[source] io::Error),
    /// The answer broke off, or was none.
    #[error("Envoy's admin interface did not answer {path} ({source})")]
    Answer {
        /// What was asked.
        path: String,
        /// What broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer took too long.
    #[error("Envoy's admin interface did not answer {path} within {} s", PATIENCE.as_secs())]
    Late {
        /// What was asked.
        path: String,
    },
    /// The answer was an error, or not what was asked for.
    #[error("Envoy's admin interface answered {path} with {status}: {text}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// The answer's beginning.
        text: String,
    },
}

/// The admin interface of one Envoy. A connection a question: it is asked seldom.
#[derive(Clone, Debug)]
pub struct EnvoyAdmin {
    address: AdminAddress,
}

impl EnvoyAdmin {
    /// The interface at an address.
    pub fn new(address: AdminAddress) -> Self {
        Self { address }
    }

    /// Asks a question.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String), AdminError> {
        self.ask(Method::GET, path).await
    }

    /// Gives an order.
    pub async fn post(&self, path: &str) -> Result<(), AdminError> {
        match self.ask(Method::POST, path).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, text) => Err(refused(path, status, &text)),
        }
    }

    /// What it says about itself.
    pub async fn state(&self) -> Result<EnvoyState, AdminError> {
        let (status, text) = self.get("/ready").await?;
        match text.trim() {
            "LIVE" => Ok(EnvoyState::Live),
            "PRE_INITIALIZING" | "INITIALIZING" => Ok(EnvoyState::Initializing),
            "DRAINING" => Ok(EnvoyState::Draining),
            _ => Err(refused("/ready", status, &text)),
        }
    }

    /// Makes it let go of its connections: it says that it is not healthy, and closes each connection after the
    /// answer that is due. It goes on accepting new ones.
    pub async fn drain(&self) -> Result<(), AdminError> {
        self.post("/healthcheck/fail").await?;
        self.post("/drain_listeners?graceful").await
    }

    /// What it has to do.
    pub async fn load(&self) -> Result<Load, AdminError> {
        // ^(listener|http)\..*downstream_(cx|rq)_active$
        const PATH: &str = "/stats?filter=%5E%28listener%7Chttp%29%5C..*downstream_%28cx%7Crq%29_active%24";
        match self.get(PATH).await? {
            (status, text) if status.is_success() => Ok(parse_load(&text)),
            (status, text) => Err(refused(PATH, status, &text)),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, String), AdminError> {
        let answered = tokio::time::timeout(PATIENCE, self.ask_patiently(method, path)).await;
        answered.unwrap_or_else(|_| Err(AdminError::Late { path: path.to_owned() }))
    }

    async fn ask_patiently(&self, method: Method, path: &str) -> Result<(StatusCode, String), AdminError> {
        let stream: Box<dyn Connection> = match &self.address {
            AdminAddress::Socket(path) => Box::new(UnixStream::connect(path).await.map_err(AdminError::Connect)?),
            AdminAddress::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(AdminError::Connect)?),
        };
        let broken =
            |source: Box<dyn std::error::Error + Send + Sync>| AdminError::Answer { path: path.to_owned(), source };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "envoy-admin")
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.map_err(broken)?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        // The connection does its work only while it is polled, and it may end before its last answer is read.
        let connection = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            never = connection => match never {},
        }
    }
}

fn refused(path: &str, status: StatusCode, text: &str) -> AdminError {
    AdminError::Refused { path: path.to_owned(), status, text: text.trim().chars().take(200).collect() }
}

/// Lines of `listener.ADDRESS.downstream_cx_active: 1` and `http.PREFIX.downstream_rq_active: 1`. Listeners count each
/// connection a second time for its worker.
fn parse_load(text: &str) -> Load {
    let mut load = Load::default();
    for (name, value) in text.lines().filter_map(|line| line.rsplit_once(": ")) {
        let value: u64 = value.trim().parse().unwrap_or(0);
        if name.starts_with("listener.") && !name.starts_with("listener.admin.") {
            if name.ends_with(".downstream_cx_active") && !name.contains(".worker_") {
                load.connections += value;
            }
        } else if name.starts_with("http.")
            && !name.starts_with("http.admin.")
            && name.ends_with("downstream_rq_active")
        {
            load.requests += value;
        }
    }
    load
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// An admin interface that gives one answer to whatever it is asked, and notes the request's first line.
    async fn mk_admin(answer: &'static str) -> (EnvoyAdmin, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = EnvoyAdmin::new(AdminAddress::Tcp(listener.local_addr().unwrap()));
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or_default().to_owned()
        });
        (admin, asked)
    }

    #[tokio::test]
    async fn ready_tells_the_state_whatever_its_status() {
        let (admin, asked) = mk_admin("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nLIVE\n").await;
        assert_eq!(admin.state().await.unwrap(), EnvoyState::Live);
        assert_eq!(asked.await.unwrap(), "GET /ready HTTP/1.1");
        let (admin, _) = mk_admin("HTTP/1.1 503 No\r\ncontent-length: 8\r\n\r\nDRAINING").await;
        assert_eq!(admin.state().await.unwrap(), EnvoyState::Draining);
        let (admin, _) = mk_admin("HTTP/1.1 503 No\r\nconnection: close\r\n\r\nPRE_INITIALIZING").await;
        assert_eq!(admin.state().await.unwrap(), EnvoyState::Initializing);
    }

    #[tokio::test]
    async fn a_stranger_at_the_address_is_no_envoy() {
        let (admin, _) = mk_admin("HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(matches!(admin.state().await, Err(AdminError::Refused { status: StatusCode::NOT_FOUND, .. })));
        let (admin, _) = mk_admin("220 mail.example ESMTP\r\n").await;
        assert!(matches!(admin.state().await, Err(AdminError::Answer { .. })));
        let nobody = EnvoyAdmin::new(AdminAddress::Socket("/nonexistent/admin.sock".into()));
        assert!(matches!(nobody.state().await, Err(AdminError::Connect(_))));
    }

    #[tokio::test]
    async fn an_order_that_is_refused_is_an_error() {
        let (admin, _) = mk_admin("HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\nno").await;
        assert!(matches!(admin.post("/healthcheck/fail").await, Err(AdminError::Refused { .. })));
    }

    #[test]
    fn load_leaves_out_admin_and_counts_no_connection_twice() {
        let text = "http.admin.downstream_rq_active: 1\nhttp.demo.downstream_cx_active: 3\nhttp.demo.downstream_rq_active: 2\n\
                    listener.127.0.0.1_8080.downstream_cx_active: 3\nlistener.127.0.0.1_8080.worker_0.downstream_cx_active: 3\n\
                    listener.[__1]_8443.downstream_cx_active: 1\nlistener.admin.downstream_cx_active: 1\n";
        assert_eq!(parse_load(text), Load { connections: 4, requests: 2 });
        assert_eq!(parse_load("nothing"), Load::default());
    }
}
