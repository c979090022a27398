//! What is known about connected clients, for people and for the API. Nothing secret is in it.

use std::time::Duration;

use serde::Serialize;

use super::kind::Kind;
use super::session::Session;

/// One connected client.
#[derive(Clone, Debug, Serialize)]
pub struct ClientStatus {
    /// Unique while the server runs.
    pub id: u64,
    /// What it calls itself; several streams may share it.
    pub node: String,
    /// Its address, or `unix`.
    pub peer: String,
    /// The names in its certificate; `None` where it needs none.
    pub identity: Option<String>,
    /// `delta` or `sotw`.
    pub protocol: &'static str,
    /// The Gateways that it serves, `namespace/name`; `None` for all.
    pub gateways: Option<Vec<String>>,
    /// Since when, after the Unix epoch.
    pub connected_since: Duration,
    /// The newest version of the model that it has confirmed all of.
    pub live_version: u64,
    /// By type, those that it asked for.
    pub types: Vec<TypeStatus>,
}

/// One resource type of one client.
#[derive(Clone, Debug, Serialize)]
pub struct TypeStatus {
    /// `cds`, `eds`, `sds`, `lds`, `rds`, `vhds`.
    pub kind: &'static str,
    /// It wants everything.
    pub wildcard: bool,
    /// Names that it subscribed to.
    pub subscribed: usize,
    /// Resources that it has.
    pub resources: usize,
    /// Resources that it has yet to be told of.
    pub pending: usize,
    /// A response waits for its answer.
    pub in_flight: bool,
    /// Version of the latest response that it accepted.
    pub acked_version: Option<String>,
    /// What it rejects, by name, in its words.
    pub held_back: Vec<(String, String)>,
    /// Its latest rejection.
    pub last_nack: Option<String>,
}

/// One resource as it is published.
#[derive(Clone, Debug)]
pub struct PublishedResource {
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Hash of its content, as proxies know it.
    pub version: String,
    /// The protobuf message that the type's URL names.
    pub body: bytes::Bytes,
}

/// The types of a session.
pub fn types(session: &Session) -> Vec<TypeStatus> {
    let requested = Kind::ALL.into_iter().filter(|kind| session.state(*kind).requested);
    let status = requested.map(|kind| {
        let state = session.state(kind);
        TypeStatus {
            kind: kind.label(),
            wildcard: state.wildcard,
            subscribed: state.names.len(),
            resources: state.known.len(),
            pending: state.pending.len(),
            in_flight: state.in_flight.is_some(),
            acked_version: state.acked.clone(),
            held_back: state.held.iter().map(|(name, held)| (name.to_string(), held.reason.clone())).collect(),
            last_nack: state.last_nack.clone(),
        }
    });
    status.collect()
}
