//! The table of slots, and who may change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::error::{InformerError, NotSynced};
use super::slot::{Informer, RegisterOptions, SlotStatus, ensure_supervisor};
use crate::env::Env;
use crate::id::{Name, ResourceType};
use crate::persistence::Persistence;
use crate::port::Port;
use crate::problem::Problems;
use crate::source::Source;
use crate::store::{Lister, ObjectChanges, Subscription};
use crate::supervisor::{ChildSpec, Supervisor, SupervisorError};
use crate::watch;

/// Registers and unregisters resource types. Cheap to clone.
///
/// Stores and handlers run from their registration on, reflectors from [`start`](Self::start) on.
#[derive(Clone)]
pub struct InformerFactory {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    supervisor: Supervisor,
    problems: Problems,
    persistence: Option<Persistence>,
    sources: RwLock<BTreeMap<Name, Arc<dyn Source>>>,
    slots: RwLock<BTreeMap<(Name, ResourceType), Informer>>,
    started: AtomicBool,
    /// Held over a change of the table and of the supervisor's tree, so that they change together.
    changing: tokio::sync::Mutex<()>,
    version: watch::Sender<u64>,
}

impl InformerFactory {
    /// A factory without sources, whose actors become children of a supervisor.
    pub fn new(env: Env, supervisor: Supervisor, problems: Problems) -> Self {
        Self::with_persistence(env, supervisor, problems, None)
    }

