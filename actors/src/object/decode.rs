//! stub
use super::Object;
use crate::id::{Name, ResourceType};
use bytes::Bytes;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct DecodeError {
    /// stub
    pub reason: String,
}
/// Turns JSON into [`Object`]s of one source and type.
pub struct Decoder {
    _s: Name,
    _r: ResourceType,
}
impl Decoder {
    /// stub
    pub fn new(source: Name, resource_type: ResourceType) -> Self {
        Self { _s: source, _r: resource_type }
    }
    /// stub
    pub fn decode(&self, _raw: Bytes) -> Result<Object, DecodeError> {
        Err(DecodeError { reason: String::new() })
    }
}
