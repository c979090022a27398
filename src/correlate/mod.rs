//! Pure functions from views of resources to the gateway model and to what each object is told.
//!
//! Laws: a translation gives a value and its conditions, and never fails the whole; what a function reads of
//! others it reads through a trait, so that it can be tested alone; no function lists the routes of a listener
//! or of a host, so one route's change costs the same among 500 as among 50,000.
//!
//! Invariant: only `graph`, with `statuses`, `claims` and `world`, knows how results are stored and re-computed.

/// What of the configuration decides translations.
pub mod settings;

/// What objects are told.
pub mod status;

/// Whose a Gateway is, of several shards.
pub mod shard;

/// Whose object counts if several sources define it.
pub mod claims;

/// Hosts that a listener and a route share.
pub mod hostname;

/// The one resolver of references.
pub mod reference;

/// A Gateway looked at alone.
pub mod gateway;

/// Who gets which hosts of a socket.
pub mod socket;

/// Certificates of listeners.
pub mod certificate;

/// What Gateways are told.
pub mod gateway_status;

/// Where a route attaches.
pub mod attach;

/// The place of a match among others.
pub mod precedence;

/// One rule of a route.
pub mod rule;

/// A whole route.
pub mod route;

/// More routes than a Gateway may have.
pub mod crowd;

/// Clusters and endpoints.
pub mod backend;

/// Listeners and virtual hosts of the model.
pub mod virtual_host;

/// What functions read, from the graph.
mod world;

/// Objects that cannot be read, and what they are told all the same.
pub mod unreadable;

/// The part of the graph that tells objects.
mod statuses;

/// Everything above as one graph.
pub mod graph;

pub use graph::{Outputs, build};
pub use settings::{AllowedBackends, Settings};
pub use shard::{Answers, Shard};
pub use status::{Condition, ObjectStatus, Status};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
