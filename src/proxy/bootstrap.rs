//! The bootstrap of an Envoy that asks Tidegate: its node, the delta ADS stream, its admin address and its limits.
//!
//! Laws: admin listens on loopback or on a Unix socket, never elsewhere; equal options give equal text, since an
//! Envoy is adopted only if it runs on the very bootstrap that we would give it.

mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

pub use tls::TlsOptions;

/// The node metadata key that names the Gateways, as `namespace/name`, that a proxy serves.
pub const GATEWAYS_KEY: &str = "tidegate.gateways";

/// The name of the static cluster that leads to Tidegate.
pub const XDS_CLUSTER: &str = "tidegate-xds";

/// Linux keeps a socket's path in 108 bytes, the last of which is a zero.
const SOCKET_PATH_LIMIT: usize = 107;

const HTTP_OPTIONS: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const CONNECTION_LIMIT: &str =
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";

/// Where Tidegate's xDS server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsAddress {
    /// A Unix socket on this machine.
    Socket(PathBuf),
    /// A host name or an IP address, and a port.
    Tcp {
        /// The name or address, an IPv6 one without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Where Envoy's own admin interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A Unix socket that only its owner may use.
    Socket(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// What a bootstrap is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// The node's name, one for each proxy.
    pub node_id: String,
    /// The group of proxies that it belongs to.
    pub node_cluster: String,
    /// The Gateways that it serves, as `namespace/name`; all, when empty.
    pub gateways: Vec<String>,
    /// Whom to ask.
    pub xds: XdsAddress,
    /// TLS, where it is not asked over a Unix socket or loopback.
    pub tls: Option<TlsOptions>,
    /// Where its admin interface listens.
    pub admin: AdminAddress,
    /// Downstream connections that are let in at the same time.
    pub max_connections: u64,
    /// The largest program that a route's regular expression may compile to.
    pub max_regex_program: u32,
}

impl BootstrapOptions {
    /// The usual options for a node, an xDS address and an admin address.
    pub fn new(node_id: impl Into<String>, xds: XdsAddress, admin: AdminAddress) -> Self {
        Self {
            node_id: node_id.into(),
            node_cluster: "tidegate".to_owned(),
            gateways: Vec::new(),
            xds,
            tls: None,
            admin,
            max_connections: 50_000,
            max_regex_program: crate::resource::regex::PROXY_PROGRAM_SIZE,
        }
    }
}

/// Why no bootstrap can be made of some options.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BootstrapError {
    /// Admin may change and show everything: it stays on the machine.
    #[error("Envoy's admin address {address} is not a loopback address: use 127.0.0.1, [::1] or a Unix socket")]
    AdminNotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system cannot bind or connect to such a path.
    #[error("the socket path {path} has {length} bytes, and the system allows {SOCKET_PATH_LIMIT}: choose a shorter directory", path = path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Envoy resolves a relative path against its own working directory.
    #[error("the socket path {path} is not an absolute path in UTF-8: write it in full", path = path.display())]
    SocketPathNotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// Envoy resolves a relative path against its own working directory.
    #[error("the path of the TLS {what}, {path}, is not an absolute path in UTF-8: write it in full", path = path.display())]
    TlsPathNotAbsolute {
        /// Which of the files.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// There is none over a Unix socket.
    #[error("a Unix socket has no TLS: leave the certificate out, or give host:port")]
    TlsOverSocket,
    /// A Gateway without a namespace, or with more than one slash.
    #[error("{name:?} is not a Gateway: write namespace/name")]
    GatewayName {
        /// What was given.
        name: String,
    },
    /// A node needs a name, and so does its cluster.
    #[error("the node's {field} is empty: name it")]
    EmptyNode {
        /// Which of its names.
        field: &'static str,
    },
    /// The value could not be written out.
    #[error("could not write the bootstrap as {format} ({reason})")]
    Write {
        /// YAML or JSON.
        format: &'static str,
        /// What the serialiser said.
        reason: String,
    },
}

/// An Envoy bootstrap.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap(Value);

impl Bootstrap {
    /// Makes a bootstrap of options.
    pub fn new(options: &BootstrapOptions) -> Result<Self, BootstrapError> {
        Ok(Self(json!({
            "node": node(options)?,
            "admin": admin(&options.admin)?,
            "dynamic_resources": {
                "ads_config": ads_config(&options.xds),
                // Without a deadline on the first fetch Envoy stays "not ready" until Tidegate has answered; with one
                // it would declare itself ready, and open, with nothing to serve.
                "cds_config": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
                "lds_config": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
            },
            "static_resources": { "clusters": [xds_cluster(options)?] },
            "layered_runtime": {
                "layers": [{
                    "name": "tidegate",
                    "static_layer": {
                        // Envoy's own limit of 100 is less than an ordinary path expression needs.
                        "re2.max_program_size.error_level": options.max_regex_program,
                        "re2.max_program_size.warn_level": options.max_regex_program,
                    },
                }],
            },
            "overload_manager": {
                "resource_monitors": [{
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": CONNECTION_LIMIT,
                        "max_active_downstream_connections": options.max_connections.to_string(),
                    },
                }],
            },
            // Thousands of clusters have each some hundred counters, most of which stay zero: they are made when
            // first used.
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
        })))
    }

    /// As JSON, indented, with a newline at its end.
    pub fn to_json(&self) -> Result<String, BootstrapError> {
        let text = serde_json::to_string_pretty(&self.0);
        text.map(|text| text + "\n")
            .map_err(|error| BootstrapError::Write { format: "JSON", reason: error.to_string() })
    }

    /// As YAML.
    pub fn to_yaml(&self) -> Result<String, BootstrapError> {
        serde_saphyr::to_string(&self.0)
            .map_err(|error| BootstrapError::Write { format: "YAML", reason: error.to_string() })
    }
}

