//! The whole of Tidegate on a real Kubernetes: what kubectl applies is served and gets its status, by one of several
//! replicas, with the permissions that we document, whatever happens to the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

#[path = "kubernetes_cluster/rig.rs"]
mod rig;

#[path = "kubernetes_cluster/status.rs"]
mod status;

#[path = "kubernetes_cluster/events.rs"]
mod events;

#[path = "kubernetes_cluster/audit.rs"]
mod audit;

#[path = "kubernetes_cluster/replicas.rs"]
mod replicas;

#[path = "kubernetes_cluster/shards.rs"]
mod shards;

#[path = "kubernetes_cluster/permissions.rs"]
mod permissions;

#[path = "kubernetes_cluster/outages.rs"]
mod outages;

#[path = "kubernetes_cluster/clusters.rs"]
mod clusters;
