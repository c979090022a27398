//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

// The builders of models that unit tests share with `tests/` name the crate as those do.
#[cfg(test)]
extern crate self as tidegate;

/// What a gateway must do, as plain data.
pub mod model;

/// Consumers of the model: Envoy over xDS.
pub mod publish;
