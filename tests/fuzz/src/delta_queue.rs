//! The delta queue against a source and a consumer that are written down as two maps.
//!
//! Oracle: the laws at the top of `actors/src/queue.rs`. A consumer that applies what it is handed, and may crash between
//! begin and commit, goes from one whole state of the source to another, with `old` always what it saw last; a key
//! waits once; a list is one step, and an aborted one none; what has come to an end without news leaves nothing waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::port::Buffer as _;
use tidegate_actors::queue::{Delta, DeltaQueue, Phase};
use tidegate_actors::source::{Cursor, SourceEvent};

use crate::input::Input;

const KEYS: usize = 6;

/// What tells one state of an object from another: its uid, and its version, or without one its content.
type Version = (u8, u8);
type State = BTreeMap<usize, Version>;

struct Model {
    decoder: Decoder,
    queue: DeltaQueue,
    truth: State,
    listing: Option<State>,
    cursor: Option<Cursor>,
    phase: Phase,
    complete: bool,
    /// What the consumer holds.
    seen: State,
    /// The source's state when the batch that is begun was begun, and the batch.
    begun: Option<(State, Delta)>,
}

/// Each byte, with those that it takes along, is an event of the source or a step of the consumer.
pub fn run(data: &[u8]) {
    let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
    let mut model = Model {
        decoder: Decoder::new("demo".into(), things),
        queue: DeltaQueue::default(),
        truth: State::new(),
        listing: None,
        cursor: None,
        phase: Phase::Pending,
        complete: false,
        seen: State::new(),
        begun: None,
    };
    let mut input = Input::new(&data[..data.len().min(512)]);
    while !input.is_empty() {
        model.step(&mut input);
        assert!(model.queue.len() <= 2 * KEYS, "a key waits once, and once more in a batch that is begun");
        assert_eq!(model.queue.is_listing(), model.listing.is_some());
        assert_eq!((model.queue.phase(), model.queue.is_complete()), (&model.phase, model.complete));
        assert_eq!(model.queue.cursor(), model.cursor.as_ref());
    }
    model.work(false);
    model.work(false);
    assert!(model.queue.is_empty() && model.queue.depth() == 0, "all was handed out");
    assert_eq!(model.seen, model.truth);
}

impl Model {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(12) {
            0 => {
                self.queue.feed(SourceEvent::Init);
                self.listing = Some(State::new());
            }
            1 | 2 => self.applied(input, true),
            3 | 4 => self.applied(input, false),
            5 => {
                let key = input.below(KEYS);
                self.queue.feed(SourceEvent::Delete(mk_key(key)));
                self.listing.as_mut().unwrap_or(&mut self.truth).remove(&key);
            }
            6 => self.kept(input.below(KEYS)),
            7 => self.listed(input.byte()),
            8 => {
                self.cursor = Some(mk_cursor(input.byte()));
                self.queue.feed(SourceEvent::Bookmark(self.cursor.clone().unwrap()));
            }
            9 => {
                self.queue.abort_list();
                self.listing = None;
                if input.flag() {
                    self.queue.forget_cursor();
                    self.cursor = None;
                }
            }
            10 => {
                self.phase = match input.below(3) {
                    0 => Phase::Synced,
                    1 => Phase::Degraded("away".to_owned()),
                    _ => Phase::Absent("not there".to_owned()),
                };
                self.queue.set_phase(self.phase.clone());
            }
            _ => self.work(input.flag()),
        }
    }

    fn applied(&mut self, input: &mut Input<'_>, of_list: bool) {
        let (key, uid, version) = (input.below(KEYS), input.byte() % 2, input.byte() % 5);
        let object = self.object(key, uid, version);
        self.queue.feed(if of_list { SourceEvent::InitApply(object) } else { SourceEvent::Apply(object) });
        self.listing.as_mut().unwrap_or(&mut self.truth).insert(key, (uid, version));
    }

    /// What cannot be read stays as it was known.
    fn kept(&mut self, key: usize) {
        self.queue.feed(SourceEvent::InitKeep(mk_key(key)));
        if let (Some(listing), Some(known)) = (&mut self.listing, self.truth.get(&key)) {
            listing.insert(key, *known);
        }
    }

    fn listed(&mut self, at: u8) {
        self.queue.feed(SourceEvent::InitDone(mk_cursor(at)));
        self.cursor = Some(mk_cursor(at));
        if let Some(listing) = self.listing.take() {
            self.truth = listing;
            self.complete = true;
            self.phase = Phase::Synced;
        }
    }

    fn work(&mut self, crash: bool) {
        let Some(delta) = self.queue.begin() else {
            assert_eq!(self.seen, self.truth, "nothing waits, so the consumer has seen all");
            return;
        };
        if let Some((_, begun)) = &self.begun {
            assert!(Arc::ptr_eq(&begun.changes, &delta.changes) || begun.changes == delta.changes, "handed out again");
            assert_eq!((&begun.phase, begun.complete, &begun.cursor), (&delta.phase, delta.complete, &delta.cursor));
        } else {
            assert_eq!((&delta.phase, delta.complete, &delta.cursor), (&self.phase, self.complete, &self.cursor));
            self.begun = Some((self.truth.clone(), delta.clone()));
        }
        if crash {
            return;
        }
        for (key, change) in delta.changes.iter() {
            let key = usize::from(key.name.as_bytes()[0] - b'a');
            assert!(change.old.is_some() || change.new.is_some(), "neither old nor new");
            assert!(!change.tombstone || change.new.is_none(), "a tombstone has nothing new");
            assert_eq!(change.old.as_ref().map(version_of), self.seen.get(&key).copied(), "old is what was seen last");
            match &change.new {
                Some(object) => self.seen.insert(key, version_of(object)),
                None => self.seen.remove(&key),
            };
        }
        let (target, _) = self.begun.take().unwrap();
        assert_eq!(self.seen, target, "a batch leads to a whole state");
        self.queue.commit();
    }

    /// Version 0 is an object without a version.
    fn object(&self, key: usize, uid: u8, version: u8) -> Arc<Object> {
        let name = &mk_key(key).name;
        let said = if version == 0 { String::new() } else { format!(r#","resourceVersion":"{version}""#) };
        let json = format!(r#"{{"metadata":{{"name":"{name}","uid":"{uid}"{said}}},"content":{version}}}"#);
        Arc::new(self.decoder.decode(json).unwrap())
    }
}

fn version_of(object: &Arc<Object>) -> Version {
    let number = |text: Option<&str>| text.map_or(0, |text| text.parse().unwrap());
    (number(object.uid()), number(object.resource_version()))
}

fn mk_key(key: usize) -> ObjectKey {
    ObjectKey::cluster("demo", ["a", "b", "c", "d", "e", "f"][key % KEYS])
}

fn mk_cursor(at: u8) -> Cursor {
    Cursor(at.to_string().into())
}
