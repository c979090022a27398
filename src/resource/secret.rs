//! Secret: a certificate chain with its private key, of the type `kubernetes.io/tls`.
//!
//! Laws: what is in a view parses, belongs together and is of a kind that proxies take; no content of a secret
//! is in `Debug` or in an error.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use super::field::{Checks, from_json};
use super::meta::Kind;

/// What we read of a Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// The certificate, if it is of the type for it.
    pub tls: Option<KeyPair>,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, PartialEq)]
pub struct KeyPair {
    /// Leaf first.
    pub certificate_chain: Bytes,
    /// Never shown.
    pub private_key: Bytes,
    /// The leaf's end of validity, seconds since the Unix epoch.
    pub not_after: i64,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    r#type: Option<String>,
    // Of whatever type: serde's messages would show the content.
    #[serde(default)]
    data: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    string_data: BTreeMap<String, serde_json::Value>,
}

impl Kind for Secret {
    fn read(raw: &[u8], checks: &mut Checks) -> Option<Self> {
        let raw: Raw = from_json(raw, checks)?;
        if raw.r#type.as_deref() != Some("kubernetes.io/tls") {
            return Some(Self { tls: None });
        }
        let certificate_chain = value(checks, &raw, "tls.crt");
        let private_key = value(checks, &raw, "tls.key");
        let (certificate_chain, private_key) = (certificate_chain?, private_key?);
        match validity(&certificate_chain, &private_key) {
            Ok(not_after) => Some(Self { tls: Some(KeyPair { certificate_chain, private_key, not_after }) }),
            Err((field, reason)) => {
                checks.field("data", |c| c.field(field, |c| c.error(reason)));
                None
            }
        }
    }
}

fn value(c: &mut Checks, raw: &Raw, name: &'static str) -> Option<Bytes> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    // As at the API server, `stringData` counts before `data`.
    if let Some(plain) = raw.string_data.get(name) {
        let plain = text(plain);
        c.field("stringData", |c| c.field(name, |c| c.ensure(plain.is_some(), "must be text")));
        return plain.map(Bytes::from);
    }
    c.field("data", |c| {
        c.field(name, |c| {
            let Some(encoded) = raw.data.get(name) else {
                c.error("is required in a Secret of type kubernetes.io/tls");
                return None;
            };
            let encoded = text(encoded).map(|t| t.split_ascii_whitespace().collect::<String>());
            let decoded = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
            c.ensure(decoded.is_some(), "must be base64");
            decoded.map(Bytes::from)
        })
    })
}

/// The end of the leaf's validity, or the field that is wrong and why.
fn validity(chain: &[u8], key: &[u8]) -> Result<i64, (&'static str, &'static str)> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| ("tls.crt", "must be certificates in PEM"))?;
    let leaf = chain.first().ok_or(("tls.crt", "must contain at least one certificate in PEM"))?;
    let not_after = chain.iter().map(|certificate| match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, parsed)) => Ok(parsed.validity().not_after.timestamp()),
        Err(_) => Err(("tls.crt", "contains a certificate that cannot be read")),
    });
    let not_after = not_after.collect::<Result<Vec<_>, _>>()?;
    proxies_take(leaf)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ("tls.key", "must be one private key in PEM"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| ("tls.key", "must be an RSA key of 2048 to 8192 bits or an ECDSA key on P-256 or P-384"))?;
    let pair = rustls::sign::CertifiedKey::new(chain.clone(), key);
    pair.keys_match().map_err(|_| ("tls.key", "is not the key of the first certificate in tls.crt"))?;
    Ok(not_after[0])
}

/// Envoy serves RSA and ECDSA certificates only.
fn proxies_take(leaf: &CertificateDer<'_>) -> Result<(), (&'static str, &'static str)> {
    use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else {
        return Err(("tls.crt", "contains a certificate that cannot be read"));
    };
    let algorithm = parsed.public_key().algorithm.oid();
    if [OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION].contains(algorithm) {
        Ok(())
    } else {
        Err(("tls.crt", "must have an RSA or ECDSA key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::meta::check;

    fn mk_pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    fn mk_secret(certificate: &str, key: &str) -> Vec<u8> {
        let data =
            serde_json::json!({"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)});
        serde_json::json!({"type": "kubernetes.io/tls", "data": data}).to_string().into_bytes()
    }

    #[test]
    fn a_pair_that_belongs_together_is_taken_and_never_shown() {
        let (certificate, key) = mk_pair();
        let mut checks = Checks::default();
        let secret = Secret::read(&mk_secret(&certificate, &key), &mut checks).unwrap();
        assert!(checks.errors.is_empty());
        assert!(secret.tls.as_ref().is_some_and(|tls| tls.not_after > 0));
        assert!(!format!("{secret:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field_and_shows_no_content() {
        let ((certificate, key), (_, other_key)) = (mk_pair(), mk_pair());
        let cases = [
            (mk_secret(&certificate, &other_key), r#"data["tls.key"]"#),
            (mk_secret(&certificate, "nonsense"), r#"data["tls.key"]"#),
            (mk_secret("nonsense", &key), r#"data["tls.crt"]"#),
            (br#"{"type":"kubernetes.io/tls","data":{"tls.crt":"%%%","tls.key":7}}"#.to_vec(), r#"data["tls.crt"]"#),
            (br#"{"type":"kubernetes.io/tls"}"#.to_vec(), r#"data["tls.crt"]"#),
        ];
        for (raw, field) in cases {
            let errors = check::<Secret>(&raw);
            assert_eq!(errors[0].path, field);
            assert!(errors.iter().all(|error| !error.reason.contains("nonsense") && !error.reason.contains("%%%")));
        }
    }

    #[test]
    fn other_types_of_secrets_hold_nothing_for_us() {
        let mut checks = Checks::default();
        let secret = Secret::read(br#"{"type":"Opaque","data":{"a":"not base64"}}"#, &mut checks);
        assert_eq!(secret, Some(Secret { tls: None }));
    }
}
