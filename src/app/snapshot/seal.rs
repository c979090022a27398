//! AES-256-GCM with a key from a file, and a nonce by chance for each piece.
//!
//! Law: neither the key nor what it opens is in any text.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use tidegate_actors::env::Disk;
use tidegate_actors::persistence::Sealer;

/// See the module.
pub(super) struct Key {
    id: String,
    key: LessSafeKey,
    random: SystemRandom,
}

/// Why a file holds no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// It cannot be read.
    #[error("the key cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It holds something else.
    #[error("it must hold 32 random bytes in base64; make one with `openssl rand -base64 32`")]
    Malformed,
}

impl Key {
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(disk.read(path)?.trim_ascii()).map_err(|_| KeyError::Malformed)?;
        Self::new(&bytes).ok_or(KeyError::Malformed)
    }

    fn new(bytes: &[u8]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        // A hash of 256 random bits gives none of them away; the prefix keeps it from being any other hash of them.
        let digest = Sha256::new().chain_update(b"tidegate snapshot key id\n").chain_update(bytes).finalize();
        let id = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { id, key, random: SystemRandom::new() })
    }
}

impl Sealer for Key {
    fn key_id(&self) -> &str {
        &self.id
    }

    /// The nonce stands before the ciphertext. With 96 random bits a key would have to seal billions of pieces
    /// before two of them might meet.
    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_used, Aad::from(context), &mut sealed).ok()?;
        sealed.splice(..0, nonce);
        Some(sealed)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_key(seed: u8) -> Key {
        Key::new(&[seed; 32]).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_with_the_same_key_in_the_same_context_only() {
        let key = mk_key(1);
        let sealed = key.seal(b"here", b"a private key").unwrap();
        assert_eq!(key.open(b"here", &sealed).as_deref(), Some(&b"a private key"[..]));
        assert_eq!(key.open(b"there", &sealed), None);
        assert_eq!(mk_key(2).open(b"here", &sealed), None);
        for at in 0..sealed.len() {
            let mut harmed = sealed.clone();
            harmed[at] ^= 1;
            assert_eq!(key.open(b"here", &harmed), None, "byte {at}");
        }
        assert_eq!(key.open(b"here", &sealed[..4]), None);
    }

    #[test]
    fn one_text_sealed_twice_is_two_and_shows_nothing_of_itself() {
        let key = mk_key(1);
        let [one, two] = [(), ()].map(|()| key.seal(b"", b"a private key").unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(7).any(|window| window == b"private"));
        assert_ne!(mk_key(1).key_id(), mk_key(2).key_id());
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_without_showing_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "hunter2hunter2", "AAAA", "!!"] {
            std::fs::write(&path, text).unwrap();
            let error = Key::read(&tidegate_actors::env::SystemDisk, &path).err().unwrap().to_string();
            assert!(error.contains("openssl rand") && !error.contains("hunter2"), "{error}");
        }
        std::fs::write(&path, format!("{}\n", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!(Key::read(&tidegate_actors::env::SystemDisk, &path).unwrap().key_id(), mk_key(7).key_id());
    }
}
