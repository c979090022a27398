//! One file a kind that the gateway reads: a pruned, typed, checked view of the raw object.
//!
//! Laws: what is in a view has passed the checks of the kind's schema, its CEL rules included; all mistakes of
//! an object are found at once, each with its path; what nobody reads is in no view.
//!
//! Invariant: nothing here looks at a second object.

/// What is wrong with a field, and where.
pub mod field;

/// The formats of names and values.
pub mod format;

/// Regular expressions that proxies accept.
pub mod regex;

/// What every view has.
pub mod meta;

/// The resource types, spelled once.
pub mod types;

/// Label selectors.
pub mod selector;

/// GatewayClass.
pub mod gateway_class;

/// Gateway.
pub mod gateway;

/// HTTPRoute.
pub mod http_route;

/// ReferenceGrant.
pub mod reference_grant;

/// Service.
pub mod service;

/// EndpointSlice.
pub mod endpoint_slice;

/// Secret.
pub mod secret;

/// Namespace.
pub mod namespace;

pub use field::FieldError;
pub use meta::{Kind, View};
