//! A scanner in a world of the test's own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use parking_lot::Mutex;
use tidegate_actors::env::{Disk, DiskEntry};
use tidegate_actors::id::Scope;
use tidegate_actors::source::SourceEvent;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::source::directory::*;

/// Files in memory. A directory is there as long as it was made or something is in it.
#[derive(Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, (Vec<u8>, u64)>>,
    directories: Mutex<BTreeMap<PathBuf, (u64, u64)>>,
    pub denied: Mutex<Vec<PathBuf>>,
    writes: Mutex<u64>,
    pub reads: Mutex<usize>,
    /// Everything was written long ago.
    pub at_rest: Mutex<bool>,
}

/// When everything else is written, give or take some seconds.
static BEGUN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

impl MemoryDisk {
    pub fn write(&self, path: &str, content: &str) {
        let mut writes = self.writes.lock();
        *writes += 1;
        self.files.lock().insert(path.into(), (content.into(), *writes));
    }

    pub fn make(&self, path: &str, id: (u64, u64)) {
        self.directories.lock().insert(path.into(), id);
    }

    fn is_inside(path: &Path, directory: &Path) -> bool {
        path != directory && path.starts_with(directory)
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        *self.reads.lock() += 1;
        if self.denied.lock().iter().any(|denied| denied == path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let files = self.files.lock();
        files.get(path).map(|(content, _)| content.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_atomically(&self, _: &Path, _: &[u8], _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().retain(|file, _| !file.starts_with(path));
        self.directories.lock().retain(|directory, _| !directory.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        if self.denied.lock().iter().any(|denied| denied == path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if !self.stat(path)?.is_dir {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let all: Vec<_> = self.files.lock().keys().chain(self.directories.lock().keys()).cloned().collect();
        let child = |full: &PathBuf| full.strip_prefix(path).ok()?.components().next().map(|first| path.join(first));
        let mut children: Vec<_> = all.iter().filter(|full| Self::is_inside(full, path)).filter_map(child).collect();
        children.sort();
        children.dedup();
        children.iter().map(|child| self.stat(child)).collect()
    }

    fn stat(&self, path: &Path) -> io::Result<DiskEntry> {
        if let Some((content, version)) = self.files.lock().get(path) {
            let begun = if *self.at_rest.lock() { SystemTime::UNIX_EPOCH } else { *BEGUN };
            let modified = Some(begun + Duration::from_secs(*version));
            let (path, len) = (path.into(), content.len() as u64);
            return Ok(DiskEntry { path, is_dir: false, special: None, len, modified, id: (1, 1) });
        }
        let made = self.directories.lock().get(path).copied();
        let filled = self.files.lock().keys().any(|file| Self::is_inside(file, path));
        let id = made.or(filled.then_some((1, path.as_os_str().len() as u64))).ok_or(io::ErrorKind::NotFound)?;
        Ok(DiskEntry { path: path.into(), is_dir: true, special: None, len: 0, modified: None, id })
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Hands the scanner's inbox to the test, or refuses to watch.
#[derive(Default)]
pub struct TestWatching {
    pub inbox: Mutex<Option<Inbox>>,
    pub refuses: bool,
}

pub struct NoWatcher;

impl Watcher for NoWatcher {
    fn watch(&mut self, _: &Path) -> Result<(), WatchError> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) {}
}

impl Watching for TestWatching {
    fn start(&self, inbox: Inbox) -> Result<Box<dyn Watcher>, WatchError> {
        if self.refuses {
            let source = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
            return Err(WatchError { path: PathBuf::new(), source });
        }
        *self.inbox.lock() = Some(inbox);
        Ok(Box::new(NoWatcher))
    }
}

pub struct Rig {
    pub disk: Arc<MemoryDisk>,
    pub watching: Arc<TestWatching>,
    pub source: Arc<DirectorySource>,
    pub scanner: Arc<Scanner>,
    pub problems: Problems,
    pub running: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

pub fn mk_type(kind: &str, version: &str) -> ResourceType {
    ResourceType::new("test.io", version, kind, &kind.to_lowercase(), Scope::Namespaced)
}

pub fn route(name: &str, value: u32) -> String {
    format!("---\napiVersion: test.io/v1\nkind: Route\nmetadata: {{name: {name}}}\nspec: {{v: {value}}}\n")
}

impl Rig {
    pub fn new() -> Self {
        Self::with(TestWatching::default(), |_| {})
    }

    pub fn with(watching: TestWatching, adjust: impl FnOnce(&mut Options)) -> Self {
        let disk = Arc::new(MemoryDisk::default());
        let env = Env { disk: disk.clone(), ..Env::system() };
        let (watching, problems) = (Arc::new(watching), Problems::default());
        let mut options = Options::new("dir", "/m");
        adjust(&mut options);
        let catalogue = Catalogue::new().with_unchecked(mk_type("Route", "v1"));
        let made = DirectorySource::with_watching(options, env, problems.clone(), catalogue, watching.clone());
        let (source, scanner) = made.unwrap();
        Self { disk, watching, source, scanner: Arc::new(scanner), problems, running: None }
    }

    pub fn start(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let scanner = self.scanner.clone();
        let run = async move {
            let stopped = async move { drop(stopped.await) };
            scanner.run(stopped).await.unwrap();
        };
        self.running = Some((stop, tokio::spawn(run)));
    }

    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        drop(stop);
        task.await.unwrap();
    }

    pub async fn started(files: &[(&str, &str)]) -> Self {
        let mut rig = Self::new();
        rig.disk.make("/m", (1, 1));
        files.iter().for_each(|(path, text)| rig.disk.write(path, text));
        rig.start();
        rig.source.ready().await;
        rig
    }

    pub fn tell(&self, path: &str, signal: Signal) {
        self.watching.inbox.lock().as_ref().unwrap().tell(Path::new(path), signal);
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.list().into_iter().map(|(_, problem)| problem.to_string()).collect()
    }

    pub fn open(&self) -> Subscription {
        self.open_as(&mk_type("Route", "v1"), None)
    }

    pub fn open_as(&self, resource_type: &ResourceType, from: Option<Cursor>) -> Subscription {
        Subscription { stream: self.source.open(resource_type, from), cursor: None }
    }
}

pub struct Subscription {
    pub stream: SourceStream,
    pub cursor: Option<Cursor>,
}

impl Subscription {
    /// What comes until there is a cursor: `init +a=1 done` or `+a=1 -b`.
    pub async fn next(&mut self) -> String {
        let mut told = Vec::new();
        loop {
            let spell = |object: &tidegate_actors::object::Object| {
                let value: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
                format!("+{}={}", object.key().name, value["spec"]["v"])
            };
            let next = timeout(Duration::from_secs(120), self.stream.next()).await;
            match next.expect("an event").unwrap().unwrap() {
                SourceEvent::Init => told.push("init".to_owned()),
                SourceEvent::InitApply(object) | SourceEvent::Apply(object) => told.push(spell(&object)),
                SourceEvent::Delete(key) => told.push(format!("-{}", key.name)),
                SourceEvent::InitKeep(key) => panic!("a directory knows its last good versions itself: {key}"),
                SourceEvent::InitDone(cursor) => {
                    self.cursor = Some(cursor);
                    told.push("done".to_owned());
                    return told.join(" ");
                }
                SourceEvent::Bookmark(cursor) => {
                    self.cursor = Some(cursor);
                    return told.join(" ");
                }
            }
        }
    }

    pub async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.stream.next()).await.is_err()
    }
}
