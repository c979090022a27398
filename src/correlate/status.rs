//! What objects are told about themselves: conditions and counts, as the Gateway API spells them. No times are
//! in it (who publishes adds the transition time), so that equal statuses are equal.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use tidegate_actors::id::{Name, ObjectRef};

use crate::resource::http_route::ParentRef;

/// The status of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStatus {
    /// The object.
    pub object: ObjectRef,
    /// Its status.
    pub status: Status,
}

/// Serialises as `apiVersion`, `kind`, `source`, `namespace`, `name`, `status`.
impl Serialize for ObjectStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ObjectRef { resource_type, key } = &self.object;
        let mut fields = serializer.serialize_struct("ObjectStatus", 6)?;
        fields.serialize_field("apiVersion", &resource_type.api_version())?;
        fields.serialize_field("kind", resource_type.kind())?;
        fields.serialize_field("source", &key.source)?;
        match &key.namespace {
            Some(namespace) => fields.serialize_field("namespace", namespace)?,
            None => fields.skip_field("namespace")?,
        }
        fields.serialize_field("name", &key.name)?;
        fields.serialize_field("status", &self.status)?;
        fields.end()
    }
}

/// A status by kind; serialises as the kind's `status` field.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a GatewayClass.
    GatewayClass(ClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a route.
    Route(RouteStatus),
}

/// Status of a GatewayClass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassStatus {
    /// Accepted.
    pub conditions: Vec<Condition>,
}

/// Status of a Gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatewayStatus {
    /// Where it is served.
    pub addresses: Vec<StatusAddress>,
    /// Accepted, Programmed.
    pub conditions: Vec<Condition>,
    /// In the order of the spec.
    pub listeners: Vec<ListenerStatus>,
}

/// An address in a status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusAddress {
    /// Such as `IPAddress`.
    pub r#type: Name,
    /// The address.
    pub value: Name,
}

/// Status of a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    pub name: Name,
    /// Kinds of routes that may attach.
    pub supported_kinds: Vec<RouteKind>,
    /// Accepted routes that are attached to it.
    pub attached_routes: usize,
    /// Accepted, Programmed, ResolvedRefs, Conflicted; OverlappingTLSConfig only if true.
    pub conditions: Vec<Condition>,
}

/// A kind of route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteKind {
    /// Group.
    pub group: Name,
    /// Kind.
    pub kind: Name,
}

/// Status of a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStatus {
    /// One entry for each of its references to a Gateway of ours, in the order of the spec.
    pub parents: Vec<ParentStatus>,
}

/// Status of a route at one parent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The reference, as in the spec.
    pub parent_ref: ParentRef,
    /// Who says so.
    pub controller_name: Name,
    /// Accepted, ResolvedRefs; PartiallyInvalid only if true, Programmed only if false.
    pub conditions: Vec<Condition>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    pub r#type: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// Why, for programs.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// The object's generation that it was decided for.
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not decided.
    Unknown,
}

impl Condition {
    /// A condition of a type that holds or not, with its reason and message.
    pub fn new(
        r#type: &'static str,
        status: Truth,
        reason: &'static str,
        message: impl Into<String>,
        generation: i64,
    ) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        Self { r#type, status, reason, message, observed_generation: generation }
    }
}

/// Kubernetes refuses conditions with messages above 32 KiB; people refuse shorter ones already.
const MAX_MESSAGE: usize = 4_000;

/// Types of conditions.
pub mod condition {
    /// The object is valid and will be served.
    pub const ACCEPTED: &str = "Accepted";
    /// It is in the configuration of the proxies.
    pub const PROGRAMMED: &str = "Programmed";
    /// What it refers to was found and may be used.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// A listener that cannot be told apart from another.
    pub const CONFLICTED: &str = "Conflicted";
    /// Listeners whose hosts overlap on one port, while their certificates differ.
    pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
    /// Some rules of a route are not served.
    pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
}

/// Reasons of conditions, as the specification spells them.
pub mod reason {
    #![allow(missing_docs)]
    pub const ACCEPTED: &str = "Accepted";
    pub const PROGRAMMED: &str = "Programmed";
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    pub const PENDING: &str = "Pending";
    pub const INVALID: &str = "Invalid";
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
    pub const NO_CONFLICTS: &str = "NoConflicts";
    pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    pub const INVALID_KIND: &str = "InvalidKind";
    /// Ours: `limits.routes_per_gateway`.
    pub const TOO_MANY_ROUTES: &str = "TooManyRoutes";
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    /// Of a GatewayClass whose content cannot be used.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// A proxy does not take it. Of `Programmed` of a route, for which the specification has no words.
    pub const REJECTED_BY_PROXY: &str = "RejectedByProxy";
    /// Another source's object of the name comes first. GEP-713 has the word for policies, nothing has one for this.
    pub const CONFLICTED: &str = "Conflicted";
}
