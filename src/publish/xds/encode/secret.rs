//! Certificates with their keys, for SDS. Content never reaches a log line or an error.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret as Tls, TlsCertificate, secret};
use prost::Message as _;

use crate::model::Secret;

/// Encodes a certificate chain with its key.
pub fn encode_secret(model: &Secret) -> Vec<u8> {
    let inline = |bytes: &[u8]| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineBytes(bytes.to_vec())),
            ..DataSource::default()
        })
    };
    Tls {
        name: model.id.to_string(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(&model.certificate_chain),
            private_key: inline(&model.private_key),
            ..TlsCertificate::default()
        })),
    }
    .encode_to_vec()
}
