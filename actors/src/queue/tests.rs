//! The laws of the delta queue, one by one and against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::{ResourceType, Scope};
use crate::object::Decoder;

fn mk_object(name: &str, uid: u32, version: Option<u32>, content: u32) -> Arc<Object> {
    let version = version.map_or(String::new(), |version| format!(r#","resourceVersion":"{version}""#));
    let text = format!(r#"{{"metadata":{{"name":"{name}","uid":"u{uid}"{version}}},"x":{content}}}"#);
    let resource_type = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
    Arc::new(Decoder::new("demo".into(), resource_type).decode(text).unwrap())
}

fn mk_key(name: &str) -> ObjectKey {
    ObjectKey::cluster("demo", name)
}

fn cursor(at: &str) -> Cursor {
    Cursor(at.into())
}

fn list(queue: &mut DeltaQueue, objects: &[&Arc<Object>]) {
    queue.feed(SourceEvent::Init);
    for object in objects {
        queue.feed(SourceEvent::InitApply((*object).clone()));
    }
    queue.feed(SourceEvent::InitDone(cursor("list")));
}

/// Begins, commits, and shows the changes as `name old>new`, with `i` for initial and `t` for tombstone.
fn drain(queue: &mut DeltaQueue) -> Vec<String> {
    let delta = queue.begin();
    queue.commit();
    let version = |object: &Option<Arc<Object>>| {
        object.as_ref().map_or("-".to_owned(), |o| o.resource_version().unwrap_or("?").to_owned())
    };
    let show = |(key, change): &(ObjectKey, Change<Arc<Object>>)| {
        let (i, t) = (if change.initial { " i" } else { "" }, if change.tombstone { " t" } else { "" });
        format!("{} {}>{}{i}{t}", key.name, version(&change.old), version(&change.new))
    };
    delta.map_or(Vec::new(), |delta| delta.changes.iter().map(show).collect())
}

#[test]
fn an_object_of_a_list_that_cannot_be_read_keeps_what_is_held_of_it() {
    let mut queue = DeltaQueue::default();
    list(&mut queue, &[&mk_object("a", 1, Some(1), 0), &mk_object("b", 2, Some(2), 0)]);
    drain(&mut queue);
    queue.feed(SourceEvent::Init);
    queue.feed(SourceEvent::InitKeep(mk_key("a")));
    queue.feed(SourceEvent::InitKeep(mk_key("never seen")));
    queue.feed(SourceEvent::InitDone(cursor("list")));
    assert_eq!(drain(&mut queue), ["b 2>- t"]);
    queue.feed(SourceEvent::InitKeep(mk_key("a")));
    assert_eq!(drain(&mut queue), Vec::<String>::new(), "outside of a list it says nothing");
}

#[test]
fn the_first_list_is_one_batch_of_initial_adds_and_says_that_the_type_is_synced() {
    let mut queue = DeltaQueue::default();
    let (a, b) = (mk_object("a", 1, Some(1), 0), mk_object("b", 2, Some(2), 0));
    queue.feed(SourceEvent::Init);
    queue.feed(SourceEvent::InitApply(b));
    queue.feed(SourceEvent::InitApply(a));
    assert!(queue.begin().is_none(), "nothing shows before the list is complete");
    queue.feed(SourceEvent::InitDone(cursor("7")));
    let delta = queue.begin().unwrap();
    assert_eq!((delta.phase, delta.complete, delta.cursor), (Phase::Synced, true, Some(cursor("7"))));
    assert_eq!(drain(&mut queue), ["b ->2 i", "a ->1 i"]);
    assert!(queue.is_empty());
}

#[test]
fn an_empty_list_is_told_too() {
    let mut queue = DeltaQueue::default();
    list(&mut queue, &[]);
    assert_eq!(queue.depth(), 1);
    let delta = queue.begin().unwrap();
    assert!(delta.changes.is_empty() && delta.complete);
    assert_eq!(queue.depth(), 1, "a batch that was not committed still waits");
    queue.commit();
    assert_eq!(queue.depth(), 0);
}

#[test]
fn a_missed_delete_becomes_a_tombstone() {
    let mut queue = DeltaQueue::default();
    let (a, b) = (mk_object("a", 1, Some(1), 0), mk_object("b", 2, Some(2), 0));
    list(&mut queue, &[&a, &b]);
    drain(&mut queue);
    list(&mut queue, &[&b, &mk_object("c", 3, Some(3), 0)]);
    assert_eq!(drain(&mut queue), ["c ->3", "a 1>- t"]);
    queue.feed(SourceEvent::Delete(mk_key("b")));
    queue.feed(SourceEvent::Delete(mk_key("b")));
    assert_eq!(drain(&mut queue), ["b 2>-"]);
}

#[test]
fn an_unchanged_object_in_a_relist_is_not_told_and_the_held_one_stays() {
    let mut queue = DeltaQueue::default();
    let (a, unversioned) = (mk_object("a", 1, Some(1), 0), mk_object("b", 2, None, 5));
    list(&mut queue, &[&a, &unversioned]);
    drain(&mut queue);
    let (again, same, other) = (mk_object("a", 1, Some(1), 0), mk_object("b", 2, None, 5), mk_object("b", 2, None, 6));
    list(&mut queue, &[&again, &same]);
    assert!(queue.is_empty(), "a relist that changes nothing says nothing");
    assert_eq!(Arc::strong_count(&again), 1, "the copy from the list is not held");
    list(&mut queue, &[&again, &other]);
    assert_eq!(drain(&mut queue), ["b ?>?"]);
}

#[test]
fn an_aborted_list_leaves_no_trace() {
    let mut queue = DeltaQueue::default();
    let a = mk_object("a", 1, Some(1), 0);
    list(&mut queue, &[&a]);
    drain(&mut queue);
    queue.feed(SourceEvent::Init);
    queue.feed(SourceEvent::InitApply(mk_object("b", 2, Some(2), 0)));
    queue.abort_list();
    assert!(queue.is_empty());
    assert_eq!(queue.cursor(), Some(&cursor("list")));
    queue.feed(SourceEvent::Apply(mk_object("a", 1, Some(3), 0)));
    assert_eq!(drain(&mut queue), ["a 1>3"]);
}

#[test]
fn duplicates_are_dropped_and_a_recreated_object_shows_both_ends() {
    let mut queue = DeltaQueue::default();
    let a = mk_object("a", 1, Some(1), 0);
    list(&mut queue, &[&a]);
    drain(&mut queue);
    queue.feed(SourceEvent::Apply(mk_object("a", 1, Some(1), 0)));
    assert!(queue.is_empty());
    queue.feed(SourceEvent::Delete(mk_key("a")));
    queue.feed(SourceEvent::Apply(mk_object("a", 9, Some(1), 0)));
    let delta = queue.begin().unwrap();
    let (old, new) = (delta.changes[0].1.old.as_ref().unwrap(), delta.changes[0].1.new.as_ref().unwrap());
    assert_eq!((old.uid(), new.uid()), (Some("u1"), Some("u9")));
}

#[test]
fn a_key_listed_twice_counts_as_it_was_listed_last() {
    let mut queue = DeltaQueue::default();
    list(&mut queue, &[&mk_object("a", 1, Some(1), 0), &mk_object("a", 1, Some(2), 0)]);
    assert_eq!(drain(&mut queue), ["a ->2 i"]);
}

#[test]
fn the_end_of_a_list_that_never_began_deletes_nothing() {
    let mut queue = DeltaQueue::default();
    list(&mut queue, &[&mk_object("a", 1, Some(1), 0)]);
    drain(&mut queue);
    queue.feed(SourceEvent::InitDone(cursor("again")));
    assert!(queue.is_empty());
    assert_eq!(queue.cursor(), Some(&cursor("again")));
}

#[test]
fn a_change_of_phase_is_told_in_order_with_the_deltas() {
    let mut queue = DeltaQueue::default();
    queue.set_phase(Phase::Absent("no such type".into()));
    let first = queue.begin().unwrap();
    list(&mut queue, &[&mk_object("a", 1, Some(1), 0)]);
    let again = queue.begin().unwrap();
    assert_eq!(again.phase, first.phase, "what was begun comes again unchanged");
    queue.commit();
    assert_eq!(queue.begin().unwrap().phase, Phase::Synced);
}

#[derive(Clone, Debug)]
enum Op {
    Init,
    InitApply(u8, u32),
    InitDone,
    Apply(u8, u32),
    Delete(u8),
    Abort,
    Work { crash: bool },
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Init),
        4 => (0..6_u8, 0..4_u32).prop_map(|(key, version)| Op::InitApply(key, version)),
        1 => Just(Op::InitDone),
        6 => (0..6_u8, 0..4_u32).prop_map(|(key, version)| Op::Apply(key, version)),
        3 => (0..6_u8).prop_map(Op::Delete),
        1 => Just(Op::Abort),
        4 => any::<bool>().prop_map(|crash| Op::Work { crash }),
    ]
}

type View = BTreeMap<u8, u32>;

/// The source as it was told, and a consumer that may crash between begin and commit.
#[derive(Default)]
struct Model {
    truth: View,
    listing: Option<View>,
    view: View,
    /// The truth when the batch that is under way was begun.
    begun: Option<View>,
}

impl Model {
    fn now(&mut self) -> &mut View {
        self.listing.as_mut().unwrap_or(&mut self.truth)
    }

    fn work(&mut self, queue: &mut DeltaQueue, crash: bool) -> Result<(), TestCaseError> {
        let Some(delta) = queue.begin() else {
            prop_assert_eq!(&self.view, &self.truth, "nothing waits, so the consumer has seen everything");
            return Ok(());
        };
        let target = self.begun.get_or_insert_with(|| self.truth.clone()).clone();
        if crash {
            return Ok(());
        }
        for (key, change) in delta.changes.iter() {
            let name = key.name.as_bytes()[0] - b'a';
            let version = |object: &Arc<Object>| object.resource_version().unwrap().parse::<u32>().unwrap();
            prop_assert_eq!(
                change.old.as_ref().map(version),
                self.view.get(&name).copied(),
                "old is what was seen last"
            );
            match &change.new {
                Some(object) => self.view.insert(name, version(object)),
                None => self.view.remove(&name),
            };
        }
        prop_assert_eq!(&self.view, &target, "a batch leads from one whole state to another");
        queue.commit();
        self.begun = None;
        Ok(())
    }
}

fn mk_named(key: u8, version: u32) -> Arc<Object> {
    mk_object(&char::from(b'a' + key).to_string(), 1, Some(version), version)
}

proptest! {
    #[test]
    fn a_consumer_that_may_crash_sees_exactly_the_states_of_the_source(ops in prop::collection::vec(any_op(), 0..60)) {
        let mut queue = DeltaQueue::default();
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Init => {
                    queue.feed(SourceEvent::Init);
                    model.listing = Some(View::new());
                }
                Op::InitApply(key, version) if model.listing.is_some() => {
                    queue.feed(SourceEvent::InitApply(mk_named(key, version)));
                    model.now().insert(key, version);
                }
                Op::InitApply(key, version) | Op::Apply(key, version) => {
                    queue.feed(SourceEvent::Apply(mk_named(key, version)));
                    model.now().insert(key, version);
                }
                Op::InitDone => {
                    queue.feed(SourceEvent::InitDone(cursor("x")));
                    model.truth = model.listing.take().unwrap_or(model.truth);
                }
                Op::Delete(key) => {
                    queue.feed(SourceEvent::Delete(mk_key(&char::from(b'a' + key).to_string())));
                    model.now().remove(&key);
                }
                Op::Abort => {
                    queue.abort_list();
                    model.listing = None;
                }
                Op::Work { crash } => model.work(&mut queue, crash)?,
            }
            prop_assert!(queue.len() <= 12, "at most a batch that was begun and one that waits, each bounded by the keys");
        }
        model.work(&mut queue, false)?;
        model.work(&mut queue, false)?;
        prop_assert!(queue.is_empty());
        prop_assert_eq!(&model.view, &model.truth);
    }
}
