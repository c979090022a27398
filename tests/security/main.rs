//! Who is let in: every RPC of the xDS server and every route of the admin server against every bad identity, the
//! rotation of certificates under streams that live, what ends them all the same, and a real Envoy that comes with a certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/admin_rig.rs"]
mod admin_rig;
#[path = "../support/envoy.rs"]
#[allow(dead_code, reason = "each suite uses its part")]
mod envoy;
#[path = "../support/xds_model.rs"]
#[allow(dead_code, reason = "each suite uses its part")]
mod model;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/ports.rs"]
#[allow(dead_code, reason = "each suite uses its part")]
mod ports;

#[path = "../support/xds_caller.rs"]
mod caller;

mod lapse;
mod proxy;
mod rotation;
mod routes;
mod rpcs;
mod server;
