//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

/// The config file: sections, validation, JSON Schema, hot reload.
pub mod config;

/// Where objects come from: a directory of manifests.
pub mod source;

/// Typed, pruned, checked views of raw objects.
pub mod resource;

/// From resources to the gateway model and conditions.
pub mod correlate;

/// What a gateway must do, as plain data.
pub mod model;

/// A local Envoy as a supervised child process.
pub mod proxy;

/// What the demo needs beside the gateway: backends to route to.
pub mod demo;

/// Health, metrics and the API.
pub mod admin;

/// The actor tree, assembled.
pub mod app;

/// The command line.
pub mod cli;
