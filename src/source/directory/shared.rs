//! What the scanner writes and subscribers read: the ledger, the problems and a feed for each type that
//! somebody asked for. It outlives the scanner, which may fail and start again.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_actors::Map;
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ObjectKey, ObjectRef, ResourceType};
use tidegate_actors::object::Object;
use tidegate_actors::problem::{Problem, Problems, Serving};
use tidegate_actors::watch;

use super::document::Body;
use super::feed::Feed;
use super::kit::Kit;
use super::ledger::{Change, Ledger, Placed, Update};
use super::options::Options;
use super::report::Report;
use crate::source::schema::Catalogue;

/// See the module.
pub(super) struct Shared {
    pub options: Options,
    pub env: Env,
    pub kit: Kit,
    /// Tells this run's cursors from an earlier run's.
    pub epoch: String,
    state: Mutex<State>,
    /// Whether the directory has been read once.
    ready: watch::Sender<bool>,
    problems: Problems,
    scope: String,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    report: Report,
    feeds: Map<ResourceType, Feed>,
    directories: Vec<Name>,
    /// Something in the directory could not be looked at, or not yet.
    unseen: bool,
}

impl Shared {
    pub fn new(options: Options, env: Env, problems: Problems, catalogue: Catalogue) -> Self {
        let epoch = format!("{:x}-{:x}", env.clock.wall().as_nanos(), env.rng.next_u64());
        Self {
            kit: Kit::new(options.name.clone(), options.max_object_bytes, catalogue),
            scope: format!("source/{}", options.name),
            options,
            env,
            epoch,
            state: Mutex::default(),
            ready: watch::Sender::new(false),
            problems,
        }
    }

    /// For waiting until the directory has been read once.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Takes in a round's results. After the first complete one, subscribers are served.
    pub fn commit(&self, updates: BTreeMap<Name, Update>, complete: bool) {
        let mut state = self.state.lock();
        let State { ledger, report, feeds, unseen, .. } = &mut *state;
        if !updates.is_empty() {
            publish(feeds, ledger.apply(updates, &self.kit, report));
        }
        if complete {
            publish(feeds, ledger.let_go(&self.kit, *unseen));
        }
        report.publish(&self.problems, &self.scope);
        drop(state);
        if complete && !*self.ready.borrow() {
            self.ready.send_replace(true);
        }
    }

    /// Runs `read` on the feed of a type, which is made, and its kind learned, when it is asked for first.
    /// `read` is also told what is kept although nothing defines it.
    pub fn feed<R>(&self, resource_type: &ResourceType, read: impl FnOnce(&Feed, Vec<ObjectKey>) -> R) -> R {
        let mut state = self.state.lock();
        let State { ledger, report, feeds, unseen, .. } = &mut *state;
        if self.kit.learn(resource_type) {
            publish(feeds, ledger.adopt(&self.kit, report));
            report.publish(&self.problems, &self.scope);
        }
        publish(feeds, ledger.let_go(&self.kit, *unseen));
        let resource_type = self.served_as(resource_type);
        let feed = feeds.entry(resource_type.clone()).or_insert_with(|| {
            let mut feed = Feed::default();
            let of_type = ledger.served().filter(|(id, _)| id.resource_type == resource_type);
            let mut objects: Vec<_> = of_type.map(|(_, object)| object).collect();
            objects.sort_by(|a, b| a.key().cmp(b.key()));
            objects.into_iter().for_each(|object| feed.set(object.key(), Some(object.clone())));
            feed
        });
        read(feed, ledger.restored.of(&resource_type))
    }

    /// The type that the objects of a kind are served as, whatever version of it is asked for.
    fn served_as(&self, resource_type: &ResourceType) -> ResourceType {
        let known = self.kit.known(resource_type.group(), resource_type.kind());
        known.map_or_else(|| resource_type.clone(), |known| known.entry.resource_type.clone())
    }

    /// An earlier run held these.
    pub fn restored(&self, resource_type: &ResourceType, objects: &[Arc<Object>]) {
        let keys = objects.iter().map(|object| object.key().clone());
        self.state.lock().ledger.restored.add(self.served_as(resource_type), keys);
    }

    /// Says whether something in the directory could not be looked at, or not yet.
    pub fn set_unseen(&self, unseen: bool) {
        self.state.lock().unseen = unseen;
    }

    /// What a file held when it was read last.
    pub fn documents(&self, name: &str) -> Vec<Placed> {
        self.state.lock().ledger.documents(name).to_vec()
    }

    /// Whether it held anything.
    pub fn has_documents(&self, name: &str) -> bool {
        !self.state.lock().ledger.documents(name).is_empty()
    }

    /// The files that are known.
    pub fn paths(&self) -> Vec<Name> {
        self.state.lock().ledger.paths().cloned().collect()
    }

    /// Whether any file is known, or was in an earlier run.
    pub fn has_any(&self) -> bool {
        let state = self.state.lock();
        state.ledger.paths().next().is_some() || !state.ledger.restored.is_empty()
    }

    /// Says something about the directory as a whole, or takes it back; it goes out with the next commit.
    pub fn say(&self, topic: &str, place: &str, problem: Option<(String, Serving)>) {
        self.state.lock().report.source(topic, place, problem);
    }

    /// Says which directories are not looked into, and why; all of them.
    pub fn say_directories(&self, closed: impl Iterator<Item = (Name, String)>) {
        let closed: BTreeMap<_, _> = closed.collect();
        let mut state = self.state.lock();
        let State { report, directories, .. } = &mut *state;
        for old in std::mem::take(directories).iter().filter(|old| !closed.contains_key(*old)) {
            report.source(&format!("directory/{old}"), old, None);
        }
        for (name, reason) in closed {
            report.source(&format!("directory/{name}"), &name, Some((reason, Serving::LastGood)));
            directories.push(name);
        }
    }

    /// How many files there are, and how many documents of each group and kind that nobody knows.
    pub fn census(&self) -> (usize, BTreeMap<(String, String), usize>) {
        let state = self.state.lock();
        let mut foreign = BTreeMap::new();
        let documents = state.ledger.paths().flat_map(|path| state.ledger.documents(path));
        for part in documents.flat_map(|placed| &placed.document.parts) {
            if let Body::Foreign { group, kind, .. } = &part.body {
                *foreign.entry((group.clone(), kind.clone())).or_default() += 1;
            }
        }
        (state.ledger.paths().count(), foreign)
    }

    /// Everything that is served, and everything that is wrong.
    pub fn snapshot(&self) -> (Vec<(ObjectRef, Arc<Object>)>, Vec<Problem>) {
        let state = self.state.lock();
        let mut objects: Vec<_> = state.ledger.served().map(|(id, object)| (id.clone(), object.clone())).collect();
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        (objects, state.report.all())
    }
}

fn publish(feeds: &mut Map<ResourceType, Feed>, changes: Vec<Change>) {
    let mut told: Vec<ResourceType> = Vec::new();
    for (ObjectRef { resource_type, key }, object) in changes {
        let Some(feed) = feeds.get_mut(&resource_type) else { continue };
        feed.set(&key, object);
        if !told.contains(&resource_type) {
            told.push(resource_type);
        }
    }
    told.iter().filter_map(|resource_type| feeds.get(resource_type)).for_each(Feed::notify);
}
