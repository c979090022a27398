//! What the suites with a real Envoy or a real Kubernetes share. Each suite uses its part.

/// Ports that nobody else has.
pub mod ports;

/// A real Envoy, requests, and waiting with a deadline.
pub mod envoy;

/// A real Kubernetes, and what can happen to it.
pub mod cluster;

/// Its API server, asked without a kubectl.
pub mod api;

/// Manifests, put together.
pub mod manifests;

/// Certificates, and requests over TLS.
pub mod tls;

/// A whole Tidegate in this process, with its Envoy and backends.
pub mod gateway;

/// Manifests in versions.
pub mod versioned;

/// The binary as a process.
pub mod service;

/// Steady traffic that counts what fails.
pub mod load;
