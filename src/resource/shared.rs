//! Strings that many views repeat (groups, kinds, namespaces, Gateways, zones, header names, values that headers must
//! have), held once.

use parking_lot::Mutex;
use tidegate_actors::Set;
use tidegate_actors::id::Name;

/// Beyond this many distinct strings they are evidently not repeated, and sharing stops.
const MAX: usize = 4_096;

/// Strings that are shared.
struct Table(Mutex<Option<Set<Name>>>);

impl Table {
    fn share(&self, text: &str) -> Name {
        let mut known = self.0.lock();
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
}

static NAMES: Table = Table(Mutex::new(None));

/// Apart from names: there may be many, and names are to be shared all the same.
static VALUES: Table = Table(Mutex::new(None));

/// The shared copy of a name.
pub(super) fn shared(text: &str) -> Name {
    NAMES.share(text)
}

/// The shared copy of a value that routes ask for.
pub(super) fn shared_value(text: &str) -> Name {
    VALUES.share(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_string() {
        assert!(Name::ptr_eq(&shared("a-text-of-this-test"), &shared("a-text-of-this-test")));
        assert_eq!(&*shared("a-text-of-this-test"), "a-text-of-this-test");
        assert!(!Name::ptr_eq(&shared("a-text-of-this-test"), &shared_value("a-text-of-this-test")));
    }

    #[test]
    fn a_full_table_shares_what_it_has_and_holds_no_more() {
        let table = Table(Mutex::new(None));
        let all: Vec<Name> = (0..MAX + 10).map(|n| table.share(&n.to_string())).collect();
        assert!(Name::ptr_eq(&all[0], &table.share("0")));
        assert_eq!(&*table.share(&MAX.to_string()), &*all[MAX]);
        assert!(!Name::ptr_eq(&all[MAX], &table.share(&MAX.to_string())));
    }
}
