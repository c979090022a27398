//! Encodings read back: what Envoy would see.

mod headers;
mod hosts;
mod parts;
mod routes;
