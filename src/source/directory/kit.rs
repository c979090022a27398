//! What parsing needs to know: the types that are known by now, with a decoder each, and the size limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::Decoder;

use crate::source::schema::{Catalogue, Entry};

/// A known type.
pub(super) struct Known {
    /// What the catalogue says about it.
    pub entry: Entry,
    /// Makes its objects.
    pub decoder: Decoder,
}

/// See the module. Types are added while it is in use; none is ever removed, since an object that was seen
/// stays what it is.
pub(super) struct Kit {
    /// The configured name of the source.
    pub source: Name,
    /// The largest object, in bytes of JSON.
    pub max_object: usize,
    catalogue: RwLock<Catalogue>,
    known: RwLock<BTreeMap<(String, String), Arc<Known>>>,
}

impl Kit {
    pub fn new(source: Name, max_object: usize, catalogue: Catalogue) -> Self {
        let kit = Self { source, max_object, catalogue: RwLock::default(), known: RwLock::default() };
        catalogue.iter().for_each(|entry| kit.add(entry.clone()));
        kit
    }

    pub fn known(&self, group: &str, kind: &str) -> Option<Arc<Known>> {
        self.known.read().get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// Learns a type that somebody asked for; false if its kind was known already.
    pub fn learn(&self, resource_type: &ResourceType) -> bool {
        let new = self.known(resource_type.group(), resource_type.kind()).is_none();
        if new {
            self.add(Entry { resource_type: resource_type.clone(), schema: None, fails_closed: false });
        }
        new
    }

    /// `apiVersion` and kind that an unknown pair was most likely meant to be.
    pub fn suggest(&self, group: &str, kind: &str) -> Option<(String, String)> {
        let catalogue = self.catalogue.read();
        catalogue.suggest(group, kind).map(|found| (found.api_version(), found.kind().to_owned()))
    }

    fn add(&self, entry: Entry) {
        let key = (entry.resource_type.group().to_owned(), entry.resource_type.kind().to_owned());
        let decoder =
            Decoder::new(self.source.clone(), entry.resource_type.clone()).with_default_namespace("default".into());
        self.catalogue.write().insert(entry.clone());
        self.known.write().insert(key, Arc::new(Known { entry, decoder }));
    }
}
