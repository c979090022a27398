//! What `config/deploy` holds works: the manifests and the chart, taken by a real API server, with permissions that are
//! enough and no more than that, and an image whose recipe fits the repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
mod support;

#[path = "deploy/files.rs"]
mod files;

#[path = "deploy/permission.rs"]
mod permission;

#[path = "deploy/image.rs"]
mod image;

#[path = "deploy/plain.rs"]
mod plain;

#[path = "deploy/chart.rs"]
mod chart;

#[path = "deploy/server.rs"]
mod server;

#[path = "deploy/running.rs"]
mod running;
