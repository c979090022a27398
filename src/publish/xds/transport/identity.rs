//! Who a client certificate is for: its subject alternative names. The common name counts for nothing (RFC 6125,
//! section 6.4.4, and SPIFFE's X.509-SVID, section 2).

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// One name of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A URI, such as `spiffe://cluster.local/ns/proxies/sa/envoy`.
    Uri(String),
    /// A name in DNS, in lower case.
    Dns(String),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Uri(name) | Self::Dns(name)) = self;
        f.write_str(name)
    }
}

/// The URIs and DNS names of a certificate that was verified, in its order; none if it cannot be read, which cannot be.
pub fn identities(leaf: &CertificateDer<'_>) -> Vec<Identity> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let identity = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(Identity::Uri((*uri).to_owned())),
        GeneralName::DNSName(name) => Some(Identity::Dns(name.to_ascii_lowercase())),
        _ => None,
    };
    names.value.general_names.iter().filter_map(identity).collect()
}
