//! `admin`: health, metrics and the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;
use super::values::Token;

/// Health, metrics and the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where the admin server listens. Plain HTTP: keep it on loopback or inside a cluster's network.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// The token that whatever changes something needs, at least 16 characters. Without this and
    /// `token_file`, a random one is made at start and written to `admin-token` in `data_dir`.
    pub token: Option<Token>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Further host names by which the admin server may be asked. Loopback names and the address itself
    /// always may; anything else is refused, against DNS rebinding.
    pub allowed_hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9010)),
            token: None,
            token_file: None,
            allowed_hosts: Vec::new(),
        }
    }
}

impl Admin {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        if self.token.is_some() && self.token_file.is_some() {
            check.problem("token", "`token` and `token_file` are both set; keep one of them");
        }
        if self.token.as_ref().is_some_and(|token| token.reveal().len() < 16) {
            check.problem("token", "the token has fewer than 16 characters; take a longer, random one");
        }
        for (index, host) in self.allowed_hosts.iter().enumerate() {
            let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            check.ensure(plain, &format!("allowed_hosts[{index}]"), "must be a host name without scheme and port");
        }
    }
}
