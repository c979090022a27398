//! Strings that many objects repeat (namespaces, label keys and values), held once.

use crate::Set;
use crate::id::Name;

/// Beyond this many distinct strings they are evidently not repeated, and sharing stops.
const MAX: usize = 4096;

/// A bounded set of shared strings.
#[derive(Default)]
pub(super) struct Interner {
    known: Set<Name>,
}

impl Interner {
    /// The shared copy of a text.
    pub fn share(&mut self, text: &str) -> Name {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let name = Name::from(text);
        if self.known.len() < MAX {
            self.known.insert(name.clone());
        }
        name
    }
}
