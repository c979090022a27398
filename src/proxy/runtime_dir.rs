//! The directory of one local Envoy: its bootstrap, its log, and a note on the running process, which outlives us.
//!
//! Laws: one Tidegate at a time holds it, by a lock that the system drops with the process; only its owner may read it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_actors::env::{Disk as _, SystemDisk};

use super::ProxyError;
use super::process::ProcessIdentity;

/// What is noted about a running Envoy, for whoever finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Note {
    /// Which process it is.
    pub process: ProcessIdentity,
    /// A hash of all that it was started with.
    pub launch: String,
}

/// The directory, locked.
pub(super) struct RuntimeDir {
    path: PathBuf,
    _lock: File,
}

impl RuntimeDir {
    /// Makes the directory if need be, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, ProxyError> {
        let path = std::path::absolute(path).map_err(dir_error("resolve", path))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(dir_error("create", &path))?;
        let lock_path = path.join("envoy.lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(dir_error("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ProxyError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(dir_error("lock", &lock_path)(source)),
        }
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bootstrap is. It is also what a process of ours is recognised by.
    pub(super) fn bootstrap_path(&self) -> PathBuf {
        self.path.join("envoy-bootstrap.json")
    }

    /// Where Envoy writes its output.
    pub(super) fn log_path(&self) -> PathBuf {
        self.path.join("envoy.log")
    }

    fn note_path(&self) -> PathBuf {
        note_path(&self.path)
    }

    /// Writes the bootstrap.
    pub(super) fn write_bootstrap(&self, text: &str) -> Result<(), ProxyError> {
        self.write(&self.bootstrap_path(), text.as_bytes())
    }

    /// Begins a new log, keeps the one before, and returns a handle that appends.
    pub(super) fn new_log(&self) -> Result<File, ProxyError> {
        let path = self.log_path();
        let before = self.path.join("envoy.log.1");
        match fs::rename(&path, &before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(dir_error("rename", &path)(error)),
            _ => {}
        }
        // Appending is what makes it safe to cut the file short while Envoy has it open.
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        file.map_err(dir_error("create", &path))
    }

    /// The note on the process that runs, or ran. One that cannot be read is as good as none.
    pub(super) fn note(&self) -> Option<Note> {
        read_note(&self.path)
    }

    /// Notes the process that runs now.
    pub(super) fn write_note(&self, note: &Note) -> Result<(), ProxyError> {
        let path = self.note_path();
        let content = serde_json::to_vec(note).map_err(|error| dir_error("write", &path)(error.into()))?;
        self.write(&path, &content)
    }

    /// Says that none runs.
    pub(super) fn remove_note(&self) -> Result<(), ProxyError> {
        let path = self.note_path();
        match SystemDisk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(dir_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), ProxyError> {
        SystemDisk.write_atomically(path, content, 0o600).map_err(dir_error("write", path))
    }
}

fn note_path(dir: &Path) -> PathBuf {
    dir.join("envoy-state.json")
}

/// The note in a directory, whoever holds its lock.
pub(super) fn read_note(dir: &Path) -> Option<Note> {
    let content = SystemDisk.read(&note_path(dir)).ok()?;
    serde_json::from_slice(&content).inspect_err(|error| tracing::warn!(%error, "unreadable note on Envoy")).ok()
}

/// An error on a path in the runtime directory.
pub(super) fn dir_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProxyError {
    let path = path.to_owned();
    move |source| ProxyError::RuntimeDir { operation, path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mk_note() -> Note {
        let process = ProcessIdentity { pid: 7, start_time: 8, boot_id: "boot".to_owned() };
        Note { process, launch: "hash".to_owned() }
    }

    #[test]
    fn a_second_holder_is_refused_until_the_first_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let first = RuntimeDir::open(&path).unwrap();
        let message = RuntimeDir::open(&path).err().unwrap().to_string();
        assert!(message.contains(&*path.to_string_lossy()) && message.contains("another Tidegate"), "{message}");

        drop(first);

        assert!(RuntimeDir::open(&path).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_note_is_read_back_and_a_damaged_one_is_none() {
        let root = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(root.path()).unwrap();
        assert_eq!(dir.note(), None);
        dir.write_note(&mk_note()).unwrap();
        assert_eq!(dir.note(), Some(mk_note()));

        fs::write(dir.note_path(), "{").unwrap();
        assert_eq!(dir.note(), None);
        dir.remove_note().unwrap();
        dir.remove_note().unwrap();
        assert!(!dir.note_path().exists());
    }

    #[test]
    fn a_new_log_keeps_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(root.path()).unwrap();
        dir.new_log().unwrap().write_all(b"first").unwrap();
        dir.new_log().unwrap().write_all(b"second").unwrap();
        assert_eq!(fs::read_to_string(root.path().join("envoy.log.1")).unwrap(), "first");
        assert_eq!(fs::read_to_string(dir.log_path()).unwrap(), "second");
    }
}
