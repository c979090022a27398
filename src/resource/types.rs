//! The resource types that the gateway reads, spelled once.

use std::sync::LazyLock;

use tidegate_actors::id::{ResourceType, Scope};

/// The Gateway API's group.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $group:expr, $version:literal, $kind:literal, $plural:literal, $scope:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name() -> ResourceType {
            static TYPE: LazyLock<ResourceType> =
                LazyLock::new(|| ResourceType::new($group, $version, $kind, $plural, Scope::$scope));
            TYPE.clone()
        }
    )*};
}

types! {
    /// GatewayClass.
    gateway_class = GATEWAY_GROUP, "v1", "GatewayClass", "gatewayclasses", Cluster;
    /// Gateway.
    gateway = GATEWAY_GROUP, "v1", "Gateway", "gateways", Namespaced;
    /// HTTPRoute.
    http_route = GATEWAY_GROUP, "v1", "HTTPRoute", "httproutes", Namespaced;
    /// ReferenceGrant, since Gateway API v1.5.
    reference_grant = GATEWAY_GROUP, "v1", "ReferenceGrant", "referencegrants", Namespaced;
    /// ReferenceGrant, before Gateway API v1.5.
    reference_grant_v1beta1 = GATEWAY_GROUP, "v1beta1", "ReferenceGrant", "referencegrants", Namespaced;
    /// Service.
    service = "", "v1", "Service", "services", Namespaced;
    /// EndpointSlice.
    endpoint_slice = "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Namespaced;
    /// Secret.
    secret = "", "v1", "Secret", "secrets", Namespaced;
    /// Namespace.
    namespace = "", "v1", "Namespace", "namespaces", Cluster;
}
