//! Resource types and their objects, as the admin server shows and changes them.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_actors::id::ResourceType;
use tidegate_actors::informer::{Informer, InformerFactory, RegisterOptions};
use tidegate_actors::object::Object;
use tidegate_actors::persistence::Persistence;
use tidegate_actors::queue::Phase;

use crate::admin::state::{Catalogue, Slot, SyncPhase};
use crate::source::schema;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Types {
    factory: InformerFactory,
    known: Arc<schema::Catalogue>,
    persistence: Option<Persistence>,
}

impl Types {
    pub fn new(factory: &InformerFactory, known: &schema::Catalogue, persistence: Option<&Persistence>) -> Self {
        Self { factory: factory.clone(), known: Arc::new(known.clone()), persistence: persistence.cloned() }
    }

    /// Why a type has no complete list yet, with what could be done so that the next start has one.
    fn pending(&self, informer: &Informer, reason: Option<String>) -> SyncPhase {
        let left_out = |persistence: &Persistence| persistence.leaves_out(informer.resource_type());
        if !self.persistence.as_ref().is_some_and(left_out) {
            return SyncPhase::Pending(reason);
        }
        let advice = "the snapshot leaves it out, since what is secret is not kept without a `snapshot.key_file`";
        SyncPhase::Pending(Some(reason.map_or_else(|| advice.to_owned(), |reason| format!("{reason}; {advice}"))))
    }
}

#[async_trait]
impl Catalogue for Types {
    fn slots(&self) -> Vec<Slot> {
        let slot = |informer: Informer| {
            let status = informer.status();
            let phase = match status.sync.phase {
                Phase::Pending => self.pending(&informer, None),
                Phase::Synced => SyncPhase::Synced,
                Phase::Absent(reason) => SyncPhase::Absent(reason),
                Phase::Degraded(reason) if status.sync.complete => SyncPhase::Stale(reason),
                Phase::Degraded(reason) => self.pending(&informer, Some(reason)),
            };
            Slot {
                source: status.source,
                resource_type: status.resource_type,
                discovered: informer.is_optional(),
                objects: status.objects,
                phase,
                age: informer.lister().age(),
            }
        };
        self.factory.informers().into_iter().map(slot).collect()
    }

    fn objects(&self, source: &str, resource_type: &ResourceType) -> Vec<Arc<Object>> {
        self.factory.lister(source, resource_type).map(|lister| lister.list()).unwrap_or_default()
    }

    async fn register(&self, resource_type: &ResourceType) -> Result<(), String> {
        let known = self.known.get(resource_type.group(), resource_type.kind());
        if let Some(known) = known.filter(|known| known.resource_type.version() != resource_type.version()) {
            let version = known.resource_type.version();
            return Err(format!("{} is read in version {version}; ask for that one", resource_type.kind()));
        }
        for source in self.factory.sources() {
            let registered = self.factory.register(&source, resource_type.clone(), RegisterOptions::default()).await;
            registered.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn unregister(&self, resource_type: &ResourceType) -> Result<(), String> {
        for source in self.factory.sources() {
            if self.factory.get(&source, resource_type).is_some() {
                let removed = self.factory.unregister(&source, resource_type).await;
                removed.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}
