//! Traffic through a real Envoy, feature by feature: manifests in, requests out. What is asked here is what a client of
//! the gateway sees, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each suite uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod matching;

mod hosts;

mod filters;

mod backends;

mod endpoints;

mod listeners;

mod protocols;
