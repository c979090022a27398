//! The gateway service on the Tidegate engine. Modules stand in the order in which data flows.

/// The config file: sections, validation, JSON Schema, hot reload.
pub mod config;

/// What a gateway must do, as plain data.
pub mod model;

/// Health, metrics and the API.
pub mod admin;

/// The command line.
pub mod cli;
