//! A disk in memory, with the failures that a test asks for, up to the loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::{Disk, DiskEntry, DiskFile, Rng, SeededRng};

/// What is lost or kept as one, small so that small files are torn too.
const SECTOR: usize = 64;

/// What a disk does not do at present. Each is its own thing, so that a test says what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// There is no space left: of what is added, half may still fit.
    pub full: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// Every write and every sync fails (EIO).
    pub broken: bool,
    /// Syncs fail, writes do not.
    pub unsynced: bool,
    /// Reads fail.
    pub unreadable: bool,
}

/// Files in memory. Clones share them. What was not synced may be lost in [`after_power_loss`](Self::after_power_loss).
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    names: BTreeMap<PathBuf, u64>,
    /// The names that outlive a loss of power for certain, and what may become of them.
    synced: BTreeMap<PathBuf, u64>,
    since: Vec<Renaming>,
    trouble: Trouble,
    changes: u64,
    power_until: Option<u64>,
}

/// The content of a file; up to `synced` it is safe.
#[derive(Clone, Default)]
struct Node {
    content: Vec<u8>,
    synced: usize,
    /// How often it is open.
    open: usize,
}

/// A change of names, in one or two paths.
#[derive(Clone)]
struct Renaming(Vec<(PathBuf, Option<u64>)>);

impl MemoryDisk {
    /// While it is full, every write fails.
    pub fn set_full(&self, full: bool) {
        self.state.lock().trouble.full = full;
    }

    /// What it does not do from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.state.lock().trouble = trouble;
    }

    /// Writes a file as somebody else would, safely.
    pub fn put(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) {
        let (mut state, content) = (self.state.lock(), content.into());
        let path = path.into();
        let id = state.add(Node { synced: content.len(), content, open: 0 });
        state.names.insert(path.clone(), id);
        state.synced.insert(path, id);
    }

    /// How many changes were asked for so far: writes, syncs, renames, removals.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Cuts the power after so many changes; those that follow fail and do nothing.
    pub fn cut_power_after(&self, changes: u64) {
        self.state.lock().power_until = Some(changes);
    }

    /// The disk as it may be found after a loss of power right now: what was synced is there; of the rest, chance says.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let (rng, state) = (SeededRng::new(seed), self.state.lock());
        let mut names = state.synced.clone();
        // Names change in order, up to some point.
        let kept = rng.below(state.since.len() as u64 + 1) as usize;
        state.since[..kept].iter().for_each(|renaming| renaming.apply(&mut names));
        let mut found = State { next: state.next, synced: names.clone(), names, ..State::default() };
        for id in found.names.values() {
            if let Some(node) = state.nodes.get(id) {
                found.nodes.insert(*id, node.torn(&rng));
            }
        }
        Self { state: Arc::new(Mutex::new(found)) }
    }

    /// A copy that shares nothing: the disk as another process finds it after this one was killed.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = State { trouble: Trouble::default(), power_until: None, ..self.state.lock().clone() };
        // Nothing is open in a copy.
        state.nodes.values_mut().for_each(|node| node.open = 0);
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl State {
    fn add(&mut self, node: Node) -> u64 {
        self.next += 1;
        self.nodes.insert(self.next, node);
        self.next
    }

    /// Whether a change may be made.
    fn change(&mut self) -> io::Result<()> {
        if self.power_until.is_some_and(|until| self.changes >= until) {
            return Err(io::Error::other("the power is off"));
        }
        self.changes += 1;
        match self.trouble {
            Trouble { read_only: true, .. } => Err(ErrorKind::ReadOnlyFilesystem.into()),
            Trouble { broken: true, .. } => Err(io::Error::other("input/output error")),
            _ => Ok(()),
        }
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.since.push(renaming);
    }

    /// Forgets content that no name may lead to any more, and that nobody has open.
    fn forget(&mut self) {
        let Self { nodes, names, synced, since, .. } = self;
        let later = since.iter().flat_map(|renaming| renaming.0.iter().filter_map(|(_, id)| id.as_ref()));
        let named: BTreeSet<u64> = names.values().chain(synced.values()).chain(later).copied().collect();
        nodes.retain(|id, node| node.open > 0 || named.contains(id));
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| missing(path))
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        for (path, id) in &self.0 {
            match id {
                Some(id) => drop(names.insert(path.clone(), *id)),
                None => drop(names.remove(path)),
            }
        }
    }

    fn is_in(&self, directory: &Path) -> bool {
        self.0.iter().any(|(path, _)| path.parent() == Some(directory))
    }
}

