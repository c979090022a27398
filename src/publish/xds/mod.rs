//! Envoy configuration over xDS: state of the world and delta ADS over gRPC.
//!
//! ```text
//! ModelUpdate ─▶ encode ─▶ cache ─▶ session (one a client: delta | sotw, nack) ─▶ client's task ─▶ Envoy
//! ```
//!
//! Invariants: `encode`, `cache` and `session` know no network and no clock but the time they are handed; a
//! resource is encoded once and shared by all clients (but secrets: see `session`); one client's stall, NACK or end touches no other client.

mod encode;

mod kind;

mod rope;

mod wire;

mod resource;

mod scope;

mod cache;

mod session;

mod delta;

mod sotw;

mod nack;

mod words;

mod protocol;

mod status;

mod text;

mod report;

mod transport;

mod admission;

mod options;

mod hub;

mod lapse;

mod client;

mod codec;

mod service;

mod server;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../../tests/support/xds_model.rs"]
mod testing;

mod local;

mod attach;

/// For the fuzz targets.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use admission::ClientRule;
pub use attach::{Variant, Wire};
pub use hub::XdsPublisher;
pub use kind::Kind;
pub use local::{LocalClient, Sent};
pub use options::Options;
pub use rope::Rope;
pub use scope::METADATA_KEY;
pub use server::{ServerError, XdsServer};
pub use service::METHODS;
pub use session::{Violation, WARMING};
pub use status::{ClientStatus, PublishedResource, TypeStatus};
pub use text::{REDACTED, TextError, TextResource, document};
pub use transport::{TlsError, TlsFiles};
