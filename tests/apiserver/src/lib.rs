//! A Kubernetes API server in one process, for tests of scale and of faults: lists, watches, discovery and writes as
//! the real one answers them, 100,000 objects, and everything that can go wrong with them by script.
//!
//! What it is not: it has no schemas, no defaults, no admission and no controllers, but for what follows here.
//! - Objects are stored as they come. A namespace that is deleted is emptied at once; a definition is established at
//!   once; owner references do nothing. `events` of the core group and of `events.k8s.io` are kept apart.
//! - Only apply tracks field managers, and lists are atomic to it. A strategic merge patch is taken as a merge patch.
//! - A list or watch from a version that is not reached yet is refused at once, not after three seconds.
//! - Answers are JSON. There are no tables, no protobuf and no OpenAPI.

/// HTTP answers and bodies.
mod answer;

/// What it is started with.
mod options;

/// The server.
mod server;

/// What a test does to it.
mod scripted;

/// Listening and connections.
mod listener;

/// Standing still.
mod gate;

/// Certificates.
mod tls;

/// What requests share.
mod state;

/// From request to answer.
mod routes;

/// The script over HTTP.
mod control;

/// Who may do what.
mod access;

/// A fault in words.
mod fault;

/// The faults that stand.
mod faults;

/// What faults do to objects.
mod harm;

/// `ListOptions`.
mod query;

/// Label and field selectors.
mod selectors;

/// Lists.
mod list;

/// Where watches begin.
mod watch;

/// One open watch.
mod session;

/// Verbs on one object.
mod verbs;

/// Patches.
mod patch;

/// Server-side apply.
mod apply;

/// Rules of writing.
mod write;

/// CustomResourceDefinitions.
mod crd;

/// What the server says of itself.
mod discovery;

/// Objects by type, and the revision.
mod store;

/// Events by type.
mod watch_cache;

/// One object.
mod object;

/// Resource types.
mod kind;

/// `Status` bodies.
mod status;

pub use access::Denial;
pub use discovery::VERSION;
pub use fault::{Act, Fault, Then, When};
pub use faults::{Faults, Standing};
pub use options::{Options, WatchOptions};
pub use scripted::ScriptError;
pub use server::{ApiServer, StartError};
pub use state::{OpenWatch, Request};
pub use status::{Cause, Details, Outcome, Status, StatusKind, StatusMeta, StatusVersion};
pub use store::Snapshot;
pub use tls::TlsError;
