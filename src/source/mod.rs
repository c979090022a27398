//! Sources of objects: one file or folder a kind of source.
//!
//! Invariant: nothing here knows the gateway model or Envoy; which kinds exist, and what a good object of
//! each looks like, comes in through [`schema::Catalogue`].

/// Which kinds are known, and how their objects are checked.
pub mod schema;

/// Where conditions go back to.
pub mod sink;

/// Which of several replicas writes.
pub mod lease;

/// A directory of YAML and JSON manifests.
pub mod directory;

/// A Kubernetes cluster.
pub mod kubernetes;
