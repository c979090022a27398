//! A real Envoy under test, on loopback and random ports, and the little HTTP that it takes to ask it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate::proxy::bootstrap::AdminAddress;
use tidegate::proxy::envoy_admin::EnvoyAdmin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// How long anything may take that waits for an outside process.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long one request may take. A connection that was made while a listener is being opened may be lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Envoy, killed when dropped.
pub struct Envoy {
    _child: Child,
    _directory: tempfile::TempDir,
}

impl Envoy {
    /// Starts Envoy against an xDS server. `api_type` is `DELTA_GRPC` or `GRPC`.
    pub fn start(xds: SocketAddr, node: &str, api_type: &str) -> Self {
        let program = std::env::var("TIDEGATE_ENVOY").expect("TIDEGATE_ENVOY names the Envoy binary");
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("envoy.yaml");
        let admin = directory.path().join("admin");
        std::fs::write(&config, bootstrap(xds, node, api_type, &admin)).unwrap();
        let log = directory.path().join("envoy.log");
        let level = std::env::var("TIDEGATE_ENVOY_LOG").unwrap_or_else(|_| "warning".to_owned());
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).args(["--concurrency", "1", "--use-dynamic-base-id", "-l", &level]);
        command.arg("--log-path").arg(&log).args(["--drain-time-s", "1"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        Self { _child: child.unwrap(), _directory: directory }
    }

    /// What it says that its configuration is.
    pub async fn config_dump(&self) -> serde_json::Value {
        let admin = AdminAddress::Socket(self._directory.path().join("admin"));
        let (status, text) = EnvoyAdmin::new(admin).get("/config_dump?include_eds").await.unwrap();
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The file that it logs to.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self._directory.path().join("envoy.log")).unwrap_or_default()
    }
}

fn bootstrap(xds: SocketAddr, node: &str, api_type: &str, admin: &Path) -> String {
    format!(
        r#"
node: {{id: "{node}", cluster: test}}
admin: {{address: {{pipe: {{path: "{admin}"}}}}}}
dynamic_resources:
  ads_config:
    api_type: {api_type}
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  lds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}]}}]
"#,
        admin = admin.display(),
        ip = xds.ip(),
        port = xds.port(),
    )
}

/// A backend that answers every request with its name and what it was asked.
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Backend {
    /// Starts one; it lives as long as the runtime.
    pub async fn start(name: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counter = counter.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 16 * 1024];
                    let mut filled = 0;
                    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
                        filled += read;
                        let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                        counter.fetch_add(1, Ordering::SeqCst);
                        let body = format!("{name}\n{head}\n");
                        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        if stream.write_all(response.as_bytes()).await.is_err() {
                            return;
                        }
                        filled = 0;
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// How many requests it answered.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// What Envoy answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; 0 if there was no answer.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body, or why there was no answer.
    pub body: String,
}

impl Answer {
    /// Where it redirects to.
    pub fn location(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("location: "))
    }
}

/// Asks for a path of a host, on a connection of its own.
pub async fn get(port: u16, host: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(&mut stream, &request)
    })
    .await
    .unwrap()
    .unwrap_or_else(|error| Answer { status: 0, head: String::new(), body: error.to_string() })
}

/// The same over TLS, trusting only a certificate (PEM).
pub async fn get_tls(port: u16, host: &str, path: &str, trusted: &str) -> Answer {
    use rustls::pki_types::pem::PemObject as _;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
    tokio::task::spawn_blocking(move || {
        let connection = rustls::ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(&mut rustls::StreamOwned::new(connection, stream), &request)
    })
    .await
    .unwrap()
    .unwrap_or_else(|error| Answer { status: 0, head: String::new(), body: error.to_string() })
}

fn exchange(stream: &mut (impl io::Read + io::Write), request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        // Not until the end of the stream: Envoy lingers for a second after what it answers by itself.
        if let Some((original, body)) = text.split_once("\r\n\r\n") {
            let head = original.to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
                return Ok(Answer { status, head: original.to_owned(), body: body.to_owned() });
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Asks until the answer is as wanted; the last answer if it never was.
pub async fn get_until(port: u16, host: &str, path: &str, wanted: impl Fn(&Answer) -> bool) -> Result<Answer, Answer> {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = get(port, host, path).await;
        if wanted(&answer) {
            return Ok(answer);
        }
        if Instant::now() > end {
            return Err(answer);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
