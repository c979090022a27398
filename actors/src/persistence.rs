//! What outlives the process: the objects of every slot and where to follow them, in one file a slot.
//!
//! A log of batches, each with its checks, synced one by one; when half of it is of no use any more, or anything went
//! wrong, it is written anew beside itself and renamed. An embedded database would do all that too, but it would bring
//! its own way to the disk, past [`Disk`](crate::env::Disk) and thus past the faults and the simulation; one file a slot
//! also keeps harm to a slot, and is read by as many threads as there are slots.
//!
//! Laws: what is loaded is what the store held at some moment, and its cursor says no more than that; what is harmed is
//! named, set aside and never used; whoever feeds a store never waits for the disk, and what waits for the disk is
//! bounded by the number of keys.

mod batch;

mod error;

mod frame;

mod open;

mod read;

mod record;

mod seal;

mod slot;

mod status;

mod suspects;

mod writer;

/// For the fuzz targets.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(all(test, feature = "testing"))]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use error::{PersistenceError, Unusable};
pub use seal::{Sealer, Treatment};
pub use status::{KeptType, PersistenceStatus, RestoredType};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use self::open::Opened;
use self::record::Header;
pub(crate) use self::record::Position;
use self::slot::{Files, Readable};
use self::status::Figures;
use crate::env::Env;
use crate::id::{Name, ResourceType};
use crate::informer::{Informer, Snapshot};
use crate::object::Keyed;
use crate::port::Port;
use crate::problem::{Problem, Problems, Serving};
use crate::source::Source;
use crate::store::{ObjectChanges, Subscription};
use crate::supervisor::ChildSpec;

/// Where problems with files stand.
const SCOPE: &str = "snapshot";
/// What files are called in the end.
const EXTENSION: &str = "snap";

/// What is kept, and how.
#[derive(Clone)]
pub struct PersistenceOptions {
    /// The directory, which is nobody else's.
    pub directory: PathBuf,
    /// How long changes are gathered before they are written.
    pub gather: Duration,
    /// How often cursors that moved are written although no object changed.
    pub cursors: Duration,
    /// How long a file that failed is left alone at first; each failure doubles it, up to half a minute.
    pub retry: Duration,
    /// How long a file that nobody asks for is kept.
    pub unclaimed: Duration,
    /// The most bytes of all files together; a slot that does not fit in is left out.
    pub max_bytes: u64,
    /// What becomes of a type's objects.
    pub treatment: Arc<dyn Fn(&ResourceType) -> Treatment + Send + Sync>,
    /// Encrypts those that must not be kept as they are.
    pub sealer: Option<Arc<dyn Sealer>>,
    /// Whether an object can be used by those who read it. Of one that cannot, the version before it is kept.
    pub readable: Arc<Readable>,
}

impl PersistenceOptions {
    /// The defaults for a directory: everything is kept as it is.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            gather: Duration::from_millis(200),
            cursors: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            unclaimed: Duration::from_secs(3600),
            max_bytes: 4 << 30,
            treatment: Arc::new(|_| Treatment::Plain),
            sealer: None,
            readable: Arc::new(|_| true),
        }
    }
}

/// Keeps slots on disk. Cheap to clone.
#[derive(Clone)]
pub struct Persistence {
    shared: Arc<Shared>,
}

type SlotId = (Name, ResourceType);

struct Shared {
    env: Env,
    problems: Problems,
    options: PersistenceOptions,
    /// What was found at the start and nobody has asked for yet.
    opened: Mutex<Opened>,
    slots: Mutex<BTreeMap<SlotId, Arc<Slot>>>,
    wake: Arc<Notify>,
    status: Mutex<Told>,
    metrics: Metrics,
}

/// What outlives a writer.
#[derive(Default)]
struct Told {
    written: Option<Duration>,
    behind_since: Option<Instant>,
    failing: BTreeMap<PathBuf, String>,
    set_aside: Vec<PathBuf>,
}

struct Metrics {
    batches: metrics::Counter,
    bytes: metrics::Counter,
    anew: metrics::Counter,
    failed: metrics::Counter,
    corrupt: metrics::Counter,
    restored: metrics::Counter,
    size: metrics::Gauge,
    behind: metrics::Gauge,
    written: metrics::Gauge,
    left_out: metrics::Gauge,
    restored_types: metrics::Gauge,
}

