//! The least of an HTTP client, for suites that ask the admin server, also in ways that real clients do not.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, read to the end of the connection.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

/// Sends a request as it stands.
pub async fn raw(server: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends a well-formed request.
pub async fn send(server: SocketAddr, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let body = body.map_or(String::new(), |body| body.to_string());
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{token}");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    raw(server, &format!("{head}{body}")).await
}

/// Gets a path.
pub async fn get(server: SocketAddr, path: &str) -> Answer {
    send(server, "GET", path, None, None).await
}
