//! Being told of changes: what the file system says, as few words as the scanner needs, coalesced by path. The
//! watching itself is a trait, so that a test can tell whatever it likes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}")]
pub struct WatchError {
    /// What was to be watched; empty for watching as such.
    pub path: PathBuf,
    /// Why not.
    pub source: notify::Error,
}

/// Watches single directories, without those in them.
pub trait Watcher: Send {
    /// Watches a directory from now on; once more does no harm.
    fn watch(&mut self, directory: &Path) -> Result<(), WatchError>;

    /// No longer.
    fn unwatch(&mut self, directory: &Path);
}

/// Makes watchers.
pub trait Watching: Send + Sync + 'static {
    /// A watcher that tells what it sees to the inbox for as long as it lives.
    fn start(&self, inbox: Inbox) -> Result<Box<dyn Watcher>, WatchError>;
}

/// What happened at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something complete is there now: closed after writing, or moved there.
    Ready,
    /// Something is going on: being written, just created, removed. More may follow.
    Unfinished,
    /// It is now known under another name.
    Renamed,
    /// Nothing that changes the content, most likely.
    Touched,
    /// A directory is there now, or changed in ways that were not told one by one.
    Look,
    /// The files in a directory were replaced all at once.
    Swapped,
}

/// More paths than this are not told one by one.
const MAX_PATHS: usize = 10_000;

/// Where signals wait for the scanner.
#[derive(Clone)]
pub struct Inbox {
    root: PathBuf,
    waiting: Arc<Mutex<Waiting>>,
    bell: Arc<Notify>,
}

/// What waits in an [`Inbox`].
#[derive(Default)]
pub(super) struct Waiting {
    pub paths: BTreeMap<PathBuf, Signal>,
    /// Some signals were lost.
    pub everything: bool,
}

impl Inbox {
    /// For what happens at or below a path.
    pub fn new(root: PathBuf) -> Self {
        Self { root, waiting: Arc::default(), bell: Arc::default() }
    }

    /// Tells of one path.
    pub fn tell(&self, path: &Path, signal: Signal) {
        if !path.starts_with(&self.root) {
            return;
        }
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        // Names with two dots are how mounted volumes swap their content under the links that everybody reads.
        let (path, signal) = match path.parent() {
            Some(parent) if path != self.root && name.starts_with("..") => (parent, Signal::Swapped),
            _ if path != self.root && name.starts_with('.') => return,
            _ => (path, signal),
        };
        let mut waiting = self.waiting.lock();
        if waiting.paths.len() >= MAX_PATHS {
            waiting.paths.clear();
            waiting.everything = true;
        }
        match waiting.paths.get_mut(path) {
            Some(old) if signal != Signal::Touched => *old = signal,
            Some(_) => {}
            None => drop(waiting.paths.insert(path.to_owned(), signal)),
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Tells that something was lost and everything must be looked at.
    pub fn tell_all(&self) {
        self.waiting.lock().everything = true;
        self.bell.notify_one();
    }

    /// Waits for signals.
    pub(super) async fn rings(&self) {
        self.bell.notified().await;
    }

    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock())
    }
}

/// Whether a file of this name is read.
pub(super) fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = |extension: &std::ffi::OsStr| ["yaml", "yml", "json"].iter().any(|known| extension == *known);
    !hidden && path.extension().is_some_and(known)
}

/// The file system's own events.
pub struct NotifyWatching;

struct NotifyWatcher(notify::RecommendedWatcher);

impl Watching for NotifyWatching {
    fn start(&self, inbox: Inbox) -> Result<Box<dyn Watcher>, WatchError> {
        let handler = move |event: notify::Result<notify::Event>| match event {
            Ok(event) => translate(&event, &inbox),
            // Which event was lost, nobody knows.
            Err(_) => inbox.tell_all(),
        };
        let watcher = notify::recommended_watcher(handler);
        let watcher = watcher.map_err(|source| WatchError { path: PathBuf::new(), source })?;
        Ok(Box::new(NotifyWatcher(watcher)))
    }
}

impl Watcher for NotifyWatcher {
    fn watch(&mut self, directory: &Path) -> Result<(), WatchError> {
        let watched = self.0.watch(directory, RecursiveMode::NonRecursive);
        watched.map_err(|source| WatchError { path: directory.to_owned(), source })
    }

    fn unwatch(&mut self, directory: &Path) {
        // It fails when the directory is gone, and its watch with it.
        let _ = self.0.unwatch(directory);
    }
}

fn translate(event: &notify::Event, inbox: &Inbox) {
    if event.need_rescan() {
        return inbox.tell_all();
    }
    let signal = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Signal::Ready,
        // Our own reading shows up here, too.
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::Folder) => Signal::Look,
        EventKind::Modify(ModifyKind::Metadata(_)) => Signal::Touched,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Signal::Ready,
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            // A manifest that became another one went together with its coming; one that became a backup
            // will be back under its name in a moment.
            if let [from, to] = event.paths.as_slice() {
                inbox.tell(to, Signal::Ready);
                if is_manifest(to) {
                    inbox.tell(from, Signal::Renamed);
                }
            }
            return;
        }
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => Signal::Unfinished,
        EventKind::Any | EventKind::Other => Signal::Look,
    };
    event.paths.iter().for_each(|path| inbox.tell(path, signal));
}
