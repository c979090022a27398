//! A cluster for those who write to it: statuses, leases, events.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use kube::Client;
use parking_lot::RwLock;
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

/// The clusters that are sources now, by the source's name. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Clusters {
    by_name: Arc<RwLock<BTreeMap<Name, Weak<Shared>>>>,
}

impl Clusters {
    /// A cluster, if there is a source of that name and it is one.
    pub fn get(&self, source: &str) -> Option<Cluster> {
        self.by_name.read().get(source)?.upgrade().map(Cluster::new)
    }

    /// All of them, sorted by name.
    pub fn list(&self) -> Vec<Cluster> {
        self.by_name.read().values().filter_map(Weak::upgrade).map(Cluster::new).collect()
    }

    /// A source was made. When it is dropped, its cluster is gone from here, too.
    pub(super) fn add(&self, cluster: &Cluster) {
        let mut by_name = self.by_name.write();
        by_name.retain(|_, shared| shared.strong_count() > 0);
        by_name.insert(cluster.name().clone(), Arc::downgrade(&cluster.shared));
    }
}
