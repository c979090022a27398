//! Encoded resources as people read them: protobuf's JSON with the field names of the `.proto` files, which is how
//! Envoy's own config dump prints them.
//!
//! Laws: what is read is the bytes that proxies are sent, never the model again; a field that the table does not
//! know is shown by its number and reported; a private key is not shown.

mod read;
mod table;

use serde::Serialize;
use serde_json::{Map, Value};

pub use read::TextError;

use super::kind::Kind;
use super::status::PublishedResource;

/// What stands in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// A published resource, readable. Private keys are [`REDACTED`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextResource {
    /// Its type.
    #[serde(skip)]
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Hash of its content, as proxies know it.
    pub version: String,
    /// Protobuf JSON, with the type under `@type`.
    pub resource: Value,
    /// Fields that were found and have no name here, such as `envoy.config.route.v3.Route field 17`: they are in
    /// [`Self::resource`] by number, without their content.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// Reads a resource.
pub fn text(published: &PublishedResource) -> Result<TextResource, TextError> {
    let url = published.kind.type_url();
    let read::Read { value, unknown } = read::any(url, &published.body)?;
    let (kind, name, version) = (published.kind, published.name.clone(), published.version.clone());
    Ok(TextResource { kind, name, version, resource: value, unknown })
}

/// All resources as one document: lists by type, under what the types are called (`cds`, `eds` and so on).
///
/// # Errors
/// When a resource cannot be serialised.
pub fn document(resources: &[TextResource]) -> serde_json::Result<Value> {
    let mut types: Map<String, Value> =
        Kind::ALL.iter().map(|kind| (kind.label().to_owned(), Value::Array(Vec::new()))).collect();
    for resource in resources {
        if let Some(Value::Array(list)) = types.get_mut(resource.kind.label()) {
            list.push(serde_json::to_value(resource)?);
        }
    }
    Ok(Value::Object(types))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
