//! Each transition of what is known of a cluster's types.

use tidegate_actors::id::Scope;

use super::*;

fn mk_name(plural: &str) -> TypeName {
    TypeName::new("example.com", plural)
}

fn mk_definition(versions: &[&str]) -> Definition {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    Definition { kind: "Widget".to_owned(), scope: Scope::Namespaced, versions }
}

fn mk_group(version: &str, stale: bool, plurals: &[&str]) -> GroupVersion {
    let types = plurals.iter().map(|plural| (mk_name(plural), mk_definition(&[version]))).collect();
    GroupVersion { group: "example.com".to_owned(), version: version.to_owned(), stale, types }
}

/// What changes, in words.
fn observe(discovered: &mut Discovered, observation: Observation) -> Vec<String> {
    let word = |change: Change| match change {
        Change::Came(name) => format!("+{}", name.plural),
        Change::Changed(name) => format!("~{}", name.plural),
        Change::Gone(name) => format!("-{}", name.plural),
    };
    discovered.observe(observation).into_iter().map(word).collect()
}

fn apply(discovered: &mut Discovered, plural: &str, versions: &[&str]) -> Vec<String> {
    observe(discovered, Observation::Applied(mk_name(plural), mk_definition(versions)))
}

fn list(discovered: &mut Discovered, plurals: &[&str]) -> Vec<String> {
    assert!(observe(discovered, Observation::ListBegan).is_empty());
    for plural in plurals {
        let listed = Observation::Listed(mk_name(plural), Some(mk_definition(&["v1"])));
        assert!(observe(discovered, listed).is_empty(), "nothing is known before the list is complete");
    }
    observe(discovered, Observation::ListEnded)
}

fn groups(discovered: &mut Discovered, groups: Vec<GroupVersion>) -> Vec<String> {
    observe(discovered, Observation::Groups(groups))
}

fn versions(discovered: &Discovered, plural: &str) -> Vec<String> {
    discovered.get(&mk_name(plural)).map(|definition| definition.versions.clone()).unwrap_or_default()
}

#[test]
fn a_definition_comes_changes_and_goes() {
    let mut discovered = Discovered::default();
    assert_eq!(apply(&mut discovered, "widgets", &["v1"]), ["+widgets"]);
    assert_eq!(apply(&mut discovered, "widgets", &["v1"]), Vec::<String>::new());
    assert_eq!(apply(&mut discovered, "widgets", &["v2", "v1"]), ["~widgets"]);
    assert_eq!(observe(&mut discovered, Observation::Deleted(mk_name("widgets"))), ["-widgets"]);
    assert_eq!(observe(&mut discovered, Observation::Deleted(mk_name("widgets"))), Vec::<String>::new());
}

#[test]
fn a_definition_that_serves_no_version_is_no_type_yet() {
    let mut discovered = Discovered::default();
    assert_eq!(apply(&mut discovered, "widgets", &[]), Vec::<String>::new());
    assert_eq!(discovered.iter().count(), 0);
    assert_eq!(apply(&mut discovered, "widgets", &["v1"]), ["+widgets"]);
    assert_eq!(apply(&mut discovered, "widgets", &[]), ["-widgets"]);
}

#[test]
fn a_list_takes_away_what_it_does_not_name_once_it_is_complete() {
    let mut discovered = Discovered::default();
    assert_eq!(list(&mut discovered, &["gadgets", "widgets"]), ["+gadgets", "+widgets"]);
    assert_eq!(list(&mut discovered, &["gizmos", "widgets"]), ["-gadgets", "+gizmos"]);
    observe(&mut discovered, Observation::ListBegan);
    // The list breaks off, and another begins.
    assert_eq!(list(&mut discovered, &["gizmos", "widgets"]), Vec::<String>::new());
}

#[test]
fn a_definition_that_cannot_be_read_stays_what_it_was() {
    let mut discovered = Discovered::default();
    list(&mut discovered, &["widgets"]);
    observe(&mut discovered, Observation::ListBegan);
    observe(&mut discovered, Observation::Listed(mk_name("widgets"), None));
    assert_eq!(observe(&mut discovered, Observation::ListEnded), Vec::<String>::new());
    assert_eq!(versions(&discovered, "widgets"), ["v1"]);
}

#[test]
fn groups_name_types_that_have_no_definition_in_all_their_versions() {
    let mut discovered = Discovered::default();
    let both = vec![mk_group("v1", false, &["widgets"]), mk_group("v1beta1", false, &["gadgets", "widgets"])];
    assert_eq!(groups(&mut discovered, both), ["+gadgets", "+widgets"]);
    assert_eq!(versions(&discovered, "widgets"), ["v1", "v1beta1"]);
    assert_eq!(groups(&mut discovered, vec![mk_group("v1", false, &["widgets"])]), ["-gadgets", "~widgets"]);
    assert_eq!(groups(&mut discovered, Vec::new()), ["-widgets"]);
}

#[test]
fn a_stale_group_keeps_what_it_had() {
    let mut discovered = Discovered::default();
    groups(&mut discovered, vec![mk_group("v1", false, &["gadgets"]), mk_group("v1beta1", false, &["widgets"])]);
    let stale = vec![mk_group("v1", false, &[]), mk_group("v1beta1", true, &[])];
    assert_eq!(groups(&mut discovered, stale), ["-gadgets"]);
    assert_eq!(versions(&discovered, "widgets"), ["v1beta1"]);
}

#[test]
fn a_definition_goes_before_what_groups_say() {
    let mut discovered = Discovered::default();
    apply(&mut discovered, "widgets", &["v2", "v1"]);
    assert_eq!(groups(&mut discovered, vec![mk_group("v1", false, &["widgets"])]), Vec::<String>::new());
    assert_eq!(versions(&discovered, "widgets"), ["v2", "v1"]);
    assert_eq!(groups(&mut discovered, Vec::new()), Vec::<String>::new());
}

#[test]
fn groups_that_lag_do_not_bring_a_deleted_type_back() {
    let mut discovered = Discovered::default();
    let lagging = || vec![mk_group("v1", false, &["widgets"])];
    apply(&mut discovered, "widgets", &["v1"]);
    assert_eq!(observe(&mut discovered, Observation::Deleted(mk_name("widgets"))), ["-widgets"]);
    assert_eq!(groups(&mut discovered, lagging()), Vec::<String>::new(), "they were read before");
    assert_eq!(groups(&mut discovered, Vec::new()), Vec::<String>::new());
    assert_eq!(groups(&mut discovered, lagging()), ["+widgets"], "another server has it now");
    // A list says the same as an event.
    list(&mut discovered, &["widgets"]);
    assert_eq!(list(&mut discovered, &[]), ["-widgets"]);
    assert_eq!(apply(&mut discovered, "widgets", &["v1"]), ["+widgets"]);
}

#[test]
fn without_definitions_nothing_is_lost_and_groups_decide() {
    let mut discovered = Discovered::default();
    list(&mut discovered, &["gadgets", "widgets"]);
    assert_eq!(observe(&mut discovered, Observation::DefinitionsLost), Vec::<String>::new());
    assert_eq!(discovered.iter().count(), 2);
    assert_eq!(groups(&mut discovered, vec![mk_group("v1", false, &["widgets"])]), ["-gadgets"]);
    assert_eq!(list(&mut discovered, &["gadgets"]), ["+gadgets"], "definitions are heard again");
}
