//! Why a file on disk is not used, and why one cannot be written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a snapshot's file is not used. Its type is listed anew instead.
#[derive(Debug, Error)]
pub enum Unusable {
    /// The disk does not give it out.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is harmed.
    #[error("it is corrupt at byte {at}: {what}")]
    Corrupt {
        /// Where the harm begins.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// It is of a version that nobody here reads.
    #[error("it is of format version {found}, and versions {oldest} to {newest} are read")]
    Version {
        /// Its version.
        found: u32,
        /// The oldest that is read.
        oldest: u32,
        /// The newest that is read.
        newest: u32,
    },
    /// It is encrypted, and there is no key, or another one.
    #[error("it is encrypted with another key than the one that is configured")]
    Key,
    /// It holds what is to be encrypted now, and it is not.
    #[error("it is not encrypted, and now has to be")]
    NotSealed,
    /// It was taken from something else: another definition of the source, another selector.
    #[error("it was taken from a source that was defined otherwise")]
    OfOther,
}

impl Unusable {
    /// Whether somebody should look at it: it was fine once, and is not any more.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// What a snapshot's directory refuses.
#[derive(Debug, Error)]
pub enum PersistenceError {
    /// It cannot be made.
    #[error("make the directory {path}: {source}; give Tidegate a directory that it may write to")]
    Make {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be looked into.
    #[error("look into the directory {path}: {source}")]
    List {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
