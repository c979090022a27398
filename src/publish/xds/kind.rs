//! The xDS types that are served, in the order in which they are sent on the way up: make before break.

use std::fmt;

/// An xDS resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS: `ClusterLoadAssignment`.
    Endpoints,
    /// SDS.
    Secret,
    /// LDS.
    Listener,
    /// RDS.
    RouteConfig,
    /// VHDS, delta only.
    VirtualHost,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, in the order in which additions are sent. Clusters come before what routes to them, and
    /// listeners before the routing tables that they ask for.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Cluster, Self::Endpoints, Self::Secret, Self::Listener, Self::RouteConfig, Self::VirtualHost];

    /// The type URL on the wire.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfig => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type with a type URL, if it is one of ours.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// `cds`, `eds` and so on: what people and metrics call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Secret => "sds",
            Self::Listener => "lds",
            Self::RouteConfig => "rds",
            Self::VirtualHost => "vhds",
        }
    }

    /// Whether an empty first request asks for everything. The protocol grants this to LDS and CDS; Envoy also
    /// asks for VHDS this way, once for all routing tables of a stream.
    pub fn allows_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::VirtualHost)
    }

    /// Whether a state-of-the-world response must name everything, since absence deletes.
    pub fn absence_deletes(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
