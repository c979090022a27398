//! Fuzz targets. Each is a function of bytes with an oracle: another way to know what the answer must be. That nothing
//! panics is the least of it.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer NAME`, where
//! cargo-fuzz is installed, does too. What is in `corpus/NAME` is run through NAME by this package's test, so what once
//! crashed stays mended.
//!
//! Law: a target is a function of its input alone, so that a crash replays. It looks at no file, socket or clock.

// An oracle that is not met is a panic; that is how libFuzzer hears of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

/// Decisions read from what the fuzzer made up.
pub mod input;

/// Builders of gateway models, which tests share.
#[allow(dead_code, reason = "a part of them is used")]
#[path = "../../support/xds_model.rs"]
mod models;

/// A small gateway world whose objects change.
mod world;

pub mod object_decode;

pub mod directory_document;

pub mod config;

pub mod xds_request;

pub mod snapshot;

pub mod http_api;

pub mod selector;

pub mod regex;

pub mod certificate;

pub mod delta_queue;

pub mod correlation;

pub mod list_watch;

pub mod watch_body;

pub mod hostname;

pub mod precedence;

/// One target.
pub struct Target {
    /// Its name, which is that of its module, of its program and of its folder under `corpus`.
    pub name: &'static str,
    /// Panics when its oracle is not met.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "object_decode", run: object_decode::run },
    Target { name: "directory_document", run: directory_document::run },
    Target { name: "config", run: config::run },
    Target { name: "xds_request", run: xds_request::run },
    Target { name: "snapshot", run: snapshot::run },
    Target { name: "http_api", run: http_api::run },
    Target { name: "selector", run: selector::run },
    Target { name: "regex", run: regex::run },
    Target { name: "certificate", run: certificate::run },
    Target { name: "delta_queue", run: delta_queue::run },
    Target { name: "correlation", run: correlation::run },
    Target { name: "list_watch", run: list_watch::run },
    Target { name: "watch_body", run: watch_body::run },
    Target { name: "hostname", run: hostname::run },
    Target { name: "precedence", run: precedence::run },
];
