//! Certificates with their keys, and the TLS context of filter chains.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;

use super::{CONFIG_SOURCE, Form, Message, many, names, one};

pub static SECRET: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.Secret",
    fields: &[one(1, "name", Form::Text), one(2, "tls_certificate", Form::Message(&TLS_CERTIFICATE))],
};

static TLS_CERTIFICATE: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    fields: &[
        one(1, "certificate_chain", Form::Message(&DATA_SOURCE)),
        one(2, "private_key", Form::Message(&SECRET_SOURCE)),
    ],
};

static DATA_SOURCE: Message =
    Message { name: "envoy.config.core.v3.DataSource", fields: &[one(2, "inline_bytes", Form::Bytes)] };

/// The same message, where its content is a secret.
static SECRET_SOURCE: Message =
    Message { name: "envoy.config.core.v3.DataSource", fields: &[one(2, "inline_bytes", Form::Hidden)] };

pub static DOWNSTREAM_TLS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    fields: &[one(1, "common_tls_context", Form::Message(&COMMON_TLS))],
};

static COMMON_TLS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    fields: &[
        one(1, "tls_params", Form::Message(&TLS_PARAMETERS)),
        many(4, "alpn_protocols", Form::Text),
        many(6, "tls_certificate_sds_secret_configs", Form::Message(&SDS_SECRET_CONFIG)),
    ],
};

static TLS_PARAMETERS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
    fields: &[one(1, "tls_minimum_protocol_version", names!(TlsProtocol))],
};

static SDS_SECRET_CONFIG: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
    fields: &[one(1, "name", Form::Text), one(2, "sds_config", Form::Message(&CONFIG_SOURCE))],
};
