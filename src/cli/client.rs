//! A minimal HTTP client for the admin API of a running Tidegate: one request, one answer, one connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Token;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// The largest answer that is read.
const MAX_ANSWER: usize = 256 << 20;

/// Why there is no answer, or what it says went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("connect to {address}: is Tidegate running, and is this its admin address (--address)?")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The address or path cannot be put into a request.
    #[error("ask {address}")]
    Request {
        /// Where.
        address: String,
        /// Why.
        source: http::Error,
    },
    /// The connection broke.
    #[error("talk to {address}: is this Tidegate's admin address?")]
    Talk {
        /// Where.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("no answer from {address} within 15 s")]
    Timeout {
        /// Where.
        address: String,
    },
    /// The answer is a refusal.
    #[error("{address} answered {status}: {reason}")]
    Refused {
        /// Where.
        address: String,
        /// Which kind.
        status: StatusCode,
        /// Its own words.
        reason: String,
    },
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Asks one admin server.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
    token: Option<Token>,
}

impl Client {
    /// `address` is `host:port`, with or without `http://`.
    pub fn new(address: &str, token: Option<Token>) -> Self {
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address, token }
    }

    /// Where it asks.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, ClientError> {
        let answer = tokio::time::timeout(DEADLINE, self.exchange(method, path, body)).await;
        answer.unwrap_or_else(|_| Err(ClientError::Timeout { address: self.address.clone() }))
    }

    /// Sends a request and reads the answer's JSON.
    ///
    /// # Errors
    /// When there is no answer, it is a refusal, or no JSON.
    pub async fn json(&self, method: Method, path: &str) -> Result<serde_json::Value, ClientError> {
        let answer = self.send(method, path, None).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.talk(error))
    }

    /// A refusal in the server's own words.
    pub fn refused(&self, answer: &Answer) -> ClientError {
        let json: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let reason = json.as_ref().and_then(|json| json["error"].as_str()).map(str::to_owned);
        let reason = reason.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).chars().take(200).collect());
        ClientError::Refused { address: self.address.clone(), status: answer.status, reason }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, ClientError> {
        let connect = |source| ClientError::Connect { address: self.address.clone(), source };
        let stream = TcpStream::connect(&self.address).await.map_err(connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.talk(e))?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|source| ClientError::Request { address: self.address.clone(), source })?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(|e| self.talk(e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|source| ClientError::Talk { address: self.address.clone(), source })?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        // The connection has to be driven while we wait; it lives in this future and dies with it.
        let mut connection = std::pin::pin!(connection);
        let mut talk = std::pin::pin!(talk);
        tokio::select! {
            biased;
            answer = &mut talk => answer,
            ended = &mut connection => match ended {
                // It ends once everything was read; the answer is then complete, or an error by itself.
                Ok(()) => talk.await,
                Err(error) => Err(self.talk(error)),
            },
        }
    }

    fn talk(&self, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError::Talk { address: self.address.clone(), source: Box::new(source) }
    }
}
