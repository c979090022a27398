//! The server's certificate and key, and the authorities whose client certificates are taken: read from files, and read
//! again as these are replaced.
//!
//! Laws: a connection keeps what it began with, so a rotation ends no stream; files that do not go together, as in the
//! middle of a rotation, change nothing; no word of a key is in an error.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tidegate_actors::env::Env;
use tidegate_actors::problem::{Problem, Problems, Serving};

/// How often the files are looked at. They are replaced by renaming links of directories, which file system events tell
/// of in many ways; looking is certain.
const LOOK: Duration = Duration::from_secs(1);

/// Where problems with the files are told.
const SCOPE: &str = "xds/tls";

/// Where the server's certificate, its key and the authorities of clients are; all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate with its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities, of which one must have signed a client's certificate.
    pub client_ca: PathBuf,
}

/// Why TLS cannot be had of some files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {path} (xds.tls.{key})", path = path.display())]
    Read {
        /// The key in the config.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds is not what it should.
    #[error("{path} (xds.tls.{key}) holds no {what}; put one there", path = path.display())]
    Content {
        /// The key in the config.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate is not that of the key, or cannot be used.
    #[error("the certificate in xds.tls.cert_file and the key in xds.tls.key_file cannot be used together")]
    Pair(#[source] rustls::Error),
    /// The authorities cannot be used.
    #[error("the authorities in xds.tls.client_ca_file cannot be used")]
    Authorities(#[source] VerifierBuilderError),
    /// The crypto library lacks a version of TLS.
    #[error("set up TLS")]
    Versions(#[source] rustls::Error),
}

/// The content of the three files.
#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

/// What was seen at the last look.
enum Seen {
    Used(Content),
    Refused { content: Option<Content>, looks: u32 },
}

/// TLS as it is now.
pub struct Tls {
    files: TlsFiles,
    env: Env,
    problems: Problems,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read or used.
    pub fn load(files: TlsFiles, env: &Env, problems: &Problems) -> Result<Self, TlsError> {
        let content = read(&files, env)?;
        let current = RwLock::new(Arc::new(configure(&files, &content)?));
        problems.replace(SCOPE, []);
        let (env, problems) = (env.clone(), problems.clone());
        Ok(Self { files, env, problems, current, seen: Mutex::new(Seen::Used(content)) })
    }

    /// For the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().clone()
    }

    /// Looks at the files from time to time; never returns.
    pub async fn follow(&self) {
        loop {
            self.env.clock.sleep(LOOK).await;
            self.look();
        }
    }

    /// Looks at the files once, and takes up what is new.
    pub fn look(&self) {
        let mut seen = self.seen.lock();
        let content = match read(&self.files, &self.env) {
            Ok(content) => content,
            Err(error) => return self.refuse(&mut seen, None, &error),
        };
        match &*seen {
            Seen::Used(used) if *used == content => return,
            Seen::Refused { content: Some(refused), looks: 2.. } if *refused == content => return,
            _ => {}
        }
        match configure(&self.files, &content) {
            Ok(config) => {
                *self.current.write() = Arc::new(config);
                *seen = Seen::Used(content);
                self.problems.replace(SCOPE, []);
                tracing::info!("xDS has new certificates; connections that there are keep theirs");
            }
            Err(error) => self.refuse(&mut seen, Some(content), &error),
        }
    }

    /// At the second look in a row: between two files of a rotation is a moment that is nobody's mistake.
    fn refuse(&self, seen: &mut Seen, content: Option<Content>, error: &TlsError) {
        let looks = match seen {
            Seen::Refused { looks, .. } => looks.saturating_add(1),
            Seen::Used(_) => 1,
        };
        *seen = Seen::Refused { content, looks };
        if looks < 2 {
            return;
        }
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        let problem = Problem {
            place: String::new(),
            object: None,
            field: "xds.tls".to_owned(),
            reason: format!("{error}{cause}; new connections get the certificates that were good last"),
            serving: Serving::LastGood,
        };
        if self.problems.set(SCOPE, "files", problem.clone()) {
            tracing::error!(%problem, "xDS cannot take up its new certificates");
        }
    }
}

fn read(files: &TlsFiles, env: &Env) -> Result<Content, TlsError> {
    let read =
        |key, path: &PathBuf| env.disk.read(path).map_err(|source| TlsError::Read { key, path: path.clone(), source });
    Ok(Content {
        certificate: read("cert_file", &files.certificate)?,
        key: read("key_file", &files.key)?,
        client_ca: read("client_ca_file", &files.client_ca)?,
    })
}

fn configure(files: &TlsFiles, content: &Content) -> Result<ServerConfig, TlsError> {
    // The parser's own words quote what it could not read, so none of them go further.
    let lacks = |key, path: &PathBuf, what| TlsError::Content { key, path: path.clone(), what };
    let chain = certificates(&content.certificate);
    let chain = chain.ok_or_else(|| lacks("cert_file", &files.certificate, "PEM certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&content.key);
    let key = key.map_err(|_| lacks("key_file", &files.key, "PEM private key"))?;
    let mut authorities = RootCertStore::empty();
    let all = certificates(&content.client_ca).into_iter().flatten();
    let added = all.map(|authority| authorities.add(authority)).collect::<Result<Vec<()>, _>>();
    if added.is_err() || authorities.is_empty() {
        return Err(lacks("client_ca_file", &files.client_ca, "PEM certificate of an authority"));
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider.clone());
    let verifier = verifier.build().map_err(TlsError::Authorities)?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(TlsError::Versions)?.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would go by a certificate that was looked at when the session began, and may have expired since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// All certificates of a PEM text; `None` if there is none, or something between them that is none.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}
