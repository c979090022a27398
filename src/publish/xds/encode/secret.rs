//! Certificates with their keys, for SDS. Content never reaches a log line or an error.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret as Tls, TlsCertificate, secret};
use prost::Message as _;

use crate::model::Secret;

/// Encodes a certificate chain with its key.
///
/// Envoy 1.40 takes note of a secret before it tries it: sent again after it was rejected, the same bytes are
/// accepted and ignored. A `salt` makes them others, by a line after the last certificate that PEM skips.
pub fn encode_secret(model: &Secret, salt: Option<u64>) -> Vec<u8> {
    let mut chain = model.certificate_chain.to_vec();
    if let Some(salt) = salt {
        chain.extend_from_slice(format!("\n# {salt}\n").as_bytes());
    }
    let inline = |bytes: &[u8]| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineBytes(bytes.to_vec())),
            ..DataSource::default()
        })
    };
    Tls {
        name: model.id.to_string(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(&chain),
            private_key: inline(&model.private_key),
            ..TlsCertificate::default()
        })),
    }
    .encode_to_vec()
}
