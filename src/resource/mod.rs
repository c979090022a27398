//! One file a kind that the gateway reads: a pruned, typed, checked view of the raw object.
//!
//! Laws: what is in a view has passed the checks of the kind's schema, its CEL rules included; all mistakes of
//! an object are found at once, each with its path; what nobody reads is in no view.
//!
//! Invariant: nothing here looks at a second object.

/// What is wrong with a field, and where.
pub mod field;

mod shared;

/// The formats of names and values.
pub mod format;

/// Addresses that are not just any.
pub mod address;

/// Regular expressions that proxies accept.
pub mod regex;

/// What every view has.
pub mod meta;

/// The resource types, spelled once.
pub mod types;

/// Label selectors.
pub mod selector;

/// What they select.
pub mod labels;

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

use tidegate_actors::id::ResourceType;

/// A kind that the gateway reads, as sources need to know it.
#[derive(Clone, Debug)]
pub struct KnownKind {
    /// The type that its objects are served as.
    pub resource_type: ResourceType,
    /// Whether it grants something, so that a broken version must not keep the last good one alive.
    pub fails_closed: bool,
    /// All that is wrong with the raw JSON of an object.
    pub check: fn(&[u8]) -> Vec<FieldError>,
}

/// All kinds that the gateway reads; of several versions of one kind the preferred one first.
pub fn kinds() -> Vec<KnownKind> {
    fn kind<S: Kind>(resource_type: ResourceType) -> KnownKind {
        KnownKind { resource_type, fails_closed: S::FAILS_CLOSED, check: meta::check::<S> }
    }
    vec![
        kind::<gateway_class::GatewayClass>(types::gateway_class()),
        kind::<gateway::Gateway>(types::gateway()),
        kind::<http_route::HttpRoute>(types::http_route()),
        kind::<reference_grant::ReferenceGrant>(types::reference_grant()),
        kind::<reference_grant::ReferenceGrant>(types::reference_grant_v1beta1()),
        kind::<service::Service>(types::service()),
        kind::<endpoint_slice::EndpointSlice>(types::endpoint_slice()),
        kind::<secret::Secret>(types::secret()),
        kind::<namespace::Namespace>(types::namespace()),
    ]
}
