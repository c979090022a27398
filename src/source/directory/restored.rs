//! Objects that an earlier run held, of which this one has seen no good document yet. Names only.
//!
//! Laws: one is kept for as long as a document that cannot be read may be the one that defines it; what was seen good
//! once is the ledger's from then on; what fails closed is not kept.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_actors::Set;
use tidegate_actors::id::{ObjectKey, ObjectRef, ResourceType};

use super::document::Body;
use super::kit::Kit;
use super::ledger::{Change, Ledger};

/// See the module.
#[derive(Default)]
pub(super) struct Restored {
    keys: BTreeMap<ResourceType, BTreeSet<ObjectKey>>,
}

impl Restored {
    /// An earlier run held these.
    pub fn add(&mut self, of: ResourceType, keys: impl Iterator<Item = ObjectKey>) {
        // In one piece: they come sorted, and thousands of them one by one take a good part of a warm start.
        self.keys.entry(of).or_default().append(&mut keys.collect());
    }

    pub fn is_empty(&self) -> bool {
        self.keys.values().all(BTreeSet::is_empty)
    }

    pub fn contains(&self, id: &ObjectRef) -> bool {
        self.keys.get(&id.resource_type).is_some_and(|keys| keys.contains(&id.key))
    }

    /// Those of a type.
    pub fn of(&self, of: &ResourceType) -> Vec<ObjectKey> {
        self.keys.get(of).into_iter().flatten().cloned().collect()
    }
}

impl Ledger {
    /// Lets go of what need not be kept any more; what of that nobody defines is gone. `unseen`: there is something in
    /// the directory that could not be looked at.
    pub fn let_go(&mut self, kit: &Kit, unseen: bool) -> Vec<Change> {
        if self.restored.is_empty() {
            return Vec::new();
        }
        let mut restored = std::mem::take(&mut self.restored);
        let doubtful = self.doubtful();
        let anything = unseen || doubtful.is_none();
        let doubtful = doubtful.unwrap_or_default();
        let mut gone = Vec::new();
        for (of, keys) in &mut restored.keys {
            let closes = kit.known(of.group(), of.kind()).is_some_and(|known| known.entry.fails_closed);
            keys.retain(|key| {
                let id = ObjectRef { resource_type: of.clone(), key: key.clone() };
                if self.serves(&id).is_some() {
                    return false;
                }
                let stays = !closes && (anything || doubtful.contains(&id));
                if !stays {
                    gone.push((id, None));
                }
                stays
            });
        }
        restored.keys.retain(|_, keys| !keys.is_empty());
        self.restored = restored;
        gone
    }

    /// The objects that some broken document is known to be meant for; `None` when one may be meant for any.
    fn doubtful(&self) -> Option<Set<ObjectRef>> {
        let mut doubtful = Set::default();
        for file in self.files() {
            // One that could be read before has its documents, and they are what counts.
            if file.unreadable.is_some() && file.documents.is_empty() {
                return None;
            }
            for part in file.documents.iter().flat_map(|placed| &placed.document.parts) {
                match &part.body {
                    body if body.is_unidentified() => return None,
                    Body::Broken { object: Some(object), .. } => drop(doubtful.insert(object.clone())),
                    _ => {}
                }
            }
        }
        Some(doubtful)
    }
}
