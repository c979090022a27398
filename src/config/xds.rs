//! `xds`: how proxies get their configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clients::{XdsClient, XdsTls};
use super::problem::Check;
use super::values::{ByteSize, Period};

/// How proxies get their configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Xds {
    /// Where the xDS server listens over TCP. What it sends includes private keys, so an address that is not loopback
    /// needs `tls`; whoever can connect to one that is, and has no TLS, is sent everything.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// TLS over TCP, by which proxies have to prove who they are.
    pub tls: Option<XdsTls>,
    /// With TLS: who may see which Gateways. What several entries grant adds up; who is in none is not let in.
    pub clients: Vec<XdsClient>,
    /// A Unix socket to listen on as well, for its owner alone; the managed Envoy uses one in `data_dir` if this is not set.
    pub unix_socket: Option<PathBuf>,
    /// How many proxies may be connected at once.
    pub max_clients: u32,
    /// How many resource names one proxy may subscribe to, all types together. A delta client that comes back names all
    /// that it has by name: endpoints, certificates, routing tables.
    pub max_subscriptions: u32,
    /// The largest request of a proxy. One that comes back names all that it has, some 100 bytes a resource.
    pub max_request_size: ByteSize,
    /// How long a proxy may take, once its stream is open, to send its first request.
    pub first_request_timeout: Period,
    /// Whether a proxy that names no Gateways in its node metadata, and may see all, is sent all of them.
    pub allow_unscoped: bool,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_interval: Period,
    /// How long the answer to that may take.
    pub keepalive_timeout: Period,
}

impl Default for Xds {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 18000)),
            tls: None,
            clients: Vec::new(),
            unix_socket: None,
            max_clients: 1000,
            max_subscriptions: 200_000,
            max_request_size: ByteSize::new(64 << 20),
            first_request_timeout: Period::from_secs(15),
            allow_unscoped: true,
            keepalive_interval: Period::from_secs(30),
            keepalive_timeout: Period::from_secs(10),
        }
    }
}

impl Xds {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        if !self.address.ip().is_loopback() && self.tls.is_none() {
            let reason = "is not a loopback address, and private keys would travel unencrypted; set `xds.tls`, and in \
                          `xds.clients` which proxies may see what";
            check.problem("address", reason);
        }
        if let Some(tls) = &self.tls {
            tls.check(&mut check.inside("tls"));
            let reason = "lets nobody in, which `xds.tls` makes it do for all that are not listed; add the proxies' \
                          `identity` and their `gateways`";
            check.ensure(!self.clients.is_empty(), "clients", reason);
        } else {
            let reason = "counts only with `xds.tls`: without it nobody proves who they are";
            check.ensure(self.clients.is_empty(), "clients", reason);
        }
        for (index, client) in self.clients.iter().enumerate() {
            client.check(&mut check.inside(&format!("clients[{index}]")));
        }
        check.ensure(self.max_clients > 0, "max_clients", "must be at least 1");
        check.ensure(self.max_subscriptions > 0, "max_subscriptions", "must be at least 1");
        check.ensure(self.max_request_size.bytes() >= 1024, "max_request_size", "must be at least 1KiB");
        check.ensure(!self.first_request_timeout.is_zero(), "first_request_timeout", "must be longer than zero");
        check.ensure(!self.keepalive_interval.is_zero(), "keepalive_interval", "must be longer than zero");
        check.ensure(!self.keepalive_timeout.is_zero(), "keepalive_timeout", "must be longer than zero");
    }
}
