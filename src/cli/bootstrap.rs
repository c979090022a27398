//! `tidegate bootstrap`: what an Envoy that is not our child has to be started with.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Global;
use super::error::{CliError, Exit};
use super::output::Format;
use crate::config::Loader;
use crate::proxy::bootstrap::{AdminAddress, Bootstrap as Document, BootstrapOptions, TlsOptions, XdsAddress};

/// Print an Envoy bootstrap for this Tidegate.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// The config file to take addresses from; without it, the defaults.
    #[arg(short, long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The node's name, one for each proxy.
    #[arg(long, default_value = "envoy", value_name = "NAME")]
    node_id: String,

    /// The group of proxies that it belongs to.
    #[arg(long, default_value = "tidegate", value_name = "NAME")]
    node_cluster: String,

    /// A Gateway that it serves, as namespace/name; may be repeated. Without any: all of them.
    #[arg(long = "gateway", value_name = "NAMESPACE/NAME")]
    gateways: Vec<String>,

    /// Where the proxy reaches the xDS server: host:port, or the absolute path of a Unix socket.
    #[arg(long, value_name = "ADDRESS")]
    xds: Option<String>,

    /// The proxy's certificate for TLS, a file on its machine. Tidegate goes by its subject alternative names.
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,

    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The authority that signs Tidegate's certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,

    /// The name (DNS name, IP address or URI) that Tidegate's certificate must have. Without it, the host of --xds.
    #[arg(long, value_name = "NAME", requires = "tls_cert")]
    tls_san: Option<String>,

    /// Where Envoy's own admin interface listens, a loopback address.
    #[arg(long, value_name = "ADDRESS")]
    admin_address: Option<SocketAddr>,
}

impl Bootstrap {
    pub(super) fn execute(self, global: &Global, loader: &Loader, out: &mut impl Write) -> Result<Exit, CliError> {
        let format = global.document(Format::Yaml, "bootstrap")?;
        let config = match &self.config {
            Some(path) => loader.load(path)?,
            None => loader.parse("", Path::new("(defaults)"))?,
        };
        let xds = match (&self.xds, &config.xds.unix_socket) {
            (Some(text), _) => xds_address(text)?,
            (None, Some(socket)) => XdsAddress::Socket(std::path::absolute(socket)?),
            (None, None) => tcp(config.xds.address)?,
        };
        let tls = match (self.tls_cert, self.tls_key, self.tls_ca) {
            (Some(certificate), Some(key), Some(ca)) => Some(TlsOptions { certificate, key, ca, san: self.tls_san }),
            _ => None,
        };
        if tls.is_none() && config.xds.tls.is_some() && matches!(xds, XdsAddress::Tcp { .. }) {
            let reason =
                "the config has xds.tls, so the proxy needs a certificate: say --tls-cert, --tls-key and --tls-ca";
            return Err(CliError::Usage(reason.to_owned()));
        }
        let admin = AdminAddress::Tcp(self.admin_address.unwrap_or(config.proxy.admin_address));
        let mut options = BootstrapOptions::new(self.node_id, xds, admin);
        options.node_cluster = self.node_cluster;
        options.gateways = self.gateways;
        options.tls = tls;
        let bootstrap = Document::new(&options)?;
        let text = if format == Format::Json { bootstrap.to_json()? } else { bootstrap.to_yaml()? };
        writeln!(out, "{}", text.trim_end())?;
        Ok(Exit::Ok)
    }
}

/// A server that listens on every address has none that a proxy could be told.
fn tcp(address: SocketAddr) -> Result<XdsAddress, CliError> {
    if address.ip().is_unspecified() {
        let reason = format!("xds.address is {address}, which is no address to connect to; say --xds HOST:PORT");
        return Err(CliError::Usage(reason));
    }
    Ok(XdsAddress::Tcp { host: address.ip().to_string(), port: address.port() })
}

fn xds_address(text: &str) -> Result<XdsAddress, CliError> {
    if text.starts_with('/') {
        return Ok(XdsAddress::Socket(PathBuf::from(text)));
    }
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() => {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok(XdsAddress::Tcp { host, port })
        }
        _ => Err(CliError::Usage(format!("--xds {text}: give host:port or the absolute path of a Unix socket"))),
    }
}
