//! The Kubernetes source against a scripted API server over plain HTTP: each answer that one can give, and what becomes
//! of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

mod server;

mod lists;

mod watches;

mod connections;

mod failures;

mod quarantine;

mod credentials;

mod engine;

mod service;

mod types;

mod events;
