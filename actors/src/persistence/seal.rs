//! Encryption of what is kept, as somebody else does it: the engine knows no ciphers.

/// What becomes of a resource type's objects on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// They are kept as they are.
    Plain,
    /// They are kept encrypted; without a [`Sealer`] they are left out.
    Sealed,
    /// They are left out: after a restart the type has to be listed, unless it had none.
    Omitted,
}

/// Encrypts and decrypts with one key.
pub trait Sealer: Send + Sync + 'static {
    /// Names the key without saying anything about it.
    fn key_id(&self) -> &str;

    /// Encrypts; `context` must be the same when it is decrypted. `None` if there is no randomness to be had.
    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>>;

    /// Decrypts what [`seal`](Self::seal) made in the same context; `None` if it did not.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>>;
}
