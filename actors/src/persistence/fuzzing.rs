//! What the fuzz targets drive: from the bytes of a file to what it says, and back. No logic of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Unusable;
use super::frame::{Frame, PRELUDE, Prelude, Role};
use super::read::{Content, read};
use super::record::{Header, Position};
use super::seal::Treatment;
use super::slot::Files;
use crate::env::Disk;
use crate::id::{Name, ResourceType};
use crate::object::Object;
use crate::source::Cursor;
use crate::store::ObjectChanges;

/// What a file says.
pub struct Said {
    /// In the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// From where a watch can go on.
    pub cursor: Option<Cursor>,
    /// How much of the file says it.
    pub length: u64,
}

/// Reads a file that is not encrypted.
///
/// # Errors
/// Why it is of no use.
pub fn said(file: &[u8]) -> Result<Said, Unusable> {
    let Content { objects, position, tail, .. } = read(file, None)?;
    Ok(Said { objects, cursor: position.cursor, length: tail.length })
}

/// A file whose checks are all right, whatever its frames say: each has the number of its batch, whether it is the last of
/// that, and a payload.
pub fn file_of(version: u32, source: &Name, resource_type: &ResourceType, frames: &[(u64, bool, &[u8])]) -> Vec<u8> {
    let (mut file, mut payload) = (Vec::new(), Vec::new());
    Prelude { version, salt: 7 }.write(&mut file);
    header(source, resource_type).write(&mut payload);
    Frame { batch: 0, role: Role::Header, at: PRELUDE, payload: &payload }.write(7, &mut file);
    for (batch, commit, payload) in frames {
        let role = if *commit { Role::Commit } else { Role::Part };
        Frame { batch: *batch, role, at: file.len(), payload }.write(7, &mut file);
    }
    file
}

fn header(source: &Name, resource_type: &ResourceType) -> Header {
    let (source, resource_type) = (source.clone(), resource_type.clone());
    Header { source, resource_type, fingerprint: String::new(), key: None }
}

/// The file of a slot, as it is written.
pub struct Log {
    path: PathBuf,
    files: Files,
}

impl Log {
    /// There is none yet.
    pub fn new(path: &Path, source: &Name, resource_type: &ResourceType) -> Self {
        let files = Files::new(path.to_owned(), header(source, resource_type), Treatment::Plain);
        Self { path: path.to_owned(), files }
    }

    /// Writes changes as one batch; the file then.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, disk: &dyn Disk, changes: &mut ObjectChanges, cursor: Cursor) -> std::io::Result<Vec<u8>> {
        self.files.absorb(changes, &|_| true);
        self.files.reached(Position { cursor: Some(cursor), complete: true, absent: None, at: None });
        self.files.write(disk, None, 7, u64::MAX)?;
        disk.read(&self.path)
    }
}
