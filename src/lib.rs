//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

/// What a gateway must do, as plain data.
pub mod model;

/// Consumers of the model: Envoy over xDS.
pub mod publish;
