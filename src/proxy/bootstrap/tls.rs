//! TLS towards Tidegate: which certificate a proxy shows, and whom it takes for Tidegate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{BootstrapError, XdsAddress};

const TLS_CONTEXT: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// Where a proxy has what TLS takes; the paths are those of the proxy's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Its certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authority that signs Tidegate's certificate, PEM.
    pub ca: PathBuf,
    /// The subject alternative name that Tidegate's certificate must have, a DNS name, an IP address or a URI. Without
    /// it, the host that is connected to.
    pub san: Option<String>,
}

/// The transport socket of the cluster that leads to Tidegate.
pub(super) fn transport_socket(tls: &TlsOptions, xds: &XdsAddress) -> Result<Value, BootstrapError> {
    let XdsAddress::Tcp { host, .. } = xds else { return Err(BootstrapError::TlsOverSocket) };
    let san = tls.san.as_deref().unwrap_or(host);
    let kind = match san {
        _ if san.contains("://") => "URI",
        _ if san.parse::<IpAddr>().is_ok() => "IP_ADDRESS",
        _ => "DNS",
    };
    let mut context = json!({
        "@type": TLS_CONTEXT,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
            "tls_certificates": [{
                "certificate_chain": file("certificate", &tls.certificate)?,
                "private_key": file("key", &tls.key)?,
            }],
            "validation_context": {
                "trusted_ca": file("authority", &tls.ca)?,
                "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": { "exact": san } }],
            },
        },
    });
    // RFC 6066, section 3: an address is no server name.
    if host.parse::<IpAddr>().is_err() {
        context["sni"] = json!(host);
    }
    Ok(json!({ "name": "envoy.transport_sockets.tls", "typed_config": context }))
}

fn file(what: &'static str, path: &Path) -> Result<Value, BootstrapError> {
    let text = path.to_str().filter(|_| path.is_absolute());
    let text = text.ok_or_else(|| BootstrapError::TlsPathNotAbsolute { what, path: path.to_owned() })?;
    Ok(json!({ "filename": text }))
}
