//! Where objects come from. A [`Source`](crate::source::Source) opens list-then-watch for one resource type and
//! yields events; it never sees a store, and it never retries by itself: it says how to go on, and the reflector does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;

use crate::id::{Name, ObjectKey, ResourceType};
use crate::object::Object;

/// A place in a source's history from which a watch can be resumed (Kubernetes: a resource version).
/// Opaque to everybody but the source that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub Name);

/// What a source tells, in order. A stream opened without a cursor starts with `Init`.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// A full list begins; what follows until `InitDone` replaces everything held.
    Init,
    /// One object of the list.
    InitApply(Arc<Object>),
    /// The list is complete; objects that it did not name are gone. The watch goes on from the cursor.
    InitDone(Cursor),
    /// An object was added or changed.
    Apply(Arc<Object>),
    /// An object was deleted.
    Delete(ObjectKey),
    /// Everything up to the cursor has been told. A source whose every event moves its cursor sends one after
    /// each, so that a resumed watch repeats nothing; it also proves that a quiet source is alive.
    Bookmark(Cursor),
}

/// Why a stream ended, as advice on how to go on. The stream yields nothing after it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection broke, or the server is overloaded: resume from the last cursor, after `after` if given.
    #[error("watch interrupted: {reason}")]
    Retry {
        /// What happened, for people.
        reason: String,
        /// What the server asked for (Retry-After), at the least.
        after: Option<Duration>,
    },
    /// The cursor is no longer known (Kubernetes: 410): list anew. The old state serves until then.
    #[error("history is gone, a new list is needed: {reason}")]
    Relist {
        /// What happened, for people.
        reason: String,
    },
    /// The resource type does not exist (yet, or no more). This is not an empty list.
    #[error("the resource type does not exist: {reason}")]
    Absent {
        /// What happened, for people.
        reason: String,
    },
    /// We may not list or watch it. The last good state serves on.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// What is missing, such as the RBAC rule, for people.
        reason: String,
    },
}

/// What [`Source::open`] returns.
pub type SourceStream = Pin<Box<dyn Stream<Item = Result<SourceEvent, SourceError>> + Send>>;

/// A registry of objects: a directory, a cluster, a catalogue. One per configured source.
pub trait Source: Send + Sync + 'static {
    /// The configured name, which stands in the key of every object from here.
    fn name(&self) -> &Name;

    /// Lists, then watches one resource type; with `from`, resumes there without a list if it can, else lists.
    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream;
}
