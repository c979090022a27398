//! A local Envoy: found, configured to ask us, run as a supervised child, drained on stop, adopted after a crash.
//!
//! Invariant: `proxy` knows neither the gateway model nor what is published; it knows Envoy as a program.

/// Where an Envoy comes from: a path, the PATH, the cache, or the pinned wheel.
pub mod locate;

/// What Envoy is told at its start: who it is and whom to ask.
pub mod bootstrap;
