//! The admin token: configured, read from a file, or made at start from the operating system's randomness
//! and left in a file that only its owner can read.
//!
//! Law: the token is in no log line and no `Debug`; it is compared in constant time.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tidegate_actors::env::Env;

use crate::config::{Admin, Token};

/// The file under `data_dir` that a token made at start is written to.
pub const FILE_NAME: &str = "admin-token";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A configured or earlier file cannot be read.
    #[error("read the admin token from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the file holds is too short.
    #[error("the admin token in {} has fewer than 16 characters; put a longer, random one there", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gives no randomness.
    #[error("make an admin token: read /dev/urandom")]
    Random(#[source] io::Error),
    /// It cannot be kept.
    #[error("write the admin token to {}; set `data_dir` to a directory that can be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Finds or makes the token. One made at an earlier start is kept, so that scripts go on working.
///
/// # Errors
/// When it can neither be read nor made and kept.
pub fn establish(admin: &Admin, data_dir: &Path, env: &Env) -> Result<Token, TokenError> {
    if let Some(token) = &admin.token {
        return Ok(token.clone());
    }
    if let Some(path) = &admin.token_file {
        return read(path, env);
    }
    let path = data_dir.join(FILE_NAME);
    match read(&path, env) {
        Err(TokenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Ok(token) => return Ok(token),
        Err(error) => return Err(error),
    }
    let token = random().map_err(TokenError::Random)?;
    let write = || {
        env.disk.create_dir(data_dir)?;
        env.disk.write_atomically(&path, token.reveal().as_bytes(), 0o600)
    };
    write().map_err(|source| TokenError::Write { path: path.clone(), source })?;
    Ok(token)
}

/// Reads a token file; white space around the token does not count.
///
/// # Errors
/// When it cannot be read, or what it holds is too short.
pub fn read(path: &Path, env: &Env) -> Result<Token, TokenError> {
    let bytes = env.disk.read(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.len() < 16 {
        return Err(TokenError::Short { path: path.to_owned() });
    }
    Ok(Token::new(text))
}

/// 256 bits. The engine's randomness is for jitter; a secret needs the operating system's.
fn random() -> io::Result<Token> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Token::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// What a token is compared with: its digest, so that neither content nor length shows in the time it takes.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// The key that a token opens.
    pub fn new(token: &Token) -> Self {
        Self(Sha256::digest(token.reveal().as_bytes()).into())
    }

    /// Whether it does.
    pub fn opens(&self, offered: &str) -> bool {
        let offered = Sha256::digest(offered.as_bytes());
        // Every byte is looked at, whatever the others say.
        let difference = self.0.iter().zip(offered.iter()).fold(0_u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
