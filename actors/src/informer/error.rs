//! What an informer factory refuses.

use std::fmt;

use thiserror::Error;

use crate::id::{Name, ResourceType};
use crate::supervisor::SupervisorError;

/// What an informer factory refuses.
#[derive(Debug, Error)]
pub enum InformerError {
    /// Two sources of one name.
    #[error("add the source `{name}`: there is one of this name already; choose another")]
    SourceExists {
        /// The name that is taken.
        name: Name,
    },
    /// A source that nobody added.
    #[error("register {resource_type}: there is no source `{source_name}`; there are: {known}")]
    UnknownSource {
        /// The name that was asked for.
        source_name: String,
        /// The type that was to be watched.
        resource_type: ResourceType,
        /// All names, for people.
        known: String,
    },
    /// One type in two versions, which are two views of the same objects.
    #[error("register {wanted} of `{source_name}`: it is registered as {registered}; unregister that version first")]
    OtherVersion {
        /// The source.
        source_name: Name,
        /// What was asked for.
        wanted: ResourceType,
        /// What there is.
        registered: ResourceType,
    },
    /// A type that nobody registered.
    #[error("unregister {resource_type} of `{source_name}`: it is not registered")]
    NotRegistered {
        /// The source.
        source_name: String,
        /// The type.
        resource_type: ResourceType,
    },
    /// Two handlers of one name on one type.
    #[error("add the handler `{name}` to {resource_type}: there is one of this name already; choose another")]
    HandlerExists {
        /// The name that is taken.
        name: String,
        /// The type.
        resource_type: ResourceType,
    },
    /// The supervisor does not do it.
    #[error("{operation}")]
    Supervise {
        /// What was to be done.
        operation: String,
        /// Why it was not.
        #[source]
        source: SupervisorError,
    },
}

/// Some types did not sync in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSynced {
    /// Source, type, and what is known of the reason.
    pub missing: Vec<(Name, ResourceType, String)>,
}

impl fmt::Display for NotSynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wait for the first lists: not complete: ")?;
        for (at, (source, resource_type, reason)) in self.missing.iter().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            write!(f, "{comma}{resource_type} of `{source}` ({reason})")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotSynced {}
