//! Who defines what, what breaks and what stays, and that history leaves no trace but the last good versions.

use std::path::Path;

use proptest::prelude::*;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::problem::{Problem, Problems};

use super::*;
use crate::source::directory::reader::{self, Job};
use crate::source::schema::{Catalogue, Entry, FieldError};

fn mk_type(kind: &str) -> ResourceType {
    ResourceType::new("test.io", "v1", kind, &kind.to_lowercase(), Scope::Namespaced)
}

/// `spec.bad` makes an object bad; a `Grant` fails closed.
fn mk_kit() -> Kit {
    let check = |raw: &[u8]| {
        let bad = raw.windows(5).any(|window| window == b"\"bad\"");
        if bad { vec![FieldError::new("spec.bad", "must not be there")] } else { Vec::new() }
    };
    let catalogue = Catalogue::new().with(mk_type("Route"), check).with_entry(Entry {
        resource_type: mk_type("Grant"),
        schema: Some(Arc::new(check)),
        fails_closed: true,
    });
    Kit::new("dir".into(), 10_000, catalogue)
}

/// A ledger with what stands around it.
struct Rig {
    kit: Kit,
    ledger: Ledger,
    report: Report,
    problems: Problems,
}

impl Rig {
    fn new() -> Self {
        Self { kit: mk_kit(), ledger: Ledger::default(), report: Report::default(), problems: Problems::default() }
    }

    /// Writes some files at once (`None` removes one) and tells what changed: `+name=value` and `-name`.
    fn write(&mut self, files: &[(&str, Option<&str>)]) -> Vec<String> {
        let updates = files.iter().map(|(path, text)| {
            let update = text.map_or(Update::Gone, |text| {
                let job = Job {
                    path: Path::new(path),
                    content: text.as_bytes(),
                    before: self.ledger.documents(path).to_vec(),
                };
                Update::Content(reader::parse(vec![job], &self.kit).remove(0))
            });
            (Name::from(*path), update)
        });
        let updates = updates.collect();
        self.apply(updates)
    }

    fn apply(&mut self, updates: BTreeMap<Name, Update>) -> Vec<String> {
        let changes = self.ledger.apply(updates, &self.kit, &mut self.report);
        self.report.publish(&self.problems, "source/dir");
        changes.iter().map(|(id, object)| spell(id, object.as_ref())).collect()
    }

    fn problems(&self) -> Vec<String> {
        let told = self.problems.list();
        let all: Vec<Problem> = told.into_iter().map(|(_, problem)| problem).collect();
        assert_eq!(all, self.report.all(), "what is published is what stands");
        all.iter().map(|problem| format!("{problem} [{:?}]", problem.serving)).collect()
    }

    fn served(&self) -> Vec<String> {
        let mut all: Vec<_> = self.ledger.served().map(|(id, object)| spell(id, Some(object))).collect();
        all.sort();
        all
    }
}

fn spell(id: &ObjectRef, object: Option<&Arc<Object>>) -> String {
    let Some(object) = object else { return format!("-{}", id.key.name) };
    let value: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
    format!("+{}={}", id.key.name, value["spec"]["v"])
}

fn mk(kind: &str, name: &str, value: u32) -> String {
    format!("---\napiVersion: test.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{v: {value}}}\n")
}

fn route(name: &str, value: u32) -> String {
    mk("Route", name, value)
}

