//! Objects that cannot be read, named with the reason, for as long as that is so.
//!
//! Law: a reason says the place and the rule, never what stands there.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tidegate_actors::id::{Name, ObjectKey, ObjectRef, ResourceType};
use tidegate_actors::problem::{Problem, Problems, Serving};

use super::identity::Identity;

/// Where a cluster's problems stand.
pub(super) fn scope(source: &str) -> String {
    format!("source/{source}")
}

/// Those of one type.
pub(super) struct Quarantine {
    source: Name,
    resource_type: ResourceType,
    /// A broken version must not keep the last good one alive.
    pub fails_closed: bool,
    problems: Problems,
    /// What stands by its id, by the namespace whose stream said so.
    standing: Mutex<BTreeMap<Option<Name>, BTreeMap<String, Identity>>>,
}

/// Those that a list has named so far.
pub(super) type Named = BTreeSet<String>;

impl Quarantine {
    pub fn new(source: &Name, resource_type: &ResourceType, fails_closed: bool, problems: Problems) -> Self {
        let (source, resource_type) = (source.clone(), resource_type.clone());
        Self { source, resource_type, fails_closed, problems, standing: Mutex::default() }
    }

    /// An object cannot be read. `held`: an earlier version of it may be.
    pub fn add(&self, stream: &Option<Name>, identity: &Identity, reason: &str, held: bool, named: &mut Named) {
        let key = identity.key(&self.source, &self.resource_type);
        let namespace = identity.namespace.as_deref().or(stream.as_deref());
        let name = identity.name.as_deref().unwrap_or("(no name)");
        let place = [Some(&*self.source), namespace, Some(name)].into_iter().flatten().collect::<Vec<_>>().join("/");
        let id = format!("{}/{place}", self.resource_type.plural_and_group());
        let serving = if held && !self.fails_closed { Serving::LastGood } else { Serving::Nothing };
        let object = key.map(|key| ObjectRef { resource_type: self.resource_type.clone(), key });
        let problem = Problem { place, object, field: String::new(), reason: reason.to_owned(), serving };
        if self.problems.set(&scope(&self.source), &id, problem) {
            let (source, resource_type) = (&self.source, &self.resource_type);
            tracing::warn!(%source, %resource_type, object = id, reason, "an object cannot be read");
        }
        named.insert(id.clone());
        self.standing.lock().entry(stream.clone()).or_default().insert(id, identity.clone());
    }

    /// uid and resource version of an object that cannot be read, as far as they can.
    pub fn identity(&self, key: &ObjectKey) -> Option<(Option<Name>, Option<Name>)> {
        let (id, standing) = (self.id(key), self.standing.lock());
        let identity = standing.values().find_map(|ids| ids.get(&id))?;
        Some((identity.uid.clone(), identity.version.clone()))
    }

    fn id(&self, key: &ObjectKey) -> String {
        let namespace = key.namespace.as_deref();
        let parts = [Some(&*self.source), namespace, Some(&*key.name)].into_iter().flatten();
        format!("{}/{}", self.resource_type.plural_and_group(), parts.collect::<Vec<_>>().join("/"))
    }

    /// Whether nothing stands.
    pub fn is_empty(&self) -> bool {
        self.standing.lock().values().all(BTreeMap::is_empty)
    }

    /// An object can be read, or is gone.
    pub fn clear(&self, stream: &Option<Name>, key: &ObjectKey) {
        let mut standing = self.standing.lock();
        let Some(ids) = standing.get_mut(stream).filter(|ids| !ids.is_empty()) else { return };
        let id = self.id(key);
        if ids.remove(&id).is_some() {
            self.problems.clear(&scope(&self.source), &id);
        }
    }

    /// Nobody watches the type any more, so nobody knows.
    pub fn forget(&self) {
        for id in std::mem::take(&mut *self.standing.lock()).into_values().flat_map(BTreeMap::into_keys) {
            self.problems.clear(&scope(&self.source), &id);
        }
    }

    /// A list is complete: what it did not name is gone.
    pub fn keep_only(&self, stream: &Option<Name>, named: &Named) {
        let mut standing = self.standing.lock();
        let Some(ids) = standing.get_mut(stream) else { return };
        ids.retain(|id, _| {
            let stays = named.contains(id);
            if !stays {
                self.problems.clear(&scope(&self.source), id);
            }
            stays
        });
    }
}
