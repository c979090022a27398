//! Strings that many views repeat (groups, kinds, namespaces, zones, header names), held once.

use parking_lot::Mutex;
use tidegate_actors::Set;
use tidegate_actors::id::Name;

/// Beyond this many distinct strings they are evidently not repeated, and sharing stops.
const MAX: usize = 4_096;

static KNOWN: Mutex<Option<Set<Name>>> = Mutex::new(None);

/// The shared copy of a text.
pub(super) fn shared(text: &str) -> Name {
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    if let Some(name) = known.get(text) {
        return name.clone();
    }
    let name = Name::from(text);
    if known.len() < MAX {
        known.insert(name.clone());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_string() {
        assert!(Name::ptr_eq(&shared("a-text-of-this-test"), &shared("a-text-of-this-test")));
        assert_eq!(&*shared("a-text-of-this-test"), "a-text-of-this-test");
    }
}
