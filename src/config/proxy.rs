//! `proxy`: the local Envoy, and where listeners bind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::values::{Period, Switch};

/// The local Envoy, and where listeners bind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Whether to run an Envoy as a child process: true, false, or auto (if one is found).
    pub managed: Switch,
    /// The Envoy binary. Without it: TIDEGATE_ENVOY, then PATH, then our own cache.
    pub path: Option<PathBuf>,
    /// The IP address that listeners bind, for Gateways that have no `spec.addresses` of their own.
    #[schemars(with = "String")]
    pub bind: IpAddr,
    /// Worker threads of Envoy. Without it, one a core.
    pub concurrency: Option<u32>,
    /// How long connections may go on when Envoy is stopped.
    pub drain_timeout: Period,
    /// Where Envoy's own admin interface listens; loopback only.
    #[schemars(with = "String")]
    pub admin_address: SocketAddr,
    /// Envoy's log level.
    pub log_level: ProxyLogLevel,
}

/// Envoy's words for log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyLogLevel {
    /// Everything.
    Trace,
    /// For debugging.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
    /// Why it ended.
    Critical,
    /// Nothing.
    Off,
}

impl ProxyLogLevel {
    /// As Envoy's `--log-level` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            managed: Switch::Auto,
            path: None,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            concurrency: None,
            drain_timeout: Period::from_secs(5),
            admin_address: SocketAddr::from(([127, 0, 0, 1], 9901)),
            log_level: ProxyLogLevel::Warning,
        }
    }
}

impl Proxy {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        check.ensure(self.concurrency != Some(0), "concurrency", "must be at least 1, or left out for one a core");
        let loopback = self.admin_address.ip().is_loopback();
        check.ensure(
            loopback,
            "admin_address",
            "must be a loopback address: Envoy's admin interface has no access control",
        );
    }
}
