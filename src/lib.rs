//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

// The builders of models that unit tests share with `tests/` name the crate as those do.
#[cfg(test)]
extern crate self as tidegate;

/// The config file: sections, validation, JSON Schema, hot reload.
pub mod config;

/// What is refused for being too much, counted.
pub mod limit;

/// Where objects come from: a directory of manifests, a Kubernetes cluster.
pub mod source;

/// Typed, pruned, checked views of raw objects.
pub mod resource;

/// From resources to the gateway model and conditions.
pub mod correlate;

/// What a gateway must do, as plain data.
pub mod model;

/// What becomes of the model: xDS, JSON, statuses.
pub mod publish;

/// A local Envoy as a supervised child process.
pub mod proxy;

/// Health, metrics and the API.
pub mod admin;

/// One file a subcommand.
pub mod cli;

/// A Tidegate with more in it than ours.
pub mod builder;

/// The actor tree, assembled in one place.
pub mod app;

/// What the demo needs beside the gateway: backends to route to.
pub mod demo;
