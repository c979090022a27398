//! Which files there are: a directory and those in it, links followed as far as they stay in it, within limits. Reads no
//! file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_actors::env::{Disk, DiskEntry};
use tidegate_actors::id::Name;

use super::watch::is_manifest;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    len: u64,
    modified: Option<std::time::SystemTime>,
    id: (u64, u64),
    special: Option<&'static str>,
}

impl Stamp {
    pub fn of(entry: &DiskEntry) -> Self {
        Self { len: entry.len, modified: entry.modified, id: entry.id, special: entry.special }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// What it is in words, if it is nothing that can be read to its end.
    pub fn special(&self) -> Option<&'static str> {
        self.special
    }

    /// When the file was last written, after the Unix epoch.
    pub fn written(&self) -> Option<Duration> {
        self.modified?.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()
    }
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Walk {
    /// The manifests.
    pub files: BTreeMap<PathBuf, Stamp>,
    /// Directories that could not be looked into, or must not be, since they lead elsewhere; with the reason. What they
    /// held may well still be there.
    pub failed: BTreeMap<PathBuf, String>,
    /// Directories that are left out, with the reason.
    pub refused: BTreeMap<PathBuf, String>,
}

/// Walks from `from`, which is `root` or lies in it. `enter` is called for each directory before it is listed,
/// so that whatever changes after the listing is already being watched.
pub(super) fn walk(
    disk: &dyn Disk,
    root: &Path,
    from: &Path,
    max_depth: usize,
    enter: &mut dyn FnMut(&DiskEntry),
) -> Walk {
    let mut found = Walk::default();
    match disk.stat(from) {
        Ok(entry) if entry.is_dir => {
            let depth = from.strip_prefix(root).map_or(0, |inside| inside.components().count());
            let mut walker = Walker { disk, root, max_depth, enter, found: &mut found, inside: Vec::new() };
            walker.directory(&entry, depth);
        }
        Ok(entry) => drop(found.files.insert(from.to_owned(), Stamp::of(&entry))),
        Err(error) => failed(&mut found, from, &error),
    }
    found
}

/// A path's spelling in problems: relative to the root, or its own name if it is the root.
pub(super) fn name_of(root: &Path, path: &Path) -> Name {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let shown = if inside.as_os_str().is_empty() { path.file_name().unwrap_or_default() } else { inside.as_os_str() };
    shown.to_string_lossy().into()
}

fn failed(found: &mut Walk, path: &Path, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        found.failed.insert(path.to_owned(), format!("cannot be listed: {error}"));
    }
}

struct Walker<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    max_depth: usize,
    enter: &'a mut dyn FnMut(&DiskEntry),
    found: &'a mut Walk,
    /// The directories that this one lies in.
    inside: Vec<(u64, u64)>,
}

impl Walker<'_> {
    fn directory(&mut self, directory: &DiskEntry, depth: usize) {
        let refuse = if depth > self.max_depth {
            Some(format!(
                "lies more than {} directories deep and is not read; raise the limit or move it",
                self.max_depth
            ))
        } else if directory.id != (0, 0) && self.inside.contains(&directory.id) {
            Some("links back to a directory that it stands in and is not read; remove the link".to_owned())
        } else {
            None
        };
        if let Some(reason) = refuse {
            self.found.refused.insert(directory.path.clone(), reason);
            return;
        }
        // Before it is watched: what happens elsewhere is none of our business either.
        if let Err(error) = self.disk.real_path_below(self.root, &directory.path) {
            return failed(self.found, &directory.path, &error);
        }
        (self.enter)(directory);
        let entries = match self.disk.list(&directory.path) {
            Ok(entries) => entries,
            Err(error) => return failed(self.found, &directory.path, &error),
        };
        self.inside.push(directory.id);
        for entry in entries {
            let hidden = entry.path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if entry.is_dir && !hidden {
                self.directory(&entry, depth + 1);
            } else if !entry.is_dir && is_manifest(&entry.path) {
                self.found.files.insert(entry.path.clone(), Stamp::of(&entry));
            }
        }
        self.inside.pop();
    }
}