#[test]
fn one_edit_changes_what_it_changes_and_no_more() {
    let mut rig = Rig::new();
    let (a, b, c) = (route("a", 1), route("b", 1), route("c", 1));
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{a}{b}{c}")))]), ["+a=1", "+b=1", "+c=1"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("# moved\n{a}{b}{c}")))]), Vec::<String>::new());
    let edited = format!("{a}{}{}{c}", route("b", 2), route("d", 1));
    assert_eq!(rig.write(&[("x.yaml", Some(&edited))]), ["+b=2", "+d=1"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{a}{}", route("e", 1))))]), ["+e=1", "-b", "-d", "-c"]);
    assert_eq!(rig.write(&[("x.yaml", None)]), ["-a", "-e"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
    assert!(rig.ledger.objects.is_empty() && rig.ledger.files.is_empty(), "nothing is left behind");
}

#[test]
fn a_bad_object_keeps_its_last_good_version_until_it_is_mended_or_removed() {
    let mut rig = Rig::new();
    let (a, b) = (route("a", 1), route("b", 1));
    rig.write(&[("x.yaml", Some(&format!("{a}{b}")))]);
    let bad = b.replace("v: 1", "v: 2, bad: 1");
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{a}{bad}")))]), Vec::<String>::new());
    let problem = "x.yaml:10: Route dir:default/b: spec.bad: must not be there [LastGood]";
    assert_eq!(rig.problems(), [problem]);
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{}{bad}", route("a", 5))))]), ["+a=5"]);
    assert_eq!(rig.served(), ["+a=5", "+b=1"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{a}{}", route("b", 3))))]), ["+a=1", "+b=3"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
    rig.write(&[("x.yaml", Some(&format!("{a}{bad}")))]);
    assert_eq!(rig.write(&[("x.yaml", Some(&a))]), ["-b"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[test]
fn an_object_that_was_never_good_is_not_served() {
    let mut rig = Rig::new();
    let bad = route("a", 1).replace("v: 1", "bad: 1");
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{bad}{}", route("b", 1))))]), ["+b=1"]);
    assert_eq!(rig.problems(), ["x.yaml:5: Route dir:default/a: spec.bad: must not be there [Nothing]"]);
}

#[test]
fn a_document_that_does_not_parse_harms_its_own_object_only() {
    let mut rig = Rig::new();
    let (a, b, c) = (route("a", 1), route("b", 1), route("c", 1));
    rig.write(&[("x.yaml", Some(&format!("{a}{b}{c}")))]);
    let broken = b.replace("metadata: {", "metadata: [");
    let edited = format!("{a}{broken}{}", route("c", 2));
    assert_eq!(rig.write(&[("x.yaml", Some(&edited))]), ["+c=2"]);
    let problems = rig.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("x.yaml:9: Route dir:default/b: not valid YAML"), "{problems:?}");
    assert!(problems[0].ends_with("[LastGood]"), "{problems:?}");
    // The rest of the file can change meanwhile, over and over.
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{broken}{c}")))]), ["+c=1"], "a may be the one that is broken");
    assert_eq!(rig.served(), ["+a=1", "+b=1", "+c=1"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{b}{c}")))]), ["-a"]);
}

#[test]
fn a_kind_with_a_typo_counts_as_broken_and_gets_a_suggestion() {
    let mut rig = Rig::new();
    rig.write(&[("x.yaml", Some(&route("a", 1)))]);
    assert_eq!(rig.write(&[("x.yaml", Some(&mk("Ruote", "a", 2)))]), Vec::<String>::new());
    let expected = "x.yaml:2: Route dir:default/a: kind: test.io/v1 Ruote is not known; \
                    did you mean test.io/v1 Route? [LastGood]";
    assert_eq!(rig.problems(), [expected]);
    assert_eq!(rig.write(&[("x.yaml", Some(&mk("Gadget", "a", 2)))]), ["-a"], "a kind that is not ours is no typo");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[test]
fn what_grants_access_fails_closed() {
    let mut rig = Rig::new();
    let grant = mk("Grant", "g", 1);
    rig.write(&[("x.yaml", Some(&format!("{grant}{}", route("a", 1))))]);
    let bad = grant.replace("v: 1", "bad: 1");
    assert_eq!(rig.write(&[("x.yaml", Some(&format!("{bad}{}", route("a", 1))))]), ["-g"]);
    assert_eq!(rig.problems(), ["x.yaml:5: Grant dir:default/g: spec.bad: must not be there [Nothing]"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&grant))]), ["+g=1", "-a"]);
    assert_eq!(rig.write(&[("x.yaml", Some("a: [\n"))]), ["-g"], "nor does an unknown document keep it");
    assert_eq!(rig.write(&[("x.yaml", Some(&bad)), ("y.yaml", Some(&grant))]), Vec::<String>::new());
    assert_eq!(rig.served(), Vec::<String>::new(), "a broken first definition is not made good by a second");
    assert_eq!(rig.write(&[("x.yaml", None)]), ["+g=1"]);
}

#[test]
fn of_two_definitions_the_first_stays_and_the_second_takes_over() {
    let mut rig = Rig::new();
    assert_eq!(rig.write(&[("b.yaml", Some(&route("a", 1)))]), ["+a=1"]);
    assert_eq!(rig.write(&[("a.yaml", Some(&route("a", 2)))]), Vec::<String>::new());
    let told = "a.yaml:2: Route dir:default/a: also defined at b.yaml:2, which was there first and is the one that \
                counts; remove one of them [Current]";
    assert_eq!(rig.problems(), [told]);
    assert_eq!(rig.write(&[("b.yaml", Some(&format!("\n\n{}", route("a", 3))))]), ["+a=3"], "an edit keeps the place");
    assert!(rig.problems()[0].contains("b.yaml:4"), "{:?}", rig.problems());
    assert_eq!(rig.write(&[("b.yaml", None)]), ["+a=2"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[test]
fn in_one_look_the_path_decides_who_is_first() {
    let mut rig = Rig::new();
    let (one, two) = (route("a", 1), route("a", 2));
    assert_eq!(rig.write(&[("z.yaml", Some(&one)), ("b.yaml", Some(&two))]), ["+a=2"]);
    let mut rig = Rig::new();
    assert_eq!(rig.write(&[("z.yaml", Some(&format!("{one}{two}")))]), ["+a=1"]);
    assert!(rig.problems()[0].starts_with("z.yaml:7: "), "{:?}", rig.problems());
}

#[test]
fn a_file_that_is_renamed_changes_nothing() {
    let mut rig = Rig::new();
    let text = route("a", 1);
    rig.write(&[("x.yaml", Some(&text))]);
    assert_eq!(rig.write(&[("x.yaml", None), ("y.yaml", Some(&text))]), Vec::<String>::new());
    assert_eq!(rig.served(), ["+a=1"]);
}

#[test]
fn an_unreadable_file_changes_nothing() {
    let mut rig = Rig::new();
    rig.write(&[("x.yaml", Some(&format!("{}{}", route("a", 1), mk("Grant", "g", 1))))]);
    let unreadable = Update::Unreadable("cannot be read: no".to_owned());
    assert_eq!(rig.apply(BTreeMap::from([("x.yaml".into(), unreadable)])), Vec::<String>::new());
    assert_eq!(rig.problems(), ["x.yaml: cannot be read: no [LastGood]"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&route("a", 2)))]), ["+a=2", "-g"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[test]
fn a_kind_that_becomes_known_later_is_served_from_then_on() {
    let mut rig = Rig::new();
    let gadget = mk("Gadget", "g", 1);
    let text = format!("{gadget}{}", route("a", 1));
    assert_eq!(rig.write(&[("x.yaml", Some(&text))]), ["+a=1"]);
    assert!(rig.kit.learn(&mk_type("Gadget")));
    let changes = rig.ledger.adopt(&rig.kit, &mut rig.report);
    assert_eq!(changes.iter().map(|(id, object)| spell(id, object.as_ref())).collect::<Vec<_>>(), ["+g=1"]);
    assert_eq!(rig.write(&[("x.yaml", Some(&gadget))]), ["-a"]);
}

#[test]
fn an_edit_that_says_the_same_keeps_the_old_object() {
    let mut rig = Rig::new();
    rig.write(&[("x.yaml", Some(&route("a", 1)))]);
    let (id, before) = rig.ledger.served().map(|(id, object)| (id.clone(), object.clone())).next().unwrap();
    rig.write(&[("x.yaml", Some(&format!("{}# a comment\n", route("a", 1))))]);
    assert!(Arc::ptr_eq(rig.ledger.serves(&id).unwrap(), &before));
    let Body::Good(held) = &rig.ledger.documents("x.yaml")[0].document.parts[0].body else { panic!() };
    assert!(Arc::ptr_eq(held, &before), "there is one copy of it");
}

#[test]
fn a_check_that_panics_harms_its_object_only() {
    let broken = |raw: &[u8]| -> Vec<FieldError> {
        assert!(!raw.windows(4).any(|window| window == b"\"b\"}"), "a bug");
        Vec::new()
    };
    let mut rig = Rig::new();
    rig.kit = Kit::new("dir".into(), 10_000, Catalogue::new().with(mk_type("Route"), broken));
    let text = format!("{}{}{}", route("a", 1), route("b", 1), route("c", 1));
    assert_eq!(rig.write(&[("x.yaml", Some(&text))]), ["+a=1", "+c=1"]);
    assert!(rig.problems()[0].starts_with("x.yaml:6: checking it ran into a bug"), "{:?}", rig.problems());
}

/// What a random file holds: per document a name, a value, and whether and how it is broken.
#[derive(Clone, Debug)]
enum Random {
    Good(u8, u32),
    Bad(u8),
    Unparsable,
    Foreign,
}

fn random_document() -> impl Strategy<Value = Random> {
    prop_oneof![
        6 => (0_u8..6, 0_u32..3).prop_map(|(name, value)| Random::Good(name, value)),
        1 => (0_u8..6).prop_map(Random::Bad),
        1 => Just(Random::Unparsable),
        1 => Just(Random::Foreign),
    ]
}

/// Each name once, since who wins a conflict depends on history.
fn unique(documents: Vec<Random>) -> Vec<Random> {
    let mut seen = BTreeSet::new();
    let mut is_first = |document: &Random| match document {
        Random::Good(name, _) | Random::Bad(name) => seen.insert(*name),
        _ => true,
    };
    documents.into_iter().filter(|document| is_first(document)).collect()
}

/// Each file has names of its own, for the same reason.
fn text(file: usize, documents: &[Random]) -> String {
    let one = |document: &Random| match document {
        Random::Good(name, value) => route(&format!("f{file}-{name}"), *value),
        Random::Bad(name) => route(&format!("f{file}-{name}"), 0).replace("v: 0", "bad: 1"),
        Random::Unparsable => "---\na: [\n".to_owned(),
        Random::Foreign => mk("Gadget", "g", 1),
    };
    documents.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_edits_what_is_served_is_what_a_fresh_load_would_serve(
        edits in prop::collection::vec((0_usize..3, prop::option::weighted(0.8, prop::collection::vec(random_document(), 0..6).prop_map(unique))), 1..20)
    ) {
        let mut rig = Rig::new();
        let mut shadow: BTreeMap<String, String> = BTreeMap::new();
        let mut files: BTreeMap<usize, Vec<Random>> = BTreeMap::new();
        for (file, documents) in edits {
            let before: BTreeMap<String, String> = shadow.clone();
            let path = format!("{file}.yaml");
            let text_now = documents.as_ref().map(|documents| text(file, documents));
            for change in rig.write(&[(&path, text_now.as_deref())]) {
                // Replaying the changes gives what is served.
                match change.strip_prefix('-') {
                    Some(name) => drop(shadow.remove(name)),
                    None => {
                        let (name, value) = change[1..].split_once('=').unwrap();
                        prop_assert!(before.get(name).map(String::as_str) != Some(value), "told twice: {}", change);
                        shadow.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
            match documents {
                Some(documents) => drop(files.insert(file, documents)),
                None => drop(files.remove(&file)),
            }
            let replayed: Vec<_> = shadow.iter().map(|(name, value)| format!("+{name}={value}")).collect();
            prop_assert_eq!(rig.served(), replayed);

            let mut fresh = Rig::new();
            for (file, documents) in &files {
                fresh.write(&[(&format!("{file}.yaml"), Some(&text(*file, documents)))]);
            }
            let (served, expected) = (rig.served(), fresh.served());
            let is_missing = |object: &&String| !served.contains(object);
            prop_assert_eq!(expected.iter().filter(is_missing).collect::<Vec<_>>(), Vec::<&String>::new());
            for object in served.iter().filter(|object| !expected.contains(object)) {
                // Only a last good version may be there beyond it: of something broken in that very file.
                let file: usize = object[2..3].parse().unwrap();
                let name: u8 = object[4..5].parse().unwrap();
                let broken = files[&file].iter().any(|document| match document {
                    Random::Bad(bad) => *bad == name,
                    other => matches!(other, Random::Unparsable),
                });
                prop_assert!(broken, "{} is served without a reason", object);
            }
        }
    }
}