    /// The same, whose types begin with what an earlier run had of them, and are kept for a later one.
    pub fn with_persistence(
        env: Env,
        supervisor: Supervisor,
        problems: Problems,
        persistence: Option<Persistence>,
    ) -> Self {
        let inner = Inner {
            env,
            supervisor,
            problems,
            persistence,
            sources: RwLock::default(),
            slots: RwLock::default(),
            started: AtomicBool::new(false),
            changing: tokio::sync::Mutex::default(),
            version: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes a source known. It is opened when a type of it is registered.
    ///
    /// # Errors
    /// When there is one of this name.
    pub fn add_source(&self, source: Arc<dyn Source>) -> Result<(), InformerError> {
        let mut sources = self.inner.sources.write();
        let name = source.name().clone();
        if sources.contains_key(&name) {
            return Err(InformerError::SourceExists { name });
        }
        sources.insert(name, source);
        Ok(())
    }

    /// Forgets a source: all its types are unregistered.
    ///
    /// # Errors
    /// None.
    pub async fn remove_source(&self, name: &str) -> Result<(), InformerError> {
        let _changing = self.inner.changing.lock().await;
        // From here on nothing of it can be registered, so that nothing of it is left.
        self.inner.sources.write().remove(name);
        for informer in self.informers().iter().filter(|informer| &**informer.source() == name) {
            self.remove_slot(informer).await;
        }
        Ok(())
    }

    /// Watches a type of a source, from now on or from the start on. A type that is registered already stays as
    /// it is, and gets the indexes that it lacks. One that is optional gives way to another version of it that is not.
    ///
    /// # Errors
    /// When there is no such source, the type is registered in another version, or the supervisor is stopping.
    pub async fn register(
        &self,
        source: &str,
        resource_type: ResourceType,
        mut options: RegisterOptions,
    ) -> Result<Informer, InformerError> {
        let _changing = self.inner.changing.lock().await;
        if let Some(registered) = self.get(source, &resource_type) {
            if !options.optional {
                registered.want();
            }
            for (name, function) in options.indexes {
                if !registered.lister().has_index(&name) {
                    registered.lister().add_index(&name, function);
                }
            }
            return Ok(registered);
        }
        let source = self.source(source, &resource_type)?;
        match self.other_version(source.name(), &resource_type) {
            None => {}
            Some(other) if other.is_optional() && !options.optional => self.remove_slot(&other).await,
            Some(other) => {
                return Err(InformerError::OtherVersion {
                    source_name: source.name().clone(),
                    wanted: resource_type,
                    registered: other.resource_type().clone(),
                });
            }
        }
        let Inner { env, supervisor, problems, persistence, .. } = &*self.inner;
        let kept = match persistence {
            Some(persistence) => {
                let mut kept = persistence.take(&*source, &resource_type).await;
                options.restore = options.restore.or_else(|| kept.snapshot.take());
                Some((persistence, kept))
            }
            None => None,
        };
        let informer = Informer::new(source.clone(), &resource_type, options, env, problems, supervisor);
        if let Some((persistence, kept)) = kept {
            persistence.attach(&informer, source, kept);
        }
        let started = async {
            self.add_store(&informer).await?;
            if self.inner.started.load(Ordering::SeqCst) { self.add_reflector(&informer).await } else { Ok(()) }
        };
        if let Err(error) = started.await {
            self.remove_children(&informer).await;
            if let Some(persistence) = &self.inner.persistence {
                persistence.detach(&informer);
            }
            return Err(error);
        }
        self.inner.slots.write().insert(informer.id(), informer.clone());
        self.changed();
        Ok(informer)
    }

    /// Stops watching a type. Its handlers end, its subscribers are told that its objects are gone, and its
    /// listers are empty from then on.
    ///
    /// # Errors
    /// When it is not registered.
    pub async fn unregister(&self, source: &str, resource_type: &ResourceType) -> Result<(), InformerError> {
        let _changing = self.inner.changing.lock().await;
        let informer = self.get(source, resource_type).ok_or_else(|| InformerError::NotRegistered {
            source_name: source.to_owned(),
            resource_type: resource_type.clone(),
        })?;
        self.remove_slot(&informer).await;
        Ok(())
    }

    /// Stops watching a type that nobody asked for by name; false if somebody did, or it is not watched.
    pub async fn unregister_optional(&self, source: &str, resource_type: &ResourceType) -> bool {
        let _changing = self.inner.changing.lock().await;
        let Some(informer) = self.get(source, resource_type).filter(Informer::is_optional) else { return false };
        self.remove_slot(&informer).await;
        true
    }

    /// Starts the reflectors of all types, of those to come too.
    ///
    /// # Errors
    /// When the supervisor is stopping.
    pub async fn start(&self) -> Result<(), InformerError> {
        let _changing = self.inner.changing.lock().await;
        if self.inner.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        for informer in self.informers() {
            self.add_reflector(&informer).await?;
        }
        Ok(())
    }

    /// Stops reflectors, handlers and stores, in this order. What is held stays readable.
    pub async fn shutdown(&self) {
        let _changing = self.inner.changing.lock().await;
        self.inner.started.store(false, Ordering::SeqCst);
        for informer in self.informers() {
            self.remove(&informer.reflector_path()).await;
        }
        for informer in self.informers() {
            informer.remove_handlers().await;
            self.remove(&informer.store_path()).await;
        }
    }

    /// A registered type.
    pub fn get(&self, source: &str, resource_type: &ResourceType) -> Option<Informer> {
        self.inner.slots.read().get(&(Name::from(source), resource_type.clone())).cloned()
    }

    /// Reads a registered type.
    pub fn lister(&self, source: &str, resource_type: &ResourceType) -> Option<Lister> {
        self.get(source, resource_type).map(|informer| informer.lister().clone())
    }

    /// Connects a port to the store of a registered type.
    pub fn subscribe(
        &self,
        source: &str,
        resource_type: &ResourceType,
        port: Port<ObjectChanges>,
    ) -> Option<Subscription> {
        self.get(source, resource_type).map(|informer| informer.subscribe(port))
    }

    /// All registered types, in the order of source and type.
    pub fn informers(&self) -> Vec<Informer> {
        self.inner.slots.read().values().cloned().collect()
    }

    /// The table of slots.
    pub fn slots(&self) -> Vec<SlotStatus> {
        self.informers().iter().map(Informer::status).collect()
    }

    /// The names of all sources.
    pub fn sources(&self) -> Vec<Name> {
        self.inner.sources.read().keys().cloned().collect()
    }

    /// Resolves whenever the table of slots has changed; the value counts the changes.
    pub fn on_change(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    /// Waits until every type that is registered now is complete, or known not to exist; optional ones aside.
    ///
    /// # Errors
    /// When that takes longer than `timeout`; the error names the types and what is known of the reasons.
    pub async fn wait_for_sync(&self, timeout: Duration) -> Result<(), NotSynced> {
        let informers: Vec<_> = self.informers().into_iter().filter(|informer| !informer.is_optional()).collect();
        let all = async {
            for informer in &informers {
                informer.lister().settled().await;
            }
        };
        tokio::select! {
            biased;
            () = all => return Ok(()),
            () = self.inner.env.clock.sleep(timeout) => {}
        }
        let missing = informers.iter().map(Informer::status).filter(|status| !status.sync.is_settled());
        let reason = |status: &SlotStatus| status.sync.reason().unwrap_or("no list yet").to_owned();
        let missing = missing.map(|status| {
            let reason = reason(&status);
            (status.source, status.resource_type, reason)
        });
        Err(NotSynced { missing: missing.collect() })
    }

    /// Sets the gauges that change by themselves as time goes by; call it when metrics are read.
    pub fn record_metrics(&self) {
        for informer in self.informers() {
            informer.lister().record_metrics();
        }
    }

    fn source(&self, name: &str, resource_type: &ResourceType) -> Result<Arc<dyn Source>, InformerError> {
        let sources = self.inner.sources.read();
        sources.get(name).cloned().ok_or_else(|| InformerError::UnknownSource {
            source_name: name.to_owned(),
            resource_type: resource_type.clone(),
            known: sources.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        })
    }

    /// The type in whatever version it is registered.
    fn other_version(&self, source: &Name, wanted: &ResourceType) -> Option<Informer> {
        let path = wanted.plural_and_group();
        let same =
            |informer: &&Informer| informer.source() == source && informer.resource_type().plural_and_group() == path;
        self.inner.slots.read().values().find(same).cloned()
    }

    async fn remove_slot(&self, informer: &Informer) {
        self.inner.slots.write().remove(&informer.id());
        informer.remove_handlers().await;
        self.remove_children(informer).await;
        if let Some(persistence) = &self.inner.persistence {
            persistence.forget(informer).await;
        }
        informer.lister().retire();
        if let Ok(source) = self.source(informer.source(), informer.resource_type()) {
            source.unwatched(informer.resource_type());
        }
        self.changed();
    }

    /// The store comes first and goes last: what is fed has somebody who takes it.
    async fn add_store(&self, informer: &Informer) -> Result<(), InformerError> {
        self.add_child("stores", true, informer.source(), informer.store_spec()).await
    }

    async fn add_reflector(&self, informer: &Informer) -> Result<(), InformerError> {
        self.add_child("sources", false, informer.source(), informer.reflector_spec()).await
    }

    /// Adds a child below the supervisors of its kind and source.
    async fn add_child(&self, of: &str, core: bool, source: &Name, child: ChildSpec) -> Result<(), InformerError> {
        let (supervisor, parent) = (&self.inner.supervisor, format!("{of}/{source}"));
        ensure_supervisor(supervisor, "", of, core).await?;
        ensure_supervisor(supervisor, of, source, core).await?;
        let operation = format!("add `{parent}/{}`", child.name());
        let added = supervisor.add_to(&parent, child).await;
        added.map_err(|source| InformerError::Supervise { operation, source })
    }

    async fn remove_children(&self, informer: &Informer) {
        self.remove(&informer.reflector_path()).await;
        self.remove(&informer.store_path()).await;
    }

    async fn remove(&self, path: &str) {
        match self.inner.supervisor.remove(path).await {
            // It was never started, or the whole tree is going.
            Ok(()) | Err(SupervisorError::NotFound { .. } | SupervisorError::Down { .. }) => {}
            Err(error) => tracing::warn!(%error, "cannot stop `{path}`"),
        }
    }

    fn changed(&self) {
        self.inner.version.send_modify(|version| *version += 1);
    }
}
