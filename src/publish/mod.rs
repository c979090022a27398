//! Consumers of the model: whoever turns consistent versions of it into something that others read.
//!
//! Invariant: publishers read the model and never each other; nothing flows back but problems and status.

/// Envoy configuration over xDS.
pub mod xds;
