//! One batch on its way into a file: records in, frames of a bounded size out.

use std::io;

use super::frame::{Frame, Role};
use super::read::context;
use super::record::{self, Position};
use super::seal::Sealer;
use crate::env::DiskFile;
use crate::id::ObjectKey;

/// A frame is full when it holds so many bytes; a larger object has one of its own. In tests few, so that batches of
/// several frames are nothing special.
const FULL: usize = if cfg!(test) { 160 } else { 1 << 20 };

/// See the module.
pub(super) struct Batch<'a> {
    pub file: &'a mut dyn DiskFile,
    pub sealer: Option<&'a dyn Sealer>,
    pub salt: u64,
    pub number: u64,
    /// Where the next frame begins.
    pub at: usize,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

impl<'a> Batch<'a> {
    pub fn new(file: &'a mut dyn DiskFile, sealer: Option<&'a dyn Sealer>, salt: u64, number: u64, at: usize) -> Self {
        Self { file, sealer, salt, number, at, payload: Vec::new(), frame: Vec::new() }
    }

    pub fn put(&mut self, key: &ObjectKey, raw: &[u8]) -> io::Result<()> {
        record::put(&mut self.payload, key, raw);
        self.full()
    }

    pub fn delete(&mut self, key: &ObjectKey) -> io::Result<()> {
        record::delete(&mut self.payload, key);
        self.full()
    }

    /// Ends it, and says how long the file is then. It counts once the file is synced.
    pub fn commit(mut self, position: &Position) -> io::Result<usize> {
        position.write(&mut self.payload);
        self.flush(Role::Commit)?;
        Ok(self.at)
    }

    fn full(&mut self) -> io::Result<()> {
        if self.payload.len() < FULL { Ok(()) } else { self.flush(Role::Part) }
    }

    fn flush(&mut self, role: Role) -> io::Result<()> {
        let mut frame = Frame { batch: self.number, role, at: self.at, payload: &self.payload };
        let sealed;
        if let Some(sealer) = self.sealer {
            let seal = sealer.seal(&context(self.salt, &frame), &self.payload);
            sealed = seal.ok_or_else(|| io::Error::other("it cannot be encrypted: the system gives no randomness"))?;
            frame.payload = &sealed;
        }
        self.frame.clear();
        frame.write(self.salt, &mut self.frame);
        self.file.append(&self.frame)?;
        self.at = frame.end();
        self.payload.clear();
        Ok(())
    }
}
