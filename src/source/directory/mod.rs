//! x
mod position;
mod scalar;
mod split;
mod yaml;
