//! A local Envoy: found, configured to ask us, run as a supervised child, drained on stop, adopted after a crash.
//!
//! Invariant: `proxy` knows neither the gateway model nor what is published; it knows Envoy as a program.

/// Where an Envoy comes from: a path, the PATH, the cache, or the pinned wheel.
pub mod locate;

/// What Envoy is told at its start: who it is and whom to ask.
pub mod bootstrap;

/// A client of Envoy's own admin interface.
pub mod envoy_admin;

mod process;

mod runtime_dir;

mod output;

mod health;

/// One life of a local Envoy.
pub mod child;

/// A local Envoy as a child of the supervisor.
pub mod supervised;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use envoy_admin::EnvoyState;

/// What happens to a local Envoy while it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// It was started.
    Started {
        /// Its process.
        pid: u32,
    },
    /// It was there already, and is the one that would have been started.
    Adopted {
        /// Its process.
        pid: u32,
    },
    /// It was there already, and is ended to start another.
    Replaced {
        /// Its process.
        pid: u32,
        /// Why it is not kept.
        reason: String,
    },
    /// What it says of itself has changed. It serves when this is [`EnvoyState::Live`].
    State {
        /// What it says.
        state: EnvoyState,
        /// How long after it was started or adopted.
        after: Duration,
    },
    /// It does not answer, although it runs.
    Unresponsive {
        /// What came instead of an answer.
        reason: String,
    },
    /// It is letting go of its connections, to be stopped.
    Draining {
        /// Its process.
        pid: u32,
    },
    /// It was stopped.
    Stopped {
        /// What was its process.
        pid: u32,
    },
}

/// Why a local Envoy does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The runtime directory cannot be used.
    #[error("could not {operation} {path} ({source}): Envoy's runtime directory must be writable", path = path.display())]
    RuntimeDir {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else runs an Envoy there.
    #[error("{path} is in use by another Tidegate: stop it, or give this one a directory of its own", path = path.display())]
    InUse {
        /// The runtime directory.
        path: PathBuf,
    },
    /// The address that its admin interface is meant to have is another's.
    #[error(
        "Envoy's admin address {address} cannot be had ({source}): stop what listens there, or set proxy.admin_address"
    )]
    AdminAddress {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("could not start Envoy at {envoy} ({source})", envoy = envoy.display())]
    Spawn {
        /// The executable.
        envoy: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process could not be followed or signalled.
    #[error("could not watch Envoy, process {pid} ({source})")]
    Watch {
        /// Its process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// It ended, without having been told to.
    #[error("Envoy, process {pid}, ended {status}{last_words}")]
    Exited {
        /// What was its process.
        pid: u32,
        /// How it ended.
        status: String,
        /// A colon and the last error that it logged, or nothing.
        last_words: String,
    },
    /// It runs, but its admin interface never answered.
    #[error("Envoy, process {pid}, was killed, as it did not come up in time ({reason}){last_words}")]
    NotStarted {
        /// What was its process.
        pid: u32,
        /// What came instead of an answer.
        reason: String,
        /// A colon and the last error that it logged, or nothing.
        last_words: String,
    },
    /// It was killed and is still there.
    #[error("Envoy, process {pid}, does not end although it was killed: the system may be waiting for a disk")]
    WouldNotEnd {
        /// Its process.
        pid: u32,
    },
}
