//! The admin server: health, metrics and the API.
//!
//! Laws: whatever changes something needs the token; nothing secret is ever answered; who asks by a name
//! that is not ours is refused; a slow or silent client costs a bounded amount.
//!
//! Invariant: it holds handles and closures only, and knows neither Kubernetes nor Envoy.

/// What the server shows and steers: handles that the application fills in.
pub mod state;

/// When Tidegate is ready, and what is missing.
pub mod ready;

/// What is said of the snapshot on disk.
pub mod snapshot;

/// The admin token: configured, read from a file, or made at start.
pub mod token;

/// Resource types watched because somebody asked for it at run time.
pub mod watches;

/// Attacks on the running service, where the config allows them.
pub mod chaos;

/// Every metric with its unit and meaning.
pub mod metrics;

mod answer;

mod guard;

mod redact;

mod routes;

mod server;

/// For the fuzz targets.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use redact::redacted;
pub use routes::routes;
pub use server::{AdminServer, ServeError};
pub use state::{AdminState, Catalogue, LogLevel, ModelDocument, Provider, Slot, Steer, SteerError, SyncPhase};
