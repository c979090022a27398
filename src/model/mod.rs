//! The gateway model: what a gateway must do, as plain data between translation and publishers.
//!
//! Invariant: `model` knows neither kube nor Envoy, and nothing in it says how something is transported.
//! Every part is keyed, comparable, serialisable, and traces back to the object that caused it.
//!
//! How the parts refer to each other, by name alone:
//!
//! ```text
//! Listener (address, port) ─▶ FilterChain ─▶ RouteConfig ─▶ VirtualHost ─▶ Route ─▶ Cluster ─▶ Endpoints
//!                                  └─▶ Secret (by SecretId)
//! ```

mod cluster;
mod listener;
mod policy;
mod route;
mod secret;
mod update;

pub use cluster::{AppProtocol, Cluster, ClusterId, Endpoint, Endpoints, Health};
pub use listener::{FilterChain, GatewayId, Listener, ListenerId, Protocol, TlsTermination};
pub use policy::Policies;
pub use route::{
    Backend, HeaderEdit, HostRewrite, Match, Matcher, Mirror, PathMatch, PathRewrite, Precedence, Redirect, Route,
    RouteAction, RouteConfigId, RouteFilters, Timeouts, VirtualHost, VirtualHostId,
};
pub use secret::{Secret, SecretId};
pub use update::ModelUpdate;

pub use tidegate_actors::seq::{Chunk, Page, Seq};
