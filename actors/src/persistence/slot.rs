//! What is on disk of one resource type of one source, and what should be. Written by one caller at a time, blocking.
//!
//! Laws: a batch is synced before the next is begun; after any error the file is written anew under another name, and
//! takes its own when it is whole; a position never says more than the objects that are written before it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Batch;
use super::frame::{FRAME, Frame, PRELUDE, Prelude, Role, VERSION};
use super::read::Tail;
use super::record::{Header, Position, size};
use super::seal::{Sealer, Treatment};
use super::status::Figures;
use super::suspects::{Poison, Suspects};
use crate::Set;
use crate::env::{Disk, DiskFile};
use crate::id::ObjectKey;
use crate::object::{Keyed, Object};
use crate::store::ObjectChanges;

/// Readable by the owner alone.
const MODE: u32 = 0o600;
/// What a file may hold in vain before it is written anew, beside as much as it holds of use; in tests little, so that
/// small files are written anew too.
const WASTE: u64 = if cfg!(test) { 400 } else { 1 << 20 };

/// Whether an object can be used, as far as those who read it know.
pub(super) type Readable = dyn Fn(&Object) -> bool + Send + Sync;

/// See the module.
pub(super) struct Files {
    path: PathBuf,
    header: Header,
    treatment: Treatment,
    /// What the file holds, or should.
    mirror: Set<Keyed>,
    /// Objects whose newest version is of no use, so that the one before it is kept.
    held_back: Set<ObjectKey>,
    /// Those of which that may yet turn out.
    suspects: Suspects,
    /// Keys that differ from what the file holds.
    dirty: Set<ObjectKey>,
    /// The mirror is what was found; what was told since may leave out what came and went in between.
    unchecked: bool,
    position: Position,
    /// What the file says; `None`: it is not there, or of no use.
    written: Option<Position>,
    file: Option<Box<dyn DiskFile>>,
    tail: Tail,
    /// There is no file because of how the type is to be treated.
    left_out: bool,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub bytes: u64,
    pub anew: bool,
}

impl Files {
    pub fn new(path: PathBuf, header: Header, treatment: Treatment) -> Self {
        let tail = Tail { salt: 0, batch: 0, length: 0, live: 0, closed: true };
        Self {
            path,
            header,
            treatment,
            mirror: Set::default(),
            held_back: Set::default(),
            suspects: Suspects::default(),
            dirty: Set::default(),
            unchecked: false,
            position: Position::default(),
            written: None,
            file: None,
            tail,
            left_out: false,
        }
    }

    /// What the file was found to hold.
    pub fn found(&mut self, objects: impl Iterator<Item = Keyed>, position: Position, tail: Tail) {
        self.mirror = objects.collect();
        self.unchecked = true;
        (self.position, self.written, self.tail) = (position.clone(), Some(position), tail);
    }

    /// Takes in changes of the store; says whether there were any.
    pub fn absorb(&mut self, changes: &mut ObjectChanges, readable: &Readable) -> bool {
        let mut any = false;
        while let Some(batch) = changes.begin() {
            any = true;
            for (key, change) in batch.iter() {
                self.change(key, change.new.as_ref().map(|new| Keyed(new.clone())), readable);
            }
            changes.commit();
        }
        any
    }

    /// Compares what was found with what the store holds, once it holds that and what came after it.
    pub fn check(&mut self, held: impl FnOnce() -> Vec<Arc<Object>>, readable: &Readable) {
        if !std::mem::take(&mut self.unchecked) {
            return;
        }
        let held: Set<Keyed> = held().into_iter().map(Keyed).collect();
        let gone: Vec<ObjectKey> = self.mirror.difference(&held).map(|gone| gone.0.key().clone()).collect();
        gone.iter().for_each(|key| self.change(key, None, readable));
        held.into_iter().for_each(|Keyed(object)| {
            let key = object.key().clone();
            self.change(&key, Some(Keyed(object)), readable);
        });
    }