/// One resource type of one source, on its way to the disk.
struct Slot {
    path: PathBuf,
    restored: Option<RestoredType>,
    informer: Informer,
    source: Arc<dyn Source>,
    port: Port<ObjectChanges>,
    _subscription: Subscription,
    /// Held while something is written, by whoever does; a writer that was killed may still be at it.
    files: Mutex<Files>,
    failure: Mutex<Failure>,
    figures: Mutex<Figures>,
}

#[derive(Default)]
struct Failure {
    count: u32,
    until: Option<Instant>,
}

/// What an earlier life left of a slot.
pub(crate) struct Restored {
    /// What it held; `None`: nothing that says anything.
    pub snapshot: Option<Snapshot>,
    found: Option<RestoredType>,
    files: Files,
}

impl Persistence {
    /// Looks which files there are, and begins to read them. Whoever asks for one of them waits for it.
    ///
    /// # Errors
    /// When the directory cannot be made or looked into.
    pub async fn open(env: &Env, problems: &Problems, options: PersistenceOptions) -> Result<Self, PersistenceError> {
        let (opened, set_aside) = Opened::new(env, &options).await?;
        let shared = Shared {
            env: env.clone(),
            problems: problems.clone(),
            options,
            opened: Mutex::new(opened),
            slots: Mutex::default(),
            wake: Arc::default(),
            status: Mutex::new(Told { set_aside, ..Told::default() }),
            metrics: Metrics::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The child that writes. It never escalates: without it everything works but a warm start.
    pub fn spec(&self, name: impl Into<Name>) -> ChildSpec {
        writer::spec(self.clone(), name)
    }

    /// Whether a type's objects are left out as its treatment wants it: without any, an empty type is kept all the same.
    pub fn leaves_out(&self, resource_type: &ResourceType) -> bool {
        match (self.shared.options.treatment)(resource_type) {
            Treatment::Plain => false,
            Treatment::Sealed => self.shared.options.sealer.is_none(),
            Treatment::Omitted => true,
        }
    }

    /// Whether a slot began with what an earlier life had left.
    pub fn is_restored(&self, informer: &Informer) -> bool {
        self.shared.slots.lock().get(&informer.id()).is_some_and(|slot| slot.restored.is_some())
    }

    /// Whether all that is held is on disk, as far as it has been told; for tests and for orderly ends.
    pub fn is_current(&self) -> bool {
        let slots: Vec<Arc<Slot>> = self.shared.slots.lock().values().cloned().collect();
        slots.iter().all(|slot| {
            let is_written = slot.files.try_lock().is_some_and(|files| !files.is_behind() && files.is_known());
            slot.port.depth() == 0 && is_written
        })
    }

    /// What an earlier life left of a slot, if it can be used.
    pub(crate) async fn take(&self, source: &dyn Source, resource_type: &ResourceType) -> Restored {
        let header = self.header(source, resource_type);
        let path = self.path(&header);
        let treatment = (self.shared.options.treatment)(resource_type);
        let files = Files::new(path.clone(), header.clone(), treatment);
        let mut restored = Restored { snapshot: None, found: None, files };
        let found = self.shared.opened.lock().take(&path);
        let Some(found) = found else { return restored };
        let content = found.content().await.and_then(|content| open::fitting(content, &header, treatment));
        let mut content = match content {
            Ok(content) => content,
            Err(unusable) => {
                self.refuse(&path, &unusable).await;
                return restored;
            }
        };
        content.tail.closed |= content.header.key.is_some() != (treatment == Treatment::Sealed);
        let objects = std::mem::take(&mut content.objects);
        restored.files.found(objects.iter().cloned().map(Keyed), content.position.clone(), content.tail);
        let is_known = content.position.is_known();
        let Position { cursor, complete, absent, at } = content.position;
        if is_known {
            source.restored(resource_type, &objects);
            self.shared.metrics.restored.increment(objects.len() as u64);
            restored.found = Some(RestoredType { objects: objects.len(), at });
            restored.snapshot = Some(Snapshot { objects, cursor, complete, absent, at });
        }
        restored
    }

    /// Keeps a slot from now on; before its store has anything.
    pub(crate) fn attach(&self, informer: &Informer, source: Arc<dyn Source>, restored: Restored) {
        let path = self.path(&self.header(&*source, informer.resource_type()));
        let name = format!("snapshot/{}/{}", informer.source(), informer.resource_type().plural_and_group());
        let port = Port::new(name, &self.shared.env, ObjectChanges::default());
        let wake = self.shared.wake.clone();
        port.connect(Arc::new(move || wake.notify_one()));
        let slot = Slot {
            path,
            restored: restored.found,
            _subscription: informer.subscribe(port.clone()),
            informer: informer.clone(),
            source,
            port,
            figures: Mutex::new(restored.files.figures()),
            files: Mutex::new(restored.files),
            failure: Mutex::default(),
        };
        self.shared.slots.lock().insert(informer.id(), Arc::new(slot));
    }

    /// A slot is no longer followed; its file stays.
    pub(crate) fn detach(&self, informer: &Informer) {
        if let Some(slot) = self.shared.slots.lock().remove(&informer.id()) {
            slot.port.disconnect();
        }
    }

    /// A slot is no longer wanted: its file goes too.
    pub(crate) async fn forget(&self, informer: &Informer) {
        let Some(slot) = self.shared.slots.lock().remove(&informer.id()) else { return };
        slot.port.disconnect();
        let path = slot.path.clone();
        let removed = self.shared.env.on_disk(move |disk| slot.files.lock().remove(disk)).await;
        self.settle(&path, removed.err().map(|error| format!("it cannot be removed: {error}")));
    }

    fn header(&self, source: &dyn Source, resource_type: &ResourceType) -> Header {
        Header {
            source: source.name().clone(),
            resource_type: resource_type.clone(),
            fingerprint: source.fingerprint(resource_type),
            key: None,
        }
    }

    /// A name that people recognise, and that no other slot has.
    fn path(&self, header: &Header) -> PathBuf {
        let of = &header.resource_type;
        let shown = format!("{}_{}_{}", header.source, of.plural_and_group(), of.version());
        let exact = xxh3_64(format!("{}\n{of}\n{}\n{:?}", header.source, of.kind(), of.scope()).as_bytes());
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let shown: String = shown.chars().map(plain).take(150).collect();
        self.shared.options.directory.join(format!("{shown}_{exact:016x}.{EXTENSION}"))
    }

    /// A file that was there is of no use.
    async fn refuse(&self, path: &Path, unusable: &Unusable) {
        let mut reason = unusable.to_string();
        if unusable.is_corrupt() {
            self.shared.metrics.corrupt.increment(1);
            let aside = path.to_owned();
            reason = match self.shared.env.on_disk(move |disk| open::set_aside(disk, &aside)).await {
                Ok(kept) => {
                    let reason = format!("{reason}; it was set aside as {}", kept.display());
                    self.shared.status.lock().set_aside.push(kept);
                    reason
                }
                Err(error) => format!("{reason}; it could not be set aside: {error}"),
            };
        }
        tracing::warn!(file = %path.display(), reason, "a snapshot is not used; its type is listed");
        self.settle(path, Some(reason));
    }

    /// Says, or takes back, what is wrong with a file.
    fn settle(&self, path: &Path, wrong: Option<String>) {
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut told = self.shared.status.lock();
        match wrong {
            None => {
                told.failing.remove(path);
                self.shared.problems.clear(SCOPE, &id);
            }
            Some(why) => {
                let place = path.display().to_string();
                let reason = format!("this part of the snapshot is not up to date: {why}");
                let problem = Problem { place, object: None, field: String::new(), reason, serving: Serving::Current };
                self.shared.problems.set(SCOPE, &id, problem);
                told.failing.insert(path.to_owned(), why);
            }
        }
    }
}

impl Metrics {
    fn new() -> Self {
        Self {
            batches: metrics::counter!("tidegate_snapshot_batches_total"),
            bytes: metrics::counter!("tidegate_snapshot_bytes_total"),
            anew: metrics::counter!("tidegate_snapshot_rewrites_total"),
            failed: metrics::counter!("tidegate_snapshot_errors_total"),
            corrupt: metrics::counter!("tidegate_snapshot_corrupt_total"),
            restored: metrics::counter!("tidegate_snapshot_restored_objects_total"),
            size: metrics::gauge!("tidegate_snapshot_bytes"),
            behind: metrics::gauge!("tidegate_snapshot_behind_seconds"),
            written: metrics::gauge!("tidegate_snapshot_written_timestamp_seconds"),
            left_out: metrics::gauge!("tidegate_snapshot_left_out_types"),
            restored_types: metrics::gauge!("tidegate_snapshot_restored_types"),
        }
    }
}
