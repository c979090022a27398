//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

/// Typed, pruned, checked views of raw objects.
pub mod resource;

/// From resources to the gateway model and conditions.
pub mod correlate;

/// What a gateway must do, as plain data.
pub mod model;
