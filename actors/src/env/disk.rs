//! Files: what the engine and its sources read and write, blocking, small on purpose. Callers on a runtime
//! thread use it for small files only, or through [`Env::on_disk`](super::Env::on_disk).

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One entry of a directory, links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// What it is in words, such as `a FIFO`, if it is neither a directory nor a file that has an end.
    pub special: Option<&'static str>,
    /// Size in bytes.
    pub len: u64,
    /// Last change of the content.
    pub modified: Option<SystemTime>,
    /// Device and number of the file: a different one is a different file, whatever its path. Zeros if the
    /// file system has none.
    pub id: (u64, u64),
}

/// A file that grows at its end.
pub trait DiskFile: Send + 'static {
    /// Adds all of it at the end. After an error any part of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all that was added outlives a loss of power. After an error nobody knows what does.
    fn sync(&mut self) -> io::Result<()>;
}

/// Files.
pub trait Disk: Send + Sync + 'static {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The same of a file below a directory that somebody else may write to: at most `limit` bytes, and an error if a
    /// link leads out of the directory, or if it is no plain file.
    fn read_below(&self, directory: &Path, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.real_path_below(directory, path)?;
        let content = self.read(path)?;
        if content.len() as u64 > limit { Err(too_large(limit)) } else { Ok(content) }
    }

    /// A path with all links followed.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// The same of a path below a directory; an error if a link leads out of it.
    fn real_path_below(&self, directory: &Path, path: &Path) -> io::Result<PathBuf> {
        let mut real = self.real_path(path)?;
        if real.starts_with(self.real_path(directory)?) {
            return Ok(real);
        }
        // Once more: the directory may be a link itself, which was just then made to lead to another one.
        let directory = self.real_path(directory)?;
        real = self.real_path(path)?;
        if real.starts_with(directory) {
            return Ok(real);
        }
        let reason = format!("a link leads out of the directory, to {}", real.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
    }

    /// Replaces a file so that a reader, or a crash, sees the old content or the new and nothing between.
    /// `mode` is the file's Unix permission bits.
    fn write_atomically(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by path. An entry that vanishes meanwhile is left out.
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>>;

    /// One path, links followed.
    fn stat(&self, path: &Path) -> io::Result<DiskEntry> {
        let entries = self.list(path.parent().unwrap_or(path))?;
        entries.into_iter().find(|entry| entry.path == path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a directory and its parents.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// An empty file to add to, instead of whatever was there. `mode` is its Unix permission bits.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let _ = (path, mode);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A file that is there, to add to at its end.
    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file another name, replacing what had that one. It outlives a loss of power after [`sync_dir`](Self::sync_dir).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns once the names in a directory outlive a loss of power.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether its calls may take a while, so that they belong on a thread of their own.
    fn blocks(&self) -> bool {
        true
    }
}

/// The machine's file system.
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_below(&self, directory: &Path, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        // Nothing of this path is a link now; and should one become a link at this very moment, it is not followed.
        let file = open_without_links(&self.real_path_below(directory, path)?)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit { Err(too_large(limit)) } else { Ok(content) }
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn write_atomically(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        let written =
            file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is the one to report; a left-over temporary file is overwritten next time.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            match fs::metadata(&path) {
                Ok(meta) => entries.push(entry_of(path, &meta)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<DiskEntry> {
        Ok(entry_of(path.to_owned(), &fs::metadata(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        Ok(Box::new(file))
    }

    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(fs::OpenOptions::new().append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
}

impl DiskFile for fs::File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

fn too_large(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more bytes than the limit of {limit}"))
}

/// Opens a file for reading if no part of its path is a link, without waiting for whoever would write to a pipe.
fn open_without_links(path: &Path) -> io::Result<fs::File> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, Mode, ResolveFlags, openat2};
        use rustix::io::Errno;
        match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(opened) => return Ok(opened.into()),
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let opened = rustix::fs::open(path, flags | OFlags::NOFOLLOW, rustix::fs::Mode::empty())?;
    Ok(opened.into())
}

fn entry_of(path: PathBuf, meta: &fs::Metadata) -> DiskEntry {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let kind = meta.file_type();
    let special = match () {
        () if kind.is_file() || kind.is_dir() => None,
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    };
    let (is_dir, len, modified) = (meta.is_dir(), meta.len(), meta.modified().ok());
    DiskEntry { path, is_dir, special, len, modified, id: (meta.dev(), meta.ino()) }
}
