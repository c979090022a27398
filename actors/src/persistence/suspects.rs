//! Objects that came lately, and what they replaced: whoever computes with one may turn out to be unable to, and goes on
//! with what it made of the version before. The next run has to find that one too, or it would have nothing to go on with.
//!
//! Law: what is let go of was there for a whole round of the writer without anybody complaining; one entry a key.

use crate::id::ObjectKey;
use crate::object::Keyed;
use crate::{Map, Set};

/// Whether somebody cannot compute with what is held of an object at present.
pub(super) type Poison<'a> = dyn Fn(&ObjectKey) -> bool + 'a;

/// See the module.
#[derive(Default)]
pub(super) struct Suspects {
    /// What was there before, and whether a round has passed since.
    replaced: Map<ObjectKey, (Keyed, bool)>,
    /// Those that nobody can compute with: what they replaced is kept in their stead.
    caught: Set<ObjectKey>,
}

impl Suspects {
    /// A version took the place of another.
    pub fn add(&mut self, key: &ObjectKey, before: Keyed) {
        self.caught.remove(key);
        // Of several since the last look, the first is the one that was good for sure.
        self.replaced.entry(key.clone()).or_insert((before, false));
    }

    /// An object is gone, or is another one now.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.replaced.remove(key);
        self.caught.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.caught.is_empty()
    }

    /// Whether some are neither caught nor cleared.
    pub fn are_open(&self) -> bool {
        self.replaced.keys().any(|key| !self.caught.contains(key))
    }

    /// How many are caught.
    pub fn caught(&self) -> usize {
        self.caught.len()
    }

    /// Looks at all of them: what is to be kept in the stead of whom from now on, and who is to be kept as it is again.
    pub fn judge(&mut self, poison: &Poison<'_>) -> (Vec<Keyed>, Vec<ObjectKey>) {
        let mut instead = Vec::new();
        let caught = &mut self.caught;
        self.replaced.retain(|key, (before, seen)| {
            if poison(key) {
                if caught.insert(key.clone()) {
                    instead.push(before.clone());
                }
                return true;
            }
            // One that is free again is told of below, and needs what it replaced no more.
            !std::mem::replace(seen, true) && !caught.contains(key)
        });
        let mut free: Vec<ObjectKey> = caught.iter().filter(|key| !poison(key)).cloned().collect();
        free.sort_unstable();
        for key in &free {
            caught.remove(key);
        }
        instead.sort_unstable_by(|a, b| a.0.key().cmp(b.0.key()));
        (instead, free)
    }
}
