//! Encodings read back: what Envoy would see.

mod hosts;
mod parts;
mod routes;
