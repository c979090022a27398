//! Certificates and keys as they stand in Secrets: PEM, DER inside of it, base64 around it.
//!
//! Oracle: what is accepted is loaded by rustls for a server; what is refused is refused without repeating any of it;
//! `Debug` shows none of it either; and the pair that belongs together is accepted, whatever stands around the
//! blocks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tidegate::resource::field::Checks;
use tidegate::resource::meta::Kind as _;
use tidegate::resource::secret::{KeyPair, Secret};

/// A certificate for `a.example.com` and its key, both for tests alone.
const CERTIFICATE: &str = include_str!("../keys/certificate.pem");
const KEY: &str = include_str!("../keys/key.pem");

/// The first byte says what the rest is: a whole Secret, a chain, a key, both, or the DER of a certificate or key.
pub fn run(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else { return };
    match form % 6 {
        0 => whole(rest),
        1 => check(rest, KEY.as_bytes()),
        2 => check(CERTIFICATE.as_bytes(), rest),
        3 => {
            let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            check(&rest[..at], rest.get(at + 1..).unwrap_or_default());
        }
        4 => check(pem("CERTIFICATE", rest).as_bytes(), KEY.as_bytes()),
        _ => check(CERTIFICATE.as_bytes(), pem("PRIVATE KEY", rest).as_bytes()),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

fn whole(raw: &[u8]) {
    let mut checks = Checks::default();
    let secret = Secret::read(raw, &mut checks);
    assert!(secret.is_some() || !checks.errors.is_empty(), "refused without a word");
    let said = format!("{:?} {secret:?}", checks.errors);
    for block in serde_json::from_slice::<serde_json::Value>(raw).ok().iter().flat_map(|value| {
        let fields = [&value["data"], &value["stringData"]];
        fields.into_iter().filter_map(|field| field.as_object()).flat_map(|map| map.values())
    }) {
        says_nothing_of(&said, block.as_str().unwrap_or_default().as_bytes());
    }
    if let Some(pair) = secret.and_then(|secret| secret.tls).filter(|_| checks.errors.is_empty()) {
        loads(&pair);
    }
}

fn check(chain: &[u8], key: &[u8]) {
    let data = json!({"tls.crt": BASE64_STANDARD.encode(chain), "tls.key": BASE64_STANDARD.encode(key)});
    let raw = json!({"type": "kubernetes.io/tls", "data": data}).to_string();
    let mut checks = Checks::default();
    let secret = Secret::read(raw.as_bytes(), &mut checks);
    assert_eq!(secret.is_some(), checks.errors.is_empty());
    let said = format!("{:?} {secret:?}", checks.errors);
    says_nothing_of(&said, key);
    says_nothing_of(&said, raw.as_bytes());
    let pair = secret.and_then(|secret| secret.tls);
    assert!(pair.is_some() || (chain, key) != (CERTIFICATE.as_bytes(), KEY.as_bytes()), "a good pair: {said}");
    if let Some(pair) = pair {
        assert!(pair.certificate_chain == chain && pair.private_key == key, "kept as it was given");
        loads(&pair);
    }
}

/// Sixteen characters in a row of a line are no coincidence, unless they are words of ours.
fn says_nothing_of(said: &str, content: &[u8]) {
    for line in content.split(|byte| *byte == b'\n' || *byte == b'"') {
        let encoded = line.len() >= 16 && line.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b));
        let line = std::str::from_utf8(line).unwrap_or_default();
        assert!(!encoded || !said.contains(line), "{said}");
    }
}

fn loads(pair: &KeyPair) {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.certificate_chain).collect();
    let chain = chain.expect("a chain that was accepted is read again");
    let key = PrivateKeyDer::from_pem_slice(&pair.private_key).expect("a key that was accepted is read again");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks all of them")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    assert!(server.is_ok(), "accepted, and rustls will not serve it: {:?}", server.err());
}
