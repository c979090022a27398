//! Publishers: what becomes of the model and the statuses.

/// The whole model at one version.
pub mod state;

/// From batches to steps of the model.
pub mod step;

/// The model as a JSON file.
pub mod json;

/// Who goes first.
pub mod traffic;

/// What proxies reject, by object.
pub mod rejections;

/// What a person should see of an object beyond its conditions.
pub mod events;

/// Every object's conditions.
pub mod status;

/// Envoy configuration over xDS.
pub mod xds;
