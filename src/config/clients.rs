//! `xds.tls` and `xds.clients`: how proxies prove who they are, and what each of them may see.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Check;

/// TLS of the xDS server, in both directions: who connects has to show a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsTls {
    /// The server's certificate with its chain, PEM. All three files are read again when they are replaced.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// The authorities that sign clients' certificates, PEM; several while one replaces another.
    pub client_ca_file: PathBuf,
}

/// Who may see which Gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsClient {
    /// A subject alternative name of the client's certificate: a URI or a DNS name. A star stands for any text without
    /// a slash in a URI, and without a dot in a DNS name; a star alone is everybody.
    pub identity: String,
    /// What it may see: `namespace/name`, `namespace/*`, or `*` for all.
    pub gateways: Vec<String>,
}

impl XdsTls {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        let files =
            [("cert_file", &self.cert_file), ("key_file", &self.key_file), ("client_ca_file", &self.client_ca_file)];
        for (key, file) in files {
            check.ensure(!file.as_os_str().is_empty(), key, "must not be empty");
        }
    }
}

impl XdsClient {
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        let plain = !self.identity.is_empty() && !self.identity.contains(char::is_whitespace);
        let reason = "must be a URI or a DNS name, such as spiffe://cluster.local/ns/*/sa/envoy or *.proxies.example";
        check.ensure(plain, "identity", reason);
        check.ensure(!self.gateways.is_empty(), "gateways", "lists none; name those that it may see, or `*` for all");
        for (index, gateway) in self.gateways.iter().enumerate() {
            let part = |text: &str| {
                text == "*" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)))
            };
            let named = |(namespace, name): (&str, &str)| namespace != "*" && part(namespace) && part(name);
            let good = gateway == "*" || gateway.split_once('/').is_some_and(named);
            check.ensure(good, &format!("gateways[{index}]"), "must be namespace/name, namespace/* or *");
        }
    }
}
