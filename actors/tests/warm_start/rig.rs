//! A life of an engine on a disk: one source, one type, and a door that can be shut between them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use tidegate_actors::env::Disk as _;
use tidegate_actors::id::{Name, ResourceType, Scope};
use tidegate_actors::informer::{Informer, RegisterOptions};
use tidegate_actors::object::Object;
use tidegate_actors::persistence::{PersistenceOptions, PersistenceStatus};
use tidegate_actors::source::{Cursor, Source, SourceEvent, SourceStream};
use tidegate_actors::testing::{MemoryDisk, MemorySource, Rig};
use tidegate_actors::watch;

pub fn things() -> ResourceType {
    ResourceType::new("example.test", "v1", "Thing", "things", Scope::Namespaced)
}

pub fn put(source: &MemorySource, name: &str, n: u64) {
    source.apply(&things(), Some("n"), name, &format!(r#""spec":{{"n":{n}}}"#));
}

pub fn delete(source: &MemorySource, name: &str) {
    source.delete(&things(), Some("n"), name);
}

/// `name n`, as tests spell an object.
pub fn spell(object: &Object) -> String {
    let json: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
    format!("{} {}", object.key().name, json["spec"]["n"])
}

/// A source behind a door; counts the lists that were begun.
#[derive(Clone)]
pub struct Door {
    inner: MemorySource,
    open: watch::Sender<bool>,
    lists: Arc<AtomicUsize>,
    pub fingerprint: String,
}

impl Source for Door {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let (inner, resource_type, lists) = (self.inner.clone(), resource_type.clone(), self.lists.clone());
        let mut open = self.open.subscribe();
        let opened = async move {
            let _ = open.wait_for(|open| *open).await;
            inner.open(&resource_type, from)
        };
        let told = stream::once(opened).flatten();
        Box::pin(told.inspect(move |event| {
            lists.fetch_add(usize::from(matches!(event, Ok(SourceEvent::Init))), Ordering::SeqCst);
        }))
    }

    fn fingerprint(&self, _: &ResourceType) -> String {
        self.fingerprint.clone()
    }
}

/// The names of the files that are there.
pub fn files(disk: &MemoryDisk) -> Vec<String> {
    let entries = disk.list(Path::new("snapshot")).unwrap();
    entries.iter().map(|entry| entry.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// See the module.
pub struct Life {
    pub rig: Rig,
    pub door: Door,
    pub things: Informer,
}

pub fn options() -> PersistenceOptions {
    PersistenceOptions::new("snapshot")
}

impl Life {
    pub async fn start(seed: u64, disk: &MemoryDisk, source: &MemorySource) -> Self {
        let life = Self::start_away(seed, disk, source).await;
        life.come_back();
        life
    }

    /// While the source does not answer.
    pub async fn start_away(seed: u64, disk: &MemoryDisk, source: &MemorySource) -> Self {
        Self::with(seed, disk, source, "", options()).await
    }

    pub async fn with(
        seed: u64,
        disk: &MemoryDisk,
        source: &MemorySource,
        fingerprint: &str,
        options: PersistenceOptions,
    ) -> Self {
        let rig = Rig::start_on(seed, disk, options).await.unwrap();
        let (open, lists) = (watch::Sender::new(false), Arc::default());
        let door = Door { inner: source.clone(), open, lists, fingerprint: fingerprint.to_owned() };
        rig.factory.add_source(Arc::new(door.clone())).unwrap();
        source.add_type(&things());
        let things = rig.factory.register("demo", things(), RegisterOptions::default()).await.unwrap();
        rig.factory.start().await.unwrap();
        Self { rig, door, things }
    }

    pub fn come_back(&self) {
        self.door.open.send_replace(true);
    }

    pub fn lists(&self) -> usize {
        self.door.lists.load(Ordering::SeqCst)
    }

    pub fn status(&self) -> PersistenceStatus {
        self.rig.persistence.as_ref().unwrap().status()
    }

    pub fn held(&self) -> Vec<String> {
        self.things.lister().list().iter().map(|object| spell(object)).collect()
    }
}
