//! One round of the scanner: signals and the clock in, files looked at, read and parsed, changes out. Blocking;
//! it knows no runtime.
//!
//! Laws: what is missing is believed only while the directory itself is there, and only after it stayed so;
//! what looks unfinished is looked at once more before it is reported, at the first look too; a file that did not
//! change is not parsed.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_actors::env::Disk;
use tidegate_actors::problem::Serving;
use tokio::time::Instant;

use super::shared::Shared;
use super::walk::{Stamp, name_of, walk};
use super::watch::{Inbox, Signal, Watcher, is_manifest};

/// A file that is never left alone, or that somebody has open and left unfinished, is believed all the same, after so
/// many settle times.
const PATIENCE: u32 = 50;

/// A file that is gone is believed to be, after so many settle times: an editor that moved it out of its way may have
/// to wait for a busy disk.
const GONE: u32 = 5;

struct Known {
    stamp: Stamp,
    hash: Option<u128>,
}

struct Wait {
    due: Instant,
    until: Instant,
    /// The content that is believed if it is still there.
    doubted: Option<u128>,
    /// Whether who wrote it is known to be done.
    closed: bool,
}

struct Read {
    stamp: Stamp,
    /// Whether its content is believed whatever it is.
    believed: bool,
    /// Whether who wrote it is known to be done.
    closed: bool,
    /// The wait that led here, if any.
    waited: Option<Wait>,
}

#[derive(Default)]
struct Todo {
    read: BTreeMap<PathBuf, Read>,
    gone: BTreeSet<PathBuf>,
    unreadable: BTreeMap<PathBuf, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing is known yet, unless by an earlier scanner: everything is read.
    First,
    /// What changed is complete.
    AtOnce,
    /// What changed may be unfinished.
    Patiently,
}

/// See the module.
pub(super) struct Scan {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    inbox: Inbox,
    watcher: Option<Box<dyn Watcher>>,
    watched: BTreeMap<PathBuf, (u64, u64)>,
    known: BTreeMap<PathBuf, Known>,
    waiting: BTreeMap<PathBuf, Wait>,
    /// What the directory was when it was believed last.
    root: Option<(u64, u64)>,
    /// Whether it is there and is believed.
    there: bool,
    /// Whether there will be other rounds, so that what looks unfinished can be looked at again.
    patient: bool,
    /// Until when the first look waits for files that look unfinished, once it has begun.
    first_until: Option<Instant>,
    /// Directories that are not looked into, with the reason.
    closed: BTreeMap<PathBuf, String>,
    /// Those among them that should be.
    failed: BTreeSet<PathBuf>,
    left_out: usize,
    unwatched: Option<String>,
}

impl Scan {
    pub fn new(shared: Arc<Shared>, inbox: Inbox) -> Self {
        Self {
            disk: shared.env.disk.clone(),
            shared,
            inbox,
            watcher: None,
            watched: BTreeMap::new(),
            known: BTreeMap::new(),
            waiting: BTreeMap::new(),
            root: None,
            there: false,
            patient: false,
            first_until: None,
            closed: BTreeMap::new(),
            failed: BTreeSet::new(),
            left_out: 0,
            unwatched: None,
        }
    }

    /// Expects to be asked for further rounds.
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Watches with this from now on.
    pub fn watch_with(&mut self, watcher: Box<dyn Watcher>) {
        self.watcher = Some(watcher);
    }

    /// Says why nothing can be watched.
    pub fn cannot_watch(&mut self, reason: String) {
        self.unwatched = Some(reason);
    }

    /// Whether changes are noticed by looking alone.
    pub fn is_polling(&self) -> bool {
        self.watcher.is_none() || self.unwatched.is_some() || !self.there
    }

