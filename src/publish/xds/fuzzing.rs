//! What the fuzz targets drive: a client's session over a cache, without the network around it. No logic of its own.

pub use super::cache::{Cache, View};
pub use super::resource::Resource;
pub use super::scope::Scope;
pub use super::session::{Event, Response, Session, TypeState};
