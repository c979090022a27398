//! A cluster for those who write to it: statuses, leases, events.

use std::sync::Arc;

use kube::Client;
use tidegate_actors::id::Name;

use super::access::AccessError;
use super::shared::Shared;

/// A cluster that is watched, for whoever wants to read or write in it beside that. Cheap to clone.
///
/// Ask for a client for each operation, or each few: the one that you get has the current credentials, and keeps them
/// when those are replaced. No request is tried again by itself, and none has a deadline.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

impl Cluster {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The source's configured name, which stands in the key of every object from here.
    pub fn name(&self) -> &Name {
        &self.shared.options.name
    }

    /// A client for what changes something, and for reads that belong to it. Its connection carries nothing else, so
    /// no list or watch delays it.
    ///
    /// # Errors
    /// When the credentials cannot be read.
    pub async fn client_for_writes(&self) -> Result<Client, AccessError> {
        Ok(self.shared.pool.current().await?.writes.clone())
    }

    /// A client for reads of any size. Its connection carries the lists of all watched types.
    ///
    /// # Errors
    /// When the credentials cannot be read.
    pub async fn client_for_lists(&self) -> Result<Client, AccessError> {
        Ok(self.shared.pool.current().await?.lists.clone())
    }
}
