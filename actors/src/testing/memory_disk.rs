//! A disk in memory, with the failures that a test asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::{Disk, DiskEntry};

/// Files in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>,
    full: Arc<Mutex<bool>>,
}

impl MemoryDisk {
    /// While it is full, every write fails.
    pub fn set_full(&self, full: bool) {
        *self.full.lock() = full;
    }

    /// Writes a file as somebody else would.
    pub fn put(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) {
        self.files.lock().insert(path.into(), content.into());
    }

    fn missing(path: &Path) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, format!("no such file: {}", path.display()))
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.lock().get(path).cloned().ok_or_else(|| Self::missing(path))
    }

    fn write_atomically(&self, path: &Path, content: &[u8], _mode: u32) -> io::Result<()> {
        if *self.full.lock() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        self.files.lock().insert(path.to_owned(), content.to_vec());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| Self::missing(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut dirs = BTreeSet::new();
        let mut entries = Vec::new();
        for (file, content) in self.files.lock().iter() {
            let Ok(rest) = file.strip_prefix(path) else { continue };
            let mut parts = rest.components();
            let Some(first) = parts.next() else { continue };
            let entry = path.join(first);
            let is_dir = parts.next().is_some();
            if !is_dir || dirs.insert(entry.clone()) {
                let len = if is_dir { 0 } else { content.len() as u64 };
                entries.push(DiskEntry { path: entry, is_dir, special: None, len, modified: None, id: (0, 0) });
            }
        }
        Ok(entries)
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}