impl Node {
    /// Some of what was not synced, in whole sectors: cut off, or with holes in it.
    fn torn(&self, rng: &SeededRng) -> Self {
        let (safe, loose) = self.content.split_at(self.synced);
        let mut content = safe.to_vec();
        content.extend_from_slice(&loose[..rng.below(loose.len() as u64 + 1) as usize]);
        if rng.below(2) == 0 {
            for sector in content[self.synced..].chunks_mut(SECTOR) {
                if rng.below(3) == 0 {
                    sector.fill(0);
                }
            }
        }
        Self { synced: content.len(), content, open: 0 }
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("no such file: {}", path.display()))
}

/// A file that is open; it stays what it is when its name changes.
struct Open {
    disk: MemoryDisk,
    id: u64,
}

impl MemoryDisk {
    fn open(&self, state: &mut State, id: u64) -> Box<dyn DiskFile> {
        if let Some(node) = state.nodes.get_mut(&id) {
            node.open += 1;
        }
        Box::new(Open { disk: self.clone(), id })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if let Some(node) = state.nodes.get_mut(&self.id) {
            node.open -= 1;
        }
        state.forget();
    }
}

impl DiskFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.change()?;
        let full = state.trouble.full;
        let Some(node) = state.nodes.get_mut(&self.id) else { return Err(io::Error::other("the file is gone")) };
        if full {
            node.content.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::Error::new(ErrorKind::StorageFull, "no space left on device"));
        }
        node.content.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.change()?;
        if state.trouble.unsynced {
            return Err(io::Error::other("input/output error"));
        }
        if let Some(node) = state.nodes.get_mut(&self.id) {
            node.synced = node.content.len();
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        if state.trouble.unreadable {
            return Err(io::Error::other("input/output error"));
        }
        let id = state.find(path)?;
        Ok(state.nodes.get(&id).map(|node| node.content.clone()).unwrap_or_default())
    }

    fn write_atomically(&self, path: &Path, content: &[u8], _mode: u32) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if state.trouble.full {
            return Err(io::Error::new(ErrorKind::StorageFull, "no space left on device"));
        }
        let id = state.add(Node { content: content.to_vec(), synced: content.len(), open: 0 });
        state.rename(Renaming(vec![(path.to_owned(), Some(id))]));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.find(path)?;
        state.rename(Renaming(vec![(path.to_owned(), None)]));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut dirs = BTreeSet::new();
        let mut entries = Vec::new();
        let state = self.state.lock();
        for (file, id) in &state.names {
            let Ok(rest) = file.strip_prefix(path) else { continue };
            let mut parts = rest.components();
            let Some(first) = parts.next() else { continue };
            let entry = path.join(first);
            let is_dir = parts.next().is_some();
            if !is_dir || dirs.insert(entry.clone()) {
                let len = state.nodes.get(id).filter(|_| !is_dir).map_or(0, |node| node.content.len() as u64);
                entries.push(DiskEntry { path: entry, is_dir, special: None, len, modified: None, id: (0, 0) });
            }
        }
        Ok(entries)
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        match self.state.lock().trouble {
            Trouble { read_only: true, .. } => Err(ErrorKind::ReadOnlyFilesystem.into()),
            _ => Ok(()),
        }
    }

    fn create(&self, path: &Path, _mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.change()?;
        let id = state.add(Node::default());
        state.rename(Renaming(vec![(path.to_owned(), Some(id))]));
        Ok(self.open(&mut state, id))
    }

    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let id = state.find(path)?;
        Ok(self.open(&mut state, id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let id = state.find(from)?;
        state.rename(Renaming(vec![(from.to_owned(), None), (to.to_owned(), Some(id))]));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if state.trouble.unsynced {
            return Err(io::Error::other("input/output error"));
        }
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.since).into_iter().partition(|renaming| renaming.is_in(path));
        now.iter().for_each(|renaming| renaming.apply(&mut state.synced));
        state.since = later;
        state.forget();
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn content_that_nobody_can_reach_any_more_takes_no_room_and_what_is_open_stays() {
        let disk = MemoryDisk::default();
        let (path, other, folder) = (Path::new("/data/file"), Path::new("/data/new"), Path::new("/data"));
        let nodes = || disk.state.lock().nodes.len();
        let mut file = disk.create(path, 0o600).unwrap();
        disk.sync_dir(folder).unwrap();
        for _ in 0..10 {
            let mut new = disk.create(other, 0o600).unwrap();
            new.append(b"new").unwrap();
            disk.rename(other, path).unwrap();
        }
        assert_eq!(nodes(), 11, "any of the names may be what a loss of power leaves");
        disk.sync_dir(folder).unwrap();
        assert_eq!((nodes(), disk.read(path).unwrap()), (2, b"new".to_vec()));
        file.append(b"still open").unwrap();
        drop(file);
        assert_eq!(nodes(), 1);
    }
}
