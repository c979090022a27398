//! A consistent step from one version of the model to the next: what publishers get.

use std::sync::Arc;

use super::{Cluster, ClusterId, Endpoints, Listener, ListenerId, Secret, SecretId, VirtualHost, VirtualHostId};

/// What changed, by kind; `None` is a removal. Applied as a whole it leads to a consistent model; several
/// steps may have been merged into one, the latest value of each key winning.
#[derive(Clone, Debug, Default)]
pub struct ModelUpdate {
    /// Number of the model's version that this leads to; grows.
    pub version: u64,
    /// When the oldest change in it reached us, monotonic: for the event-to-ACK histogram.
    pub since: Option<tokio::time::Instant>,
    /// Listeners; each carries its filter chains.
    pub listeners: Vec<(ListenerId, Option<Arc<Listener>>)>,
    /// Virtual hosts. A routing table exists as long as a filter chain names it.
    pub virtual_hosts: Vec<(VirtualHostId, Option<Arc<VirtualHost>>)>,
    /// Clusters.
    pub clusters: Vec<(ClusterId, Option<Arc<Cluster>>)>,
    /// Endpoints; a cluster without any has an empty list.
    pub endpoints: Vec<(ClusterId, Option<Arc<Endpoints>>)>,
    /// Certificates.
    pub secrets: Vec<(SecretId, Option<Arc<Secret>>)>,
}
