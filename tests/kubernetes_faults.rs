//! The Kubernetes source against a real API server and etcd under every fault that can be had there: what it holds is
//! what the server has, and no event is lost on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/api.rs"]
mod api;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each suite uses its part")]
#[path = "support/ports.rs"]
mod ports;

/// The network between a client and a server, and what can happen to it.
#[path = "kubernetes_faults/proxy.rs"]
mod proxy;

/// What an observer was told, and whether it can be true.
#[path = "kubernetes_faults/history.rs"]
mod history;

/// The engine over the source.
#[path = "kubernetes_faults/watched.rs"]
mod watched;

/// A schedule of operations and faults from a seed.
#[path = "kubernetes_faults/plan.rs"]
mod plan;

/// A plan carried out.
#[path = "kubernetes_faults/run.rs"]
mod run;

/// Many plans side by side.
#[path = "kubernetes_faults/plans.rs"]
mod plans;

/// An API server that is silent, stale, or in another time.
#[path = "kubernetes_faults/outages.rs"]
mod outages;

/// Permissions, tokens and certificates that change.
#[path = "kubernetes_faults/access.rs"]
mod access;