    fn change(&mut self, key: &ObjectKey, new: Option<Keyed>, readable: &Readable) {
        let old = self.mirror.get(key);
        match new {
            Some(new) => {
                if old.is_some_and(|old| Arc::ptr_eq(&old.0, &new.0)) {
                    self.held_back.remove(key);
                    return;
                }
                // Who reads it keeps its last good version, and has to find that again.
                let same = old.filter(|old| old.0.uid() == new.0.uid());
                if same.is_some_and(|old| !readable(&new.0) && readable(&old.0)) {
                    self.held_back.insert(key.clone());
                    return;
                }
                match same.cloned() {
                    Some(before) => self.suspects.add(key, before),
                    None => self.suspects.forget(key),
                }
                self.held_back.remove(key);
                self.mirror.replace(new);
            }
            None => {
                self.held_back.remove(key);
                self.suspects.forget(key);
                if self.mirror.take(key).is_none() {
                    return;
                }
            }
        }
        self.dirty.insert(key.clone());
    }

    /// Looks whether somebody cannot compute with what came lately, whose versions before are kept then; `held` is
    /// what the store holds of an object.
    pub fn judge(&mut self, poison: &Poison<'_>, held: impl Fn(&ObjectKey) -> Option<Arc<Object>>) {
        if self.suspects.is_empty() {
            return;
        }
        let (instead, free) = self.suspects.judge(poison);
        for before in instead {
            self.dirty.insert(before.0.key().clone());
            self.mirror.replace(before);
        }
        for (key, object) in free.into_iter().filter_map(|key| held(&key).map(|object| (key, object))) {
            self.mirror.replace(Keyed(object));
            self.dirty.insert(key);
        }
        self.reached(self.position.clone());
    }

    /// Whether another look is due although nothing may change.
    pub fn has_suspects(&self) -> bool {
        self.suspects.are_open()
    }

    /// Up to where the changes go that were taken in.
    pub fn reached(&mut self, mut position: Position) {
        if self.held_back() > 0 {
            // What is held back is told again by a list only.
            position.cursor = None;
        }
        self.position = position;
    }

    /// Whether there is anything to say of the type.
    pub fn is_known(&self) -> bool {
        self.position.is_known()
    }

    /// Whether the file says something else than it should.
    pub fn is_behind(&self) -> bool {
        let says = |position: &Position| (position.cursor.clone(), position.complete, position.absent.is_some());
        self.is_known() && (!self.dirty.is_empty() || self.written.as_ref().map(says) != Some(says(&self.position)))
    }

    /// How long the file is.
    pub fn length(&self) -> u64 {
        if self.written.is_some() { self.tail.length } else { 0 }
    }

    /// Of how many objects an earlier version is kept.
    fn held_back(&self) -> usize {
        self.held_back.len() + self.suspects.caught()
    }

    /// What is said of it.
    pub fn figures(&self) -> Figures {
        Figures { bytes: self.length(), left_out: self.left_out, held_back: self.held_back() }
    }

