//! Where traffic comes in.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use tidegate_actors::id::{Name, ObjectRef};

use super::{Policies, RouteConfigId, SecretId};

/// A Gateway: `namespace/name` and the source that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct GatewayId {
    /// The configured source's name.
    pub source: Name,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
}

/// `namespace/name`, as node metadata and people spell it.
impl std::fmt::Display for GatewayId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One bound socket: Gateways that share address and port share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ListenerId {
    /// Address to bind.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// `127.0.0.1:8080` or `[::1]:8080`.
impl std::fmt::Display for ListenerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// What one bound socket does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    /// Its identity.
    pub id: ListenerId,
    /// One for HTTP; for HTTPS one a Gateway listener. In a stable order.
    pub chains: Vec<FilterChain>,
}

/// What happens to the connections of one Gateway listener (HTTPS), or of all on the port (HTTP).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterChain {
    /// Unique in its listener, such as `https/infra/public/web`; `http` for the HTTP chain.
    pub name: Name,
    /// The Gateways that it serves: one for HTTPS, one or more for HTTP.
    pub gateways: Vec<GatewayId>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where requests are routed.
    pub route_config: RouteConfigId,
    /// What applies to all of it.
    pub policies: Policies,
    /// The listeners of Gateways that it is made of, for traces.
    #[serde(skip)]
    pub listeners: Vec<(ObjectRef, Name)>,
    /// The objects that caused it, for traces.
    #[serde(skip)]
    pub origins: Vec<ObjectRef>,
}

/// What a filter chain speaks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Protocol {
    /// Clear-text HTTP/1 and h2c.
    Http,
    /// HTTP over TLS, terminated here.
    Https(TlsTermination),
}

/// TLS terminated with certificates of ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TlsTermination {
    /// SNI names that select the chain: exact, `*.suffix`; empty matches any, and clients without SNI.
    pub server_names: Arc<[Name]>,
    /// Certificates, in the order of the Gateway's certificateRefs; at least one.
    pub certificates: Arc<[SecretId]>,
}
