//! Certificates of authorities that live for one test, good ones and every kind of bad one.

#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidegate::publish::xds::TlsFiles;

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate, with those that it needs to be verified, and its key; all PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

/// Parameters of an ordinary client's certificate with one name, a URI or a DNS name.
pub fn mk_client(name: &str) -> CertificateParams {
    let mut params = mk_params(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// The same of a server's.
pub fn mk_server(name: &str) -> CertificateParams {
    let mut params = mk_params(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn mk_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a test's");
    params.subject_alt_names = match name {
        "" => Vec::new(),
        uri if uri.contains("://") => vec![SanType::URI(uri.try_into().unwrap())],
        ip if ip.parse::<std::net::IpAddr>().is_ok() => vec![SanType::IpAddress(ip.parse().unwrap())],
        dns => vec![SanType::DnsName(dns.try_into().unwrap())],
    };
    params
}

/// Not valid any more.
pub fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
    params
}

/// Not valid any more after so long.
pub fn expiring(mut params: CertificateParams, after: std::time::Duration) -> CertificateParams {
    params.not_after = (std::time::SystemTime::now() + after).into();
    params
}

/// Not valid yet.
pub fn not_yet_valid(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2100, 1, 1), date_time_ymd(2101, 1, 1));
    params
}

/// Signed by itself.
pub fn self_signed(params: &CertificateParams) -> Certificate {
    let key = KeyPair::generate().unwrap();
    Certificate { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A new certificate.
    pub fn issue(&self, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        Certificate { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// What a client makes who takes its own certificate for an authority.
    pub fn issue_by_a_client(&self, params: &CertificateParams) -> Certificate {
        let (own, own_key, key) =
            (mk_client("client.example"), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let signed = own.signed_by(&own_key, &self.issuer).unwrap();
        let leaf = params.signed_by(&key, &Issuer::new(own, own_key)).unwrap();
        Certificate { chain: leaf.pem() + &signed.pem(), key: key.serialize_pem() }
    }

    /// The config of a client that trusts this authority's servers, and shows a certificate if it has one.
    pub fn client(&self, shows: Option<&Certificate>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.into()
    }
}

/// Writes what a server needs into a folder.
pub fn write_files(folder: &Path, server: &Certificate, client_ca: &str) -> TlsFiles {
    for (name, text) in [("tls.crt", &*server.chain), ("tls.key", &server.key), ("ca.crt", client_ca)] {
        let fresh = folder.join(format!("{name}.fresh"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, folder.join(name)).unwrap();
    }
    TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key"), client_ca: folder.join("ca.crt") }
}
