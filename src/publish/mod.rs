//! Publishers: what becomes of the model and the statuses.

/// The whole model at one version.
pub mod state;

/// From batches to steps of the model.
pub mod step;

/// The model as a JSON file.
pub mod json;

/// Every object's conditions.
pub mod status;

/// Envoy configuration over xDS.
pub mod xds;
