//! The state machine of a list and a watch, between a server that is written down as a map with its history and a delta
//! queue behind a reflector that is written down in a line.
//!
//! Oracle: whatever breaks off, expires, comes twice, late or not at all, what the queue hands out is what the server
//! has, whenever all that it has to tell was told; nothing is asked of the server but what its state allows; nothing is
//! told outside of a list that belongs into one, nor after the end; a cursor never goes back within a stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::source::kubernetes::fuzzing::{Action, Ending, Event, Failure, State, step};
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::queue::DeltaQueue;
use tidegate_actors::source::{Cursor, SourceEvent};

use crate::input::Input;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The names that there are, with their versions.
type Things = BTreeMap<usize, u64>;

/// What the server was asked for, and has not told yet.
enum Serving {
    /// Nothing; the stream is over.
    Nothing,
    /// Pages of the state at a version: what is left of it, and how large a page is.
    Pages { at: u64, left: Vec<(usize, u64)>, size: usize, asked: bool },
    /// What was there when it was asked, then its end, then as below.
    Streaming { left: Vec<(usize, u64)>, at: u64 },
    /// What happens after a version.
    Watch { after: u64 },
}

struct Rig {
    decoder: Decoder,
    /// The server.
    things: Things,
    version: u64,
    history: Vec<(u64, usize, bool)>,
    /// Of what happened up to here nothing is known any more.
    compacted: u64,
    serving: Serving,
    /// The client.
    state: State,
    streaming: bool,
    cursor: Option<u64>,
    listing: bool,
    /// How many streams were opened.
    streams: usize,
    queue: DeltaQueue,
    seen: Things,
}

/// Each byte, with what it takes along, is something that happens.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(512)]);
    let mut rig = Rig {
        decoder: Decoder::new("c".into(), ResourceType::new("", "v1", "Thing", "things", Scope::Cluster)),
        things: Things::new(),
        version: 1,
        history: Vec::new(),
        compacted: 0,
        serving: Serving::Nothing,
        state: State::Closed,
        streaming: input.flag(),
        cursor: None,
        listing: false,
        streams: 0,
        queue: DeltaQueue::default(),
        seen: Things::new(),
    };
    rig.open();
    while !input.is_empty() {
        rig.happen(&mut input);
    }
    // From here on nothing fails.
    for _ in 0..4096 {
        if rig.is_up_to_date() {
            break;
        }
        rig.tell(false);
    }
    assert!(rig.is_up_to_date(), "it does not come to an end");
    rig.work();
    assert_eq!(rig.seen, rig.things);
}

