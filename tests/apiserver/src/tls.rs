//! A certificate authority of one server's own, and what it serves with: HTTP/2 first, by ALPN.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// No certificate.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The authority or the certificate could not be made.
    #[error("could not make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be served.
    #[error("could not serve the certificate: {0}")]
    Serve(#[from] rustls::Error),
}

/// What a server with TLS needs.
pub struct Tls {
    /// The authority's certificate, in PEM: what a kubeconfig carries.
    pub authority: String,
    /// What connections are accepted with.
    pub config: Arc<ServerConfig>,
}

impl Tls {
    /// For an address and `localhost`.
    pub fn new(address: IpAddr) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(address));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { authority: issuer.pem(), config: Arc::new(config) })
    }
}
