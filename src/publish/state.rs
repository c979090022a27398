//! The whole model at one version, as the JSON publisher, the API and offline translation show it.
//!
//! Invariant: secret content is not in it; the model's types do not serialise any.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::model::{
    Cluster, ClusterId, Endpoints, Listener, ListenerId, ModelUpdate, Secret, SecretId, VirtualHost, VirtualHostId,
};

/// Everything that a gateway must do, at one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelState {
    /// The version; 0 before the first.
    pub version: u64,
    /// Bound sockets.
    pub listeners: BTreeMap<ListenerId, Arc<Listener>>,
    /// Routing, one entry a domain of a routing table.
    pub virtual_hosts: BTreeMap<VirtualHostId, Arc<VirtualHost>>,
    /// Destinations.
    pub clusters: BTreeMap<ClusterId, Arc<Cluster>>,
    /// Their addresses.
    pub endpoints: BTreeMap<ClusterId, Arc<Endpoints>>,
    /// Certificates, without their content.
    pub secrets: BTreeMap<SecretId, Arc<Secret>>,
}

impl ModelState {
    /// Takes one consistent step.
    pub fn apply(&mut self, update: &ModelUpdate) {
        self.version = update.version;
        merge(&mut self.listeners, &update.listeners);
        merge(&mut self.virtual_hosts, &update.virtual_hosts);
        merge(&mut self.clusters, &update.clusters);
        merge(&mut self.endpoints, &update.endpoints);
        merge(&mut self.secrets, &update.secrets);
    }
}

fn merge<K: Ord + Clone, V>(all: &mut BTreeMap<K, Arc<V>>, changes: &[(K, Option<Arc<V>>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(all.insert(key.clone(), value.clone())),
            None => drop(all.remove(key)),
        }
    }
}

/// Lists, sorted by identity: each value carries its own.
impl Serialize for ModelState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Model", 6)?;
        all.serialize_field("version", &self.version)?;
        all.serialize_field("listeners", &self.listeners.values().collect::<Vec<_>>())?;
        all.serialize_field("virtual_hosts", &self.virtual_hosts.values().collect::<Vec<_>>())?;
        all.serialize_field("clusters", &self.clusters.values().collect::<Vec<_>>())?;
        all.serialize_field("endpoints", &self.endpoints.values().collect::<Vec<_>>())?;
        all.serialize_field("secrets", &self.secrets.values().collect::<Vec<_>>())?;
        all.end()
    }
}
