//! What the fuzz targets drive: the routes behind their guards, without a socket. No logic of its own.

use std::net::SocketAddr;

use super::AdminState;
use super::guard::Hosts;

/// The routes of a server at an address; `body_limit` is the largest body, in bytes.
pub fn router(state: AdminState, address: SocketAddr, names: &[String], body_limit: usize) -> axum::Router {
    super::routes::router(state, Hosts::new(address, names), body_limit)
}
