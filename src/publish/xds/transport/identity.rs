//! Who a client certificate is for, and for how long: its subject alternative names. The common name counts for nothing (RFC 6125,
//! section 6.4.4, and SPIFFE's X.509-SVID, section 2).

use std::fmt;
use std::time::Duration;

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

/// What counts of a client's certificate that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its URIs and DNS names, in its order.
    pub identities: Vec<Identity>,
    /// Until when it is valid, since the Unix epoch.
    pub not_after: Duration,
}

impl ClientCertificate {
    /// Nobody's, and expired, if it cannot be read, which cannot be.
    pub fn of(leaf: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Self::default() };
        let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
        Self { identities: identities(&certificate), not_after: Duration::from_secs(not_after) }
    }
}

fn identities(certificate: &X509Certificate<'_>) -> Vec<Identity> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let identity = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(Identity::Uri((*uri).to_owned())),
        GeneralName::DNSName(name) => Some(Identity::Dns(name.to_ascii_lowercase())),
        _ => None,
    };
    names.value.general_names.iter().filter_map(identity).collect()
}
