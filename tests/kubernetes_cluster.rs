//! The whole of Tidegate on a real Kubernetes: what kubectl applies is served and gets its status, by one of several
//! replicas, with the permissions that we document, whatever happens to the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

#[path = "kubernetes_cluster/rig.rs"]
mod rig;

#[path = "kubernetes_cluster/status.rs"]
mod status;