    /// When something has to be looked at again, whatever is told.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|wait| wait.due).min()
    }

    /// One round. With `rescan`, everything is looked at, whatever was told. Tells whether there was anything to do
    /// yet, other than to wait for a file to become complete.
    pub fn round(&mut self, now: Instant, rescan: bool) -> bool {
        let told = self.inbox.take();
        let mut todo = Todo::default();
        let root = self.shared.options.path.clone();
        if !self.root_is_there(&root, now, &mut todo) {
            self.waiting.clear();
            self.shared.commit(BTreeMap::new(), false);
            return true;
        }
        let mut looked = rescan || told.everything;
        if looked {
            self.look(&root, How::Patiently, now, &mut todo);
        }
        for (path, signal) in told.paths {
            looked |= !matches!(signal, Signal::Unfinished | Signal::Touched);
            match signal {
                Signal::Look => self.look(&path, How::Patiently, now, &mut todo),
                Signal::Swapped => self.look(&path, How::AtOnce, now, &mut todo),
                Signal::Unfinished | Signal::Touched => self.wait(path, now),
                Signal::Renamed => self.inspect(&path, None, true, now, &mut todo),
                Signal::Ready => {
                    self.waiting.remove(&path);
                    self.inspect(&path, None, false, now, &mut todo);
                }
            }
        }
        let due: Vec<_> = self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(path, _)| path.clone()).collect();
        for path in due {
            let Some(wait) = self.waiting.remove(&path) else { continue };
            looked = true;
            self.inspect(&path, Some(wait), true, now, &mut todo);
        }
        let updates = self.updates(todo, &root, now);
        self.report_directories(&root);
        let complete = self.is_complete(now);
        let unread = self.waiting.keys().any(|path| !self.known.contains_key(path));
        self.shared.set_unseen(unread || self.left_out > 0 || !self.failed.is_empty());
        self.shared.commit(updates, complete);
        looked
    }

    /// Whether everything has been taken in once. A file that is just being written when we start would make us
    /// begin with less than there is, and with less than proxies have from an earlier life of ours.
    fn is_complete(&mut self, now: Instant) -> bool {
        let until = *self.first_until.get_or_insert(now + self.shared.options.settle * PATIENCE);
        !self.patient || now >= until || self.waiting.keys().all(|path| self.known.contains_key(path))
    }

    /// Whether the directory is there and may be believed. If it has just come, it is looked through.
    fn root_is_there(&mut self, root: &Path, now: Instant, todo: &mut Todo) -> bool {
        let trouble = match self.disk.stat(root) {
            Ok(entry) => {
                let moved = self.root.is_some_and(|id| id.0 != entry.id.0);
                let is_empty = || entry.is_dir && self.disk.list(root).is_ok_and(|entries| entries.is_empty());
                if moved && !self.known.is_empty() && is_empty() {
                    Some("is empty and on another file system than before, so it was probably unmounted".to_owned())
                } else {
                    let how = if self.root.is_none() { How::First } else { How::AtOnce };
                    let again = !self.there || self.root != Some(entry.id);
                    (self.root, self.there) = (Some(entry.id), true);
                    if again {
                        self.look(root, how, now, todo);
                    }
                    // One that cannot be listed is not an empty one.
                    let closed = if again { self.closed.remove(root) } else { None };
                    if closed.is_some() && how == How::First {
                        self.root = None;
                    }
                    closed
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("does not exist".to_owned()),
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        if trouble.is_some() {
            self.there = false;
            let below = self.watched.keys().filter(|path| path.starts_with(root));
            for directory in below.cloned().collect::<Vec<_>>() {
                self.watched.remove(&directory);
                self.unwatch(&directory);
            }
            self.watch_parent(root);
        }
        let has_any = self.shared.has_any();
        let trouble = trouble.map(|reason| {
            let then = if has_any { "what it held last is kept until it is back" } else { "waiting for it" };
            let serving = if has_any { Serving::LastGood } else { Serving::Nothing };
            (format!("the directory {} {reason}; {then}", root.display()), serving)
        });
        self.shared.say("directory", "", trouble);
        self.there
    }

    /// The directory itself comes and goes in its parent.
    fn watch_parent(&mut self, root: &Path) {
        let Some(parent) = root.parent().and_then(|parent| self.disk.stat(parent).ok()) else { return };
        if self.watched.get(&parent.path) == Some(&parent.id) {
            return;
        }
        self.unwatch(&parent.path);
        if self.watcher.as_mut().is_some_and(|watcher| watcher.watch(&parent.path).is_ok()) {
            self.watched.insert(parent.path, parent.id);
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Some(watcher) = &mut self.watcher {
            watcher.unwatch(directory);
        }
    }

    /// Looks which files there are at or below a path, and which of them changed.
    fn look(&mut self, from: &Path, how: How, now: Instant, todo: &mut Todo) {
        let options = &self.shared.options;
        let root = options.path.clone();
        let (mut watcher, mut failure) = (self.watcher.take(), None);
        let mut entered = BTreeSet::new();
        let watched = &mut self.watched;
        let found = walk(&*self.disk, &root, from, options.max_depth, &mut |directory| {
            entered.insert(directory.path.clone());
            let Some(watcher) = &mut watcher else { return };
            let before = watched.get(&directory.path);
            // A number may be used again at once, so after big changes watching is asked for once more.
            if before == Some(&directory.id) && how == How::Patiently {
                return;
            }
            if before.is_some_and(|id| *id != directory.id) {
                watcher.unwatch(&directory.path);
            }
            match watcher.watch(&directory.path) {
                Ok(()) => drop(watched.insert(directory.path.clone(), directory.id)),
                Err(error) if matches!(error.source.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => failure = Some(error.to_string()),
            }
        });
        self.watcher = watcher;
        let is_left = |path: &PathBuf| path.starts_with(from) && !entered.contains(path);
        let left: Vec<_> = self.watched.keys().filter(|path| is_left(path)).cloned().collect();
        for directory in left {
            self.watched.remove(&directory);
            self.unwatch(&directory);
        }
        self.watch_parent(&root);
        if self.watcher.is_some() && (failure.is_some() || from == root) {
            self.unwatched = failure;
        }
        if from == root {
            self.left_out = 0;
        }

        self.closed.retain(|path, _| !path.starts_with(from));
        self.failed.retain(|path| !path.starts_with(from));
        if how == How::First {
            // An earlier scanner's files, of which this one has seen nothing yet.
            let earlier = self.shared.paths().into_iter().map(|name| root.join(&*name));
            self.known.extend(earlier.map(|path| (path, Known { stamp: Stamp::default(), hash: None })));
        }
        let is_closed = |path: &Path| found.failed.keys().any(|directory| path.starts_with(directory));
        let missing = |path: &&PathBuf| path.starts_with(from) && !found.files.contains_key(*path) && !is_closed(path);
        let missing: Vec<_> = self.known.keys().filter(missing).cloned().collect();
        for path in missing {
            self.wait_first(path, now);
        }
        let mut room = self.shared.options.max_files.saturating_sub(self.known.len());
        for (path, stamp) in found.files {
            match self.known.get(&path) {
                Some(known) if known.stamp == stamp && known.hash.is_some() => continue,
                Some(_) => {}
                None if room == 0 => {
                    self.left_out += 1;
                    continue;
                }
                None => room -= 1,
            }
            match how {
                How::Patiently => self.wait_first(path, now),
                How::AtOnce => {
                    todo.read.insert(path, Read { stamp, believed: false, closed: true, waited: None });
                }
                How::First => {
                    let believed = !self.patient || self.is_at_rest(&stamp);
                    todo.read.insert(path, Read { stamp, believed, closed: false, waited: None });
                }
            }
        }
        self.failed.extend(found.failed.keys().cloned());
        self.closed.extend(found.failed);
        self.closed.extend(found.refused);
    }

    /// Looks at one path that something was told about.
    fn inspect(&mut self, path: &Path, waited: Option<Wait>, settled: bool, now: Instant, todo: &mut Todo) {
        match self.disk.stat(path) {
            Ok(entry) if entry.is_dir => self.look(path, How::AtOnce, now, todo),
            Ok(entry) if is_manifest(path) => {
                let is_new = !self.known.contains_key(path);
                if is_new && self.known.len() >= self.shared.options.max_files {
                    self.left_out += 1;
                    return;
                }
                let believed = waited.as_ref().is_some_and(|wait| now >= wait.until);
                let closed = waited.as_ref().is_none_or(|wait| wait.closed);
                todo.read.insert(path.to_owned(), Read { stamp: Stamp::of(&entry), believed, closed, waited });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let below: Vec<_> = self.watched.keys().filter(|watched| watched.starts_with(path)).cloned().collect();
                for directory in below {
                    self.watched.remove(&directory);
                    self.unwatch(&directory);
                }
                let gone: Vec<_> = self.known.keys().filter(|known| known.starts_with(path)).cloned().collect();
                let settle = self.shared.options.settle;
                let early =
                    waited.as_ref().map(|wait| wait.until - settle * (PATIENCE - GONE)).filter(|due| now < *due);
                for path in gone {
                    if let (Some(due), Some(wait)) = (early, &waited) {
                        self.waiting.insert(path, Wait { due, doubted: None, ..*wait });
                    } else if settled {
                        todo.gone.insert(path);
                    } else {
                        self.wait_first(path, now);
                    }
                }
            }
            Err(error) if is_manifest(path) => {
                todo.unreadable.insert(path.to_owned(), format!("cannot be read: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Looks at a path once it has been left alone for a while.
    fn wait(&mut self, path: PathBuf, now: Instant) {
        let until = self.patience(now);
        let wait = self.waiting.entry(path).or_insert(Wait { due: now, until, doubted: None, closed: false });
        wait.due = wait.until.min(now + self.shared.options.settle);
        (wait.doubted, wait.closed) = (None, false);
    }

    /// Whether a file was last written so long ago that nobody is at it.
    fn is_at_rest(&self, stamp: &Stamp) -> bool {
        let now = self.shared.env.clock.wall();
        stamp.written().is_some_and(|written| written + self.shared.options.settle * PATIENCE < now)
    }

    fn patience(&self, now: Instant) -> Instant {
        now + self.shared.options.settle * PATIENCE
    }

    /// The same, unless it is being waited for already.
    fn wait_first(&mut self, path: PathBuf, now: Instant) {
        if !self.waiting.contains_key(&path) {
            self.wait(path, now);
        }
    }

    fn report_directories(&mut self, root: &Path) {
        let serving = Serving::Current;
        let unwatched = self.unwatched.as_ref().map(|reason| {
            let interval = self.shared.options.poll_interval;
            let remedy = "on Linux, raise fs.inotify.max_user_watches";
            (format!("{reason}; changes are looked for every {interval:?} instead ({remedy})"), serving)
        });
        self.shared.say("watching", "", unwatched);
        let left_out = (self.left_out > 0).then(|| {
            let limit = self.shared.options.max_files;
            (format!("{} files are not read: there are more than the limit of {limit}", self.left_out), serving)
        });
        self.shared.say("files", "", left_out);
        self.shared.say_directories(self.closed.iter().map(|(path, reason)| (name_of(root, path), reason.clone())));
    }
}