impl Rig {
    fn happen(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0..=3 => {
                let name = input.below(NAMES.len());
                self.version += 1;
                self.things.insert(name, self.version);
                self.history.push((self.version, name, true));
            }
            4 => {
                let name = input.below(NAMES.len());
                if self.things.remove(&name).is_some() {
                    self.version += 1;
                    self.history.push((self.version, name, false));
                }
            }
            5 => {
                // Somebody else's object: the version goes on.
                self.version += 1;
                let old = self.version.saturating_sub(u64::from(input.byte() % 8));
                self.compacted = self.compacted.max(old);
                self.history.retain(|(at, ..)| *at > self.compacted);
            }
            6..=13 => self.tell(input.byte() % 8 == 7),
            14 => self.event(Event::Broken("cut off".to_owned())),
            15 => self.event(Event::Silence),
            16 => self.event(Event::BodyEnd),
            17 => {
                let code = input.one_of(&[410, 500, 429, 400, 501, 403, 401, 404]);
                self.event(Event::Failed(Failure { code, message: "no".to_owned(), ..Failure::default() }));
            }
            18 => {
                let events = [Event::Settled, Event::BookmarkOverdue, Event::Lost("a is missing".to_owned())];
                let event = events[input.below(events.len())].clone();
                self.event(event);
            }
            _ => self.work(),
        }
        if self.is_up_to_date() && input.flag() {
            self.work();
            assert_eq!(self.seen, self.things);
        }
    }

    /// The server says the next thing that it has to say. `again`: it says the last one twice.
    fn tell(&mut self, again: bool) {
        let mut events = Vec::new();
        match &mut self.serving {
            Serving::Nothing => {}
            Serving::Pages { asked: false, .. } => {}
            Serving::Pages { at, left, size, asked } => {
                let page: Vec<_> = left.drain(..left.len().min(*size)).collect();
                let next = (!left.is_empty()).then(|| "token".to_owned());
                *asked = false;
                let version = Some(at.to_string().into());
                events.extend(page.into_iter().map(|(name, version)| object(&self.decoder, name, version)));
                events.push(Event::PageEnd { version, next });
            }
            Serving::Streaming { left, at } => match left.pop() {
                Some((name, version)) => events.push(object(&self.decoder, name, version)),
                None => {
                    events.push(Event::Bookmark { version: Some(at.to_string().into()), initial_end: true });
                    self.serving = Serving::Watch { after: *at };
                }
            },
            Serving::Watch { after } if *after < self.compacted => {
                events.push(Event::Failed(Failure { code: 410, ..Failure::default() }));
            }
            Serving::Watch { after } => match self.history.iter().find(|(at, ..)| at > after) {
                Some((at, name, there)) => {
                    *after = *at;
                    events.push(match there {
                        true => object(&self.decoder, *name, *at),
                        false => Event::Deleted { key: mk_key(*name), version: Some(at.to_string().into()) },
                    });
                }
                None => {
                    *after = self.version;
                    events.push(Event::Bookmark { version: Some(self.version.to_string().into()), initial_end: false });
                }
            },
        }
        let stream = self.streams;
        for event in events {
            if self.streams != stream {
                return;
            }
            // A page that ends twice would be two answers to one request.
            if again && !matches!(event, Event::PageEnd { .. }) {
                self.event(event.clone());
            }
            if self.streams != stream {
                return;
            }
            self.event(event);
        }
    }

    fn open(&mut self) {
        self.queue.abort_list();
        self.listing = false;
        self.streams += 1;
        self.cursor = self.queue.cursor().map(|cursor| number(&cursor.0));
        let from = self.queue.cursor().map(|cursor| cursor.0.clone());
        self.state = State::Closed;
        self.event(Event::Open { from, streaming: self.streaming });
    }

    fn event(&mut self, event: Event) {
        let (state, actions) = step(std::mem::replace(&mut self.state, State::Ended), event);
        self.state = state;
        let ended = self.state == State::Ended;
        let last = actions.len();
        for (at, action) in actions.into_iter().enumerate() {
            match action {
                Action::End(ending) => {
                    assert!(ended && at + 1 == last, "nothing comes after the end");
                    self.end(&ending);
                    return;
                }
                other => self.act(other),
            }
        }
        assert!(!ended, "an end is told");
    }

    fn end(&mut self, ending: &Ending) {
        if matches!(ending, Ending::Relist { .. }) {
            self.queue.forget_cursor();
        }
        self.open();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::RequestPage { next: None, limited } => {
                let left = self.things.iter().map(|(name, version)| (*name, *version)).collect();
                let size = if limited { 2 } else { usize::MAX };
                self.serving = Serving::Pages { at: self.version, left, size, asked: true };
            }
            Action::RequestPage { next: Some(next), .. } => match &mut self.serving {
                Serving::Pages { asked, .. } => {
                    assert_eq!((&*next, *asked), ("token", false), "a page is asked for after the one before");
                    *asked = true;
                }
                _ => panic!("a token that nobody gave"),
            },
            Action::OpenStreaming => {
                assert!(self.streaming);
                let left = self.things.iter().map(|(name, version)| (*name, *version)).collect();
                self.serving = Serving::Streaming { left, at: self.version };
            }
            Action::OpenWatch { from } => {
                let after = number(&from);
                assert!(after > 0, "0 is any state");
                self.serving = Serving::Watch { after };
            }
            Action::Probe => self.event(Event::Probed(Some(self.version.to_string().into()))),
            Action::RememberPaged => self.streaming = false,
            Action::Emit(event) => self.emit(event),
            Action::End(_) => unreachable!("handled where the others are known"),
        }
    }

    fn emit(&mut self, event: SourceEvent) {
        match &event {
            SourceEvent::Init => self.listing = true,
            SourceEvent::InitApply(_) | SourceEvent::InitKeep(_) => assert!(self.listing, "outside of a list"),
            SourceEvent::InitDone(cursor) => {
                assert!(self.listing, "the end of no list");
                self.listing = false;
                self.cursor = Some(number(&cursor.0));
            }
            SourceEvent::Apply(_) => assert!(!self.listing && self.cursor.is_some(), "before there is a list"),
            SourceEvent::Delete(_) => assert!(self.listing || self.cursor.is_some(), "before there is a list"),
            SourceEvent::Bookmark(Cursor(at)) => {
                assert!(!self.listing && self.cursor.is_some_and(|cursor| number(at) >= cursor), "a cursor goes back");
                self.cursor = Some(number(at));
            }
        }
        self.queue.feed(event);
    }

    /// The server has nothing left to tell.
    fn is_up_to_date(&self) -> bool {
        let told = |after: u64| after >= self.compacted && self.history.iter().all(|(at, ..)| *at <= after);
        matches!(self.serving, Serving::Watch { after } if told(after)) && matches!(self.state, State::Watching(_))
    }

    /// The store takes what waits.
    fn work(&mut self) {
        let Some(delta) = self.queue.begin() else { return };
        for (key, change) in delta.changes.iter() {
            let name = NAMES.iter().position(|name| **name == *key.name).expect("there are no other names");
            match &change.new {
                Some(object) => self.seen.insert(name, number(object.resource_version().expect("all have one"))),
                None => self.seen.remove(&name),
            };
        }
        self.queue.commit();
    }
}

fn object(decoder: &Decoder, name: usize, version: u64) -> Event {
    let json = format!(r#"{{"metadata":{{"name":"{}","uid":"u","resourceVersion":"{version}"}}}}"#, NAMES[name]);
    let object: Object = decoder.decode(json).expect("it has a name");
    Event::Object { object: Arc::new(object), version: Some(version.to_string().into()) }
}

fn mk_key(name: usize) -> ObjectKey {
    ObjectKey::cluster("c", NAMES[name])
}

fn number(version: &str) -> u64 {
    let version: Name = version.into();
    version.parse().expect("our server counts")
}