    /// Writes what the file lacks; it may have so many bytes.
    pub fn write(&mut self, disk: &dyn Disk, sealer: Option<&dyn Sealer>, salt: u64, room: u64) -> io::Result<Done> {
        if !self.is_behind() {
            return Ok(Done::default());
        }
        let sealer = match self.treatment {
            Treatment::Plain => None,
            Treatment::Sealed if sealer.is_some() => sealer,
            // An empty store gives nothing away.
            Treatment::Sealed | Treatment::Omitted if self.mirror.is_empty() => None,
            Treatment::Sealed | Treatment::Omitted => return self.leave_out(disk),
        };
        let wasted = self.tail.length.saturating_sub(self.tail.live);
        let tight = self.tail.length > room;
        let anew = self.written.is_none() || self.tail.closed || tight || wasted > self.tail.live + WASTE;
        if anew && self.mirror.iter().map(|Keyed(object)| size(object.key(), object.raw())).sum::<u64>() > room {
            // What is on disk would be out of date for good.
            self.remove(disk)?;
            let reason = "the snapshot would be larger than it may be, so this part is left out; raise its limit";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        // Until it has succeeded, nobody knows what the file holds.
        let written = self.written.take();
        let before = self.tail.length;
        if anew {
            self.file = None;
            self.write_anew(disk, sealer, salt).inspect_err(|_| {
                // It may be why the disk is full. That it cannot be removed is no news.
                let _ = disk.remove(&self.fresh());
            })?;
        } else {
            self.append(disk, sealer).inspect_err(|_| self.file = None)?;
        }
        drop(written);
        self.left_out = false;
        self.dirty.clear();
        self.written = Some(self.position.clone());
        let bytes = if anew { self.tail.length } else { self.tail.length - before };
        Ok(Done { bytes, anew })
    }

    /// Takes the file away, for good.
    pub fn remove(&mut self, disk: &dyn Disk) -> io::Result<()> {
        (self.file, self.written) = (None, None);
        remove(disk, &self.path)
    }

    fn leave_out(&mut self, disk: &dyn Disk) -> io::Result<Done> {
        if !self.left_out {
            self.remove(disk)?;
        }
        self.dirty.clear();
        self.written = Some(self.position.clone());
        (self.tail.closed, self.tail.length, self.left_out) = (true, 0, true);
        Ok(Done::default())
    }

    fn fresh(&self) -> PathBuf {
        fresh(&self.path)
    }

    fn write_anew(&mut self, disk: &dyn Disk, sealer: Option<&dyn Sealer>, salt: u64) -> io::Result<()> {
        let fresh = self.fresh();
        let mut file = disk.create(&fresh, MODE)?;
        let mut start = Vec::new();
        Prelude { version: VERSION, salt }.write(&mut start);
        let mut payload = Vec::new();
        let header = Header { key: sealer.map(|sealer| sealer.key_id().to_owned()), ..self.header.clone() };
        header.write(&mut payload);
        Frame { batch: 0, role: Role::Header, at: PRELUDE, payload: &payload }.write(salt, &mut start);
        file.append(&start)?;
        let mut batch = Batch::new(&mut *file, sealer, salt, 0, PRELUDE + FRAME + payload.len());
        let mut live = 0;
        for Keyed(object) in &self.mirror {
            batch.put(object.key(), object.raw())?;
            live += size(object.key(), object.raw());
        }
        let length = batch.commit(&self.position)? as u64;
        file.sync()?;
        disk.rename(&fresh, &self.path)?;
        disk.sync_dir(directory(&self.path))?;
        self.file = Some(file);
        self.tail = Tail { salt, batch: 1, length, live, closed: false };
        Ok(())
    }

    fn append(&mut self, disk: &dyn Disk, sealer: Option<&dyn Sealer>) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => disk.open_end(&self.path)?,
        };
        let Tail { salt, batch, length, .. } = self.tail;
        let at = usize::try_from(length).map_err(io::Error::other)?;
        let mut batch = Batch::new(&mut *file, sealer, salt, batch, at);
        for key in &self.dirty {
            match self.mirror.get(key) {
                Some(Keyed(object)) => batch.put(key, object.raw())?,
                None => batch.delete(key)?,
            }
        }
        let length = batch.commit(&self.position)? as u64;
        file.sync()?;
        self.file = Some(file);
        // What is of use is counted when the file is written anew; until then all that is added counts as waste.
        (self.tail.length, self.tail.batch) = (length, self.tail.batch + 1);
        Ok(())
    }
}

/// Under which name a file is written before it takes its own.
pub(super) fn fresh(path: &Path) -> PathBuf {
    path.with_extension("fresh")
}

/// Takes a file away, for good: one that came back after a loss of power would be believed.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.sync_dir(directory(path)),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
