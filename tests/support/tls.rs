//! Certificates of an authority that lives for one test, and requests over TLS that trust it alone and say which
//! certificate they were shown.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    client: Arc<ClientConfig>,
}

/// A certificate with its key, in PEM, and its serial number.
pub struct Certificate {
    pub pem: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

/// What came back over TLS.
#[derive(Clone, Debug)]
pub struct TlsAnswer {
    /// HTTP status.
    pub status: u16,
    /// Status line, headers and body.
    pub text: String,
    /// The leaf that was shown.
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { issuer, client: Arc::new(client) }
    }

    /// A new certificate for some names.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// Asks for a path of a host over a TLS connection of its own, with the host as SNI.
    pub async fn get(&self, address: SocketAddr, host: &str, path: &str) -> Result<TlsAnswer, String> {
        get((*self.client).clone(), address, host, path).await
    }
}

/// The same without a look at the certificate, as `curl -k` does it.
pub async fn get_insecurely(address: SocketAddr, host: &str, path: &str) -> Result<TlsAnswer, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    get(client.with_no_client_auth(), address, host, path).await
}

async fn get(mut client: ClientConfig, address: SocketAddr, host: &str, path: &str) -> Result<TlsAnswer, String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    // Without a session of an earlier connection, so that the certificate is shown each time.
    client.resumption = rustls::client::Resumption::disabled();
    let asked = tokio::task::spawn_blocking(move || ask(address, client, name, &request));
    let answered = asked.await.map_err(|panic| panic.to_string())?;
    answered.map_err(|error| error.to_string())
}

/// Takes whoever shows a certificate at all, and has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn ask(address: SocketAddr, client: ClientConfig, name: ServerName<'static>, request: &str) -> io::Result<TlsAnswer> {
    let connection = ClientConnection::new(client.into(), name).map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Err(end.err().unwrap_or_else(|| io::Error::other(format!("no HTTP: {text:?}"))));
    };
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.ok_or_else(|| io::Error::other("no certificate was shown"))?.clone().into_owned();
    Ok(TlsAnswer { status, text, certificate })
}