fn node(options: &BootstrapOptions) -> Result<Value, BootstrapError> {
    for (field, value) in [("id", &options.node_id), ("cluster", &options.node_cluster)] {
        if value.is_empty() {
            return Err(BootstrapError::EmptyNode { field });
        }
    }
    for name in &options.gateways {
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(BootstrapError::GatewayName { name: name.clone() });
        }
    }
    let mut metadata = Map::new();
    if !options.gateways.is_empty() {
        metadata.insert(GATEWAYS_KEY.to_owned(), json!(options.gateways));
    }
    Ok(json!({ "id": options.node_id, "cluster": options.node_cluster, "metadata": metadata }))
}

fn admin(address: &AdminAddress) -> Result<Value, BootstrapError> {
    let address = match address {
        AdminAddress::Socket(path) => {
            let mut pipe = pipe(path)?;
            pipe["pipe"]["mode"] = json!(0o600);
            pipe
        }
        AdminAddress::Tcp(address) if !address.ip().is_loopback() => {
            return Err(BootstrapError::AdminNotLoopback { address: *address });
        }
        AdminAddress::Tcp(address) => socket_address(&address.ip().to_string(), address.port()),
    };
    Ok(json!({ "address": address }))
}

fn ads_config(xds: &XdsAddress) -> Value {
    // Envoy's own back-off goes up to 30 s: so long would a change wait after Tidegate came back.
    let (base, most) = match xds {
        XdsAddress::Socket(_) => ("0.1s", "1s"),
        XdsAddress::Tcp { .. } => ("0.5s", "5s"),
    };
    json!({
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": true,
        "grpc_services": [{
            "envoy_grpc": {
                "cluster_name": XDS_CLUSTER,
                "retry_policy": { "retry_back_off": { "base_interval": base, "max_interval": most } },
            },
        }],
    })
}

fn xds_cluster(options: &BootstrapOptions) -> Result<Value, BootstrapError> {
    let (kind, address) = match &options.xds {
        XdsAddress::Socket(path) => ("STATIC", pipe(path)?),
        XdsAddress::Tcp { host, port } if host.parse::<IpAddr>().is_ok() => ("STATIC", socket_address(host, *port)),
        XdsAddress::Tcp { host, port } => ("STRICT_DNS", socket_address(host, *port)),
    };
    let mut cluster = json!({
        "name": XDS_CLUSTER,
        "type": kind,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "explicit_http_config": {
                    "http2_protocol_options": {
                        // Notices a control plane that is gone without having closed its connection.
                        "connection_keepalive": { "interval": seconds(KEEPALIVE), "timeout": seconds(KEEPALIVE_ANSWER) },
                    },
                },
            },
        },
    });
    if let Some(tls) = &options.tls {
        cluster["transport_socket"] = tls::transport_socket(tls, &options.xds)?;
    }
    Ok(cluster)
}

const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

fn pipe(path: &Path) -> Result<Value, BootstrapError> {
    let text = path.to_str().filter(|_| path.is_absolute());
    let text = text.ok_or_else(|| BootstrapError::SocketPathNotAbsolute { path: path.to_owned() })?;
    if text.len() > SOCKET_PATH_LIMIT {
        return Err(BootstrapError::SocketPathTooLong { path: path.to_owned(), length: text.len() });
    }
    Ok(json!({ "pipe": { "path": text } }))
}

fn socket_address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

#[cfg(test)]
mod tests;
