//! What the benchmarks share: the corpora, and the report that `cargo xtask bench` makes its table of.

pub mod corpus;

pub mod floor;

pub mod gateway_world;

pub mod pipeline;

pub mod report;

pub mod service;
