//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

/// Where objects come from: a directory of manifests.
pub mod source;

/// What a gateway must do, as plain data.
pub mod model;
