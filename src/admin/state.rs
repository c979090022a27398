//! What the admin server shows and steers: cheap handles, filled in by whoever assembles the application, so
//! that the server can be tested alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{Supervisor, SupervisorError, TreeStatus};

use super::chaos::Chaos;
use super::ready::{Lack, Published};
use super::snapshot::SnapshotStatus;
use super::token::Key;
use super::watches::WatchRegistry;

/// Everything that the server needs. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// The actors.
    pub actors: Arc<dyn Steer>,
    /// The objects.
    pub catalogue: Arc<dyn Catalogue>,
    /// What is wrong.
    pub problems: Problems,
    /// The types, as `plural.group`, that must have settled before we are ready; empty: all in the catalogue
    /// that nobody added at run time.
    pub required_types: Vec<String>,
    /// Types that somebody reads and no source serves.
    pub unserved: Provider<Vec<Lack>>,
    /// What has been published so far.
    pub published: Provider<Published>,
    /// The gateway model, once there is one.
    pub model: Provider<Option<ModelDocument>>,
    /// Every object's status with its conditions, one JSON text each: `apiVersion`, `kind`, `source`,
    /// `namespace`, `name`, `status`.
    pub statuses: Provider<Vec<Box<RawValue>>>,
    /// The connected proxies, as JSON of the xDS server's own making. It must hold no secrets.
    pub proxies: Provider<serde_json::Value>,
    /// What is kept on disk for the next start, and what this one began with.
    pub snapshot: Provider<SnapshotStatus>,
    /// The metrics, in Prometheus' text format.
    pub metrics: Provider<String>,
    /// Run-time watches.
    pub watches: WatchRegistry,
    /// Shows and sets the log level.
    pub log: Arc<dyn LogLevel>,
    /// Attacks on purpose, where the config allows them.
    pub chaos: Chaos,
    /// The key that changes need.
    pub key: Key,
}

/// Asked at each request; must not block.
pub type Provider<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// The gateway model as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDocument {
    /// Its version; another content has another one.
    pub version: String,
    /// The JSON text, which holds no secrets.
    pub body: Bytes,
}

/// The actors: looked at and steered.
#[async_trait]
pub trait Steer: Send + Sync {
    /// What everybody does now.
    fn tree(&self) -> TreeStatus;

    /// Stops an actor if it runs and starts it at once.
    async fn restart(&self, path: &str) -> Result<(), SteerError>;

    /// Stops an actor and keeps it down.
    async fn pause(&self, path: &str) -> Result<(), SteerError>;

    /// Starts a paused actor again.
    async fn resume(&self, path: &str) -> Result<(), SteerError>;
}

/// Why an actor could not be steered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is no such actor.
    #[error("there is no actor `{0}`; GET /api/v1/actors lists all")]
    NotFound(String),
    /// It is there, but that cannot be done now.
    #[error("{0}")]
    Refused(String),
}

impl From<SupervisorError> for SteerError {
    fn from(error: SupervisorError) -> Self {
        match error {
            SupervisorError::NotFound { path } => Self::NotFound(path),
            other => Self::Refused(other.to_string()),
        }
    }
}

#[async_trait]
impl Steer for Supervisor {
    fn tree(&self) -> TreeStatus {
        Self::tree(self)
    }

    async fn restart(&self, path: &str) -> Result<(), SteerError> {
        Ok(Self::restart(self, path).await?)
    }

    async fn pause(&self, path: &str) -> Result<(), SteerError> {
        Ok(Self::pause(self, path).await?)
    }

    async fn resume(&self, path: &str) -> Result<(), SteerError> {
        Ok(Self::resume(self, path).await?)
    }
}

/// The objects of all resource types, and which types are watched.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Every type of every source, in a stable order.
    fn slots(&self) -> Vec<Slot>;

    /// The objects of one type from one source, in a stable order.
    fn objects(&self, source: &str, resource_type: &ResourceType) -> Vec<Arc<Object>>;

    /// Begins to watch a type in every source that may have it. The error is a reason for people.
    async fn register(&self, resource_type: &ResourceType) -> Result<(), String>;

    /// Ends that.
    async fn unregister(&self, resource_type: &ResourceType) -> Result<(), String>;
}

/// One resource type of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The source's configured name.
    pub source: Name,
    /// What it is.
    pub resource_type: ResourceType,
    /// It was discovered, and nobody asked for it by name.
    pub discovered: bool,
    /// How many objects are held.
    pub objects: usize,
    /// How it stands with its source.
    pub phase: SyncPhase,
    /// How long ago the source last told anything.
    pub age: Option<Duration>,
}

/// How a type stands with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "phase", content = "reason")]
pub enum SyncPhase {
    /// No whole list was applied yet; the reason, if one is known.
    Pending(Option<String>),
    /// It follows its source.
    Synced,
    /// The type is known not to exist there.
    Absent(String),
    /// An older state is served, and why.
    Stale(String),
}

impl SyncPhase {
    /// Whether a first configuration may be built on it.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Pending(_))
    }
}

/// Shows and sets what is logged.
pub trait LogLevel: Send + Sync {
    /// The level or directives in force.
    fn get(&self) -> String;

    /// Replaces them at once. The error is a reason for people.
    fn set(&self, level: &str) -> Result<(), String>;
}
