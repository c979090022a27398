//! Two edits of headers as one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_actors::id::Name;

use crate::model::HeaderEdit;
use crate::publish::xds::encode::header::{edits, then};

/// Values by name.
type Headers = BTreeMap<Name, Vec<Name>>;

fn edited(mut headers: Headers, edit: &HeaderEdit) -> Headers {
    for (name, value) in &edit.set {
        headers.insert(name.clone(), vec![value.clone()]);
    }
    for (name, value) in &edit.add {
        headers.entry(name.clone()).or_default().push(value.clone());
    }
    for name in &edit.remove {
        headers.remove(name);
    }
    headers
}

fn mk_edit(value: &'static str) -> impl Strategy<Value = HeaderEdit> {
    let names = || prop::collection::btree_set(prop::sample::select(vec!["x-a", "x-b", "x-c"]), 0..3);
    let pairs = move |names: Vec<Name>| names.into_iter().map(|name| (name, Name::from(value))).collect();
    let names = || names().prop_map(|names| names.into_iter().map(Name::from).collect::<Vec<Name>>());
    (names(), names(), names()).prop_map(move |(set, add, remove)| HeaderEdit {
        set: pairs(set),
        add: pairs(add),
        remove,
    })
}

proptest! {
    #[test]
    fn two_edits_as_one_do_what_they_do_one_after_the_other(first in mk_edit("first"), next in mk_edit("next")) {
        let headers: Headers = ["x-a", "x-b"].map(|name| (name.into(), vec!["old".into()])).into();
        let both = then(&first, &next);
        prop_assert_eq!(edited(headers.clone(), &both), edited(edited(headers, &first), &next));
        for (name, _) in &both.set {
            prop_assert_eq!(both.set.iter().filter(|(other, _)| other == name).count(), 1);
        }
    }
}

#[test]
fn the_first_edits_host_is_not_among_the_headers() {
    let edit = |value: &str| HeaderEdit { set: vec![("host".into(), value.into())], ..HeaderEdit::default() };
    assert_eq!(edits(&then(&edit("first"), &HeaderEdit::default())).host, None);
    assert_eq!(edits(&then(&edit("first"), &edit("next"))).host.as_deref(), Some("next"));
}
