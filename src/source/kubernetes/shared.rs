//! What the streams of one cluster share, and what is remembered of a type from one stream to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::{Decoder, Transform};
use tidegate_actors::problem::Problems;
use tidegate_actors::watch;

use super::landmark::Remembered;
use super::options::Options;
use super::pool::Pool;
use super::quarantine::Quarantine;
use crate::source::schema::Catalogue;

/// See the module.
pub(super) struct Shared {
    pub options: Options,
    pub env: Env,
    pub pool: Pool,
    pub problems: Problems,
    pub catalogue: Catalogue,
    types: Mutex<BTreeMap<ResourceType, Arc<Memory>>>,
    /// API groups whose server does no streaming lists. Groups, since some are served by servers of their own.
    paged: Mutex<BTreeSet<String>>,
}

/// What is remembered of a type.
pub(super) struct Memory {
    /// One for all streams, so that their objects share names.
    pub decoder: Decoder,
    /// Objects that cannot be read.
    pub quarantine: Quarantine,
    /// A list has been complete.
    pub listed: AtomicBool,
    /// How the server has the type, and each change of that.
    pub standing: watch::Sender<Standing>,
    /// It was found by a pattern, and is read in whatever version there is.
    pub any_version: AtomicBool,
    /// By which the server is known again, by namespace.
    landmarks: Mutex<BTreeMap<Option<Name>, Remembered>>,
}

/// How the server has a type, as far as was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The version that the server has instead of the type's own.
    pub version: Option<Name>,
    /// How often it was heard that the type has come.
    pub arrivals: u64,
    /// How often it was heard that it is gone.
    pub departures: u64,
    /// Why it is not there, if the last that was heard is that it is gone.
    pub gone: Option<String>,
}

impl Shared {
    pub fn new(options: Options, env: Env, problems: Problems, catalogue: Catalogue) -> Self {
        let pool = Pool::new(&options, env.clone());
        Self { options, env, pool, problems, catalogue, types: Mutex::default(), paged: Mutex::default() }
    }

    /// What is remembered of a type.
    pub fn memory(&self, resource_type: &ResourceType) -> Arc<Memory> {
        let mut types = self.types.lock();
        let new = || {
            let decoder = Decoder::new(self.options.name.clone(), resource_type.clone());
            let known = self.catalogue.get(resource_type.group(), resource_type.kind());
            let fails_closed = known.is_some_and(|known| known.fails_closed);
            let quarantine = Quarantine::new(&self.options.name, resource_type, fails_closed, self.problems.clone());
            Arc::new(Memory {
                decoder: decoder.with_transform(Transform::LEAN),
                quarantine,
                listed: AtomicBool::new(false),
                standing: watch::Sender::default(),
                any_version: AtomicBool::new(false),
                landmarks: Mutex::default(),
            })
        };
        types.entry(resource_type.clone()).or_insert_with(new).clone()
    }

    /// What is remembered of a type in all the versions in which it is wanted.
    pub fn memories(&self, group: &str, plural: &str) -> Vec<(ResourceType, Arc<Memory>)> {
        let types = self.types.lock();
        let of = types.iter().filter(|(of, _)| of.group() == group && of.plural() == plural);
        of.map(|(of, memory)| (of.clone(), memory.clone())).collect()
    }

    /// Whether a type may be read in another version than its own.
    pub fn reads_any_version(&self, resource_type: &ResourceType, memory: &Memory) -> bool {
        memory.any_version.load(Ordering::SeqCst)
            || self.catalogue.get(resource_type.group(), resource_type.kind()).is_some()
    }

    /// Whether lists of a type may come as streams.
    pub fn streams(&self, resource_type: &ResourceType) -> bool {
        self.options.streaming_lists && !self.paged.lock().contains(resource_type.group())
    }

    /// A type's server does no streaming lists.
    pub fn remember_paged(&self, resource_type: &ResourceType) {
        let (source, group) = (&self.options.name, resource_type.group());
        if self.paged.lock().insert(group.to_owned()) {
            tracing::info!(%source, group, "the API server does no streaming lists; lists come in pages");
        }
    }
}

impl Memory {
    /// Whether a list has been complete, so that something may be held.
    pub fn was_listed(&self) -> bool {
        self.listed.load(Ordering::SeqCst)
    }

    /// The newest that was told of a namespace, or of all.
    pub fn landmark(&self, namespace: &Option<Name>) -> Option<Remembered> {
        self.landmarks.lock().get(namespace).cloned()
    }

    /// This is the newest now; `None` if there is nothing.
    pub fn remember(&self, namespace: &Option<Name>, newest: Option<Remembered>) {
        let mut landmarks = self.landmarks.lock();
        match newest {
            Some(newest) => drop(landmarks.insert(namespace.clone(), newest)),
            None => drop(landmarks.remove(namespace)),
        }
    }

    /// Nothing is held any more by which a server could be known again.
    pub fn forget_landmarks(&self) {
        self.landmarks.lock().clear();
    }

    /// From now on the type is read in another version, or in its own.
    pub fn read_as(&self, version: Option<Name>) {
        self.standing.send_if_modified(|standing| std::mem::replace(&mut standing.version, version.clone()) != version);
    }

    /// The type is there, in a version of that name if not in its own.
    pub fn arrive(&self, version: Option<Name>) {
        self.standing.send_modify(|standing| {
            standing.version = version;
            standing.arrivals += 1;
            standing.gone = None;
        });
    }

    /// The type is there still; whoever looked too early looks again.
    pub fn arrive_again(&self) {
        self.standing.send_if_modified(|standing| {
            let there = standing.gone.is_none();
            standing.arrivals += u64::from(there);
            there
        });
    }

    /// The type is gone.
    pub fn depart(&self, reason: String) {
        self.standing.send_modify(|standing| {
            standing.departures += 1;
            standing.gone = Some(reason);
        });
    }
}

/// With the source goes what it said.
impl Drop for Shared {
    fn drop(&mut self) {
        self.problems.replace(&super::quarantine::scope(&self.options.name), []);
    }
}
