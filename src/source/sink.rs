//! The way back: what a source offers whose registry takes its objects' conditions, or Events about them. Who decides
//! what is said stands elsewhere; a sink reads and writes one object's status, or says one thing of it, and knows who
//! may.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tidegate_actors::id::{Name, ObjectRef};
use tidegate_actors::object::Object;
use tidegate_actors::problem::FieldError;
use tidegate_actors::watch;
use tidegate_actors::workqueue::RateLimit;

/// How fast one source's statuses are written, or its Events.
pub type WriteRate = RateLimit;

/// An object's status as the registry, or a store's copy of it, has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// The version that was read; a write succeeds only while it is the newest.
    pub resource_version: String,
    /// `status`, or null.
    pub status: Value,
}

impl Held {
    /// As a store's copy of the object has it.
    ///
    /// # Errors
    /// When the object has no resource version, so that nobody could tell whether a write is late.
    pub fn of(object: &Object) -> Result<Self, FieldError> {
        #[derive(Deserialize)]
        struct WithStatus {
            #[serde(default)]
            status: Value,
        }
        let version = object.resource_version();
        let version = version.ok_or_else(|| FieldError::new("metadata.resourceVersion", "is missing"))?;
        let parsed: WithStatus = serde_json::from_slice(object.raw())
            .map_err(|error| FieldError::new("status", format!("cannot be read: {error}")))?;
        Ok(Self { resource_version: version.to_owned(), status: parsed.status })
    }
}

/// Why a status was not read or written, or something not said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The object changed since it was read: read it again.
    #[error("the object has changed since it was read")]
    Conflict,
    /// Another replica writes. Nothing is wrong.
    #[error("another replica writes")]
    NotLeading,
    /// The registry asks for patience.
    #[error("the registry is busy: {reason}")]
    Busy {
        /// What it said.
        reason: String,
        /// How long it asked to be left alone, if it said so.
        after: Option<Duration>,
    },
    /// We may not.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// What is missing, such as the RBAC rule.
        reason: String,
    },
    /// Anything else.
    #[error("{reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
}

/// Reads and writes the status of a source's objects.
#[async_trait]
pub trait StatusSink: Send + Sync + 'static {
    /// Whether this replica is the one that writes, and each change of that.
    fn leading(&self) -> watch::Receiver<bool>;

    /// The status as it is now, from the registry itself; `None` if there is no such object.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn read(&self, object: &ObjectRef) -> Result<Option<Held>, SinkError>;

    /// Replaces `status`, unless the object has a newer version than `over`. An object that is gone is no error.
    ///
    /// # Errors
    /// When it was not written; [`SinkError::NotLeading`] also when leadership was lost meanwhile.
    async fn write(&self, object: &ObjectRef, over: &str, status: &Value) -> Result<(), SinkError>;
}

/// How urgent it is what is said of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// For the record.
    Normal,
    /// Something is wrong.
    Warning,
}

/// One thing that a person should see of an object. Two that are equal but for `resource_version` are the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The object.
    pub object: ObjectRef,
    /// Its registry's identity of it, as far as it is known.
    pub uid: Option<Name>,
    /// The version that was looked at.
    pub resource_version: Option<Name>,
    /// Who says so, such as `tidegate.dev/gateway-controller`.
    pub reporter: Name,
    /// How urgent it is.
    pub grade: Grade,
    /// What was being done, in a word: `ResolveRefs`.
    pub action: &'static str,
    /// Why, in a word: `BackendNotFound`.
    pub reason: Name,
    /// The same in sentences; a registry may cut it short. Nothing secret.
    pub note: String,
}

/// Says what a person should see where people look for it.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Whether this replica is the one that speaks, and each change of that.
    fn leading(&self) -> watch::Receiver<bool>;

    /// Says it; `before`: how often it was said by us already. What was said by another replica, or before we were
    /// started, is not said again unless `before` is above zero. Returns how often it was said until now. An object
    /// that is gone is no error.
    ///
    /// # Errors
    /// When it was not said; [`SinkError::NotLeading`] also when leadership was lost meanwhile.
    async fn say(&self, notice: &Notice, before: u32) -> Result<u32, SinkError>;
}
