//! x
mod scalar;
mod split;
mod position;
mod yaml;
