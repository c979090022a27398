//! Where traffic goes: one cluster a (Service, port), and its endpoints apart from it, since those change
//! far more often.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidegate_actors::id::{Name, ObjectRef};

use super::{GatewayId, Policies};

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClusterId {
    /// The configured source's name.
    pub source: Name,
    /// Namespace of the Service.
    pub namespace: Name,
    /// Name of the Service.
    pub service: Name,
    /// The Service's port number (not the target port).
    pub port: u16,
}

/// `source/namespace/service/port`, which is also the name that proxies see.
impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.source, self.namespace, self.service, self.port)
    }
}

/// How to talk to a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Its identity.
    pub id: ClusterId,
    /// From the Service port's `appProtocol`.
    pub protocol: AppProtocol,
    /// Time for a TCP connection.
    pub connect_timeout: Duration,
    /// What applies to all traffic to it.
    pub policies: Policies,
    /// The Gateways whose routes refer to it, sorted: who is sent it and its endpoints.
    pub gateways: Arc<[GatewayId]>,
    /// The Service.
    #[serde(skip)]
    pub origin: ObjectRef,
}

/// What a backend speaks (GEP-1911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS: `kubernetes.io/h2c`.
    H2c,
    /// HTTP/1.1 with upgrade to WebSocket: `kubernetes.io/ws`.
    WebSocket,
}

/// All endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoints {
    /// The cluster.
    pub id: ClusterId,
    /// Sorted, each address and port once.
    pub endpoints: Arc<[Endpoint]>,
    /// The EndpointSlices.
    #[serde(skip)]
    pub origins: Vec<ObjectRef>,
}

/// One address that takes traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Zone, if known.
    pub zone: Option<Name>,
    /// Whether it should get new requests.
    pub health: Health,
}

/// Whether an endpoint should get new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Health {
    /// Ready.
    Ready,
    /// Serving while terminating: used only if nothing is ready (KEP-1669).
    Draining,
}
