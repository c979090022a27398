//! What a session knows about one resource type of its client.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::id::Name;
use tidegate_actors::{Map, Set};
use tokio::time::Instant;

use crate::publish::xds::resource::Resource;
use crate::publish::xds::rope::Version;

/// See the module.
#[derive(Default)]
pub struct TypeState {
    /// The client has asked for the type at least once.
    pub requested: bool,
    /// Over state of the world: the client has named something, be it the wildcard, which ends the right to mean everything
    /// by nothing.
    pub by_name: bool,
    /// It wants everything that it sees.
    pub wildcard: bool,
    /// It must be answered, even if there is nothing to tell.
    pub owes: bool,
    /// What it wants by name, whether it exists or not.
    pub names: Set<Name>,
    /// What it has.
    pub known: Map<Name, Known>,
    /// What it should perhaps be told. At most one entry a name.
    pub pending: BTreeMap<Name, Pending>,
    /// What it was told and has not answered.
    pub in_flight: Option<InFlight>,
    /// After a NACK: groups of names to be sent apart, the next one last.
    pub suspects: Vec<Vec<Name>>,
    /// Good versions of what it rejects, to be sent to it again.
    pub restores: Vec<Arc<Resource>>,
    /// What it rejects.
    pub held: BTreeMap<Name, Held>,
    /// Nonce of the latest response.
    pub last_nonce: u64,
    /// Version of the latest response that was accepted.
    pub acked: Option<String>,
    /// The latest rejection, in the client's words.
    pub last_nack: Option<String>,
}

/// A resource that a client has.
pub struct Known {
    /// Its version; `None` if the client named one that is not ours.
    pub version: Option<Version>,
    /// Itself; `None` if it came with an earlier stream and is not what we have now.
    pub resource: Option<Arc<Resource>>,
}

/// Why a name is to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The oldest of the cache's versions that changed it since it was last sent.
    pub first: u64,
    /// From which version on the client may run with something older, as far as others that wait for it must know.
    pub gate: u64,
    /// The newest.
    pub last: u64,
    /// When the oldest change reached us.
    pub since: Option<Instant>,
    /// The client asked, or must be told again: it is sent even if it seems to have it, or if there is none.
    pub force: bool,
    /// There is none any more, and the client has to keep it until it needs it no longer.
    pub lingers: bool,
}

impl Pending {
    /// A change that came with a version.
    pub fn new(version: u64, since: Option<Instant>, force: bool) -> Self {
        Self { first: version, gate: version, last: version, since, force, lingers: false }
    }
}

/// One name in a response.
pub struct Item {
    /// The name.
    pub name: Name,
    /// What was sent; `None`: that there is none.
    pub resource: Option<Arc<Resource>>,
    /// Why.
    pub pending: Pending,
}

/// A response that waits for its answer.
pub struct InFlight {
    /// Its nonce.
    pub nonce: u64,
    /// Its version.
    pub version: String,
    /// What it changes, sorted by name.
    pub items: Vec<Item>,
    /// It restores good versions, and says nothing about the current ones.
    pub restores: bool,
}

/// A resource that a client rejects.
pub struct Held {
    /// The version that it rejected.
    pub version: Version,
    /// Since when the client runs with something older.
    pub gate: u64,
    /// Why, in its words.
    pub reason: String,
}

impl TypeState {
    /// Whether the client wants to hear of a name.
    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Notes that a name is to be looked at.
    pub fn mark(&mut self, name: &Name, version: u64, since: Option<Instant>, force: bool) {
        if !self.requested {
            return;
        }
        let fresh = Pending::new(version, since, force);
        let pending = self.pending.entry(name.clone()).or_insert(fresh);
        pending.last = version;
        pending.force |= force;
        pending.since = pending.since.or(since);
    }

    /// Nobody knows since when the client has not been told of what it asks for now.
    pub fn mark_old(&mut self) {
        for pending in self.pending.values_mut() {
            pending.gate = 0;
        }
    }

    /// Forgets a name that the client no longer wants.
    pub fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.pending.remove(name);
    }

    /// How many names others may wait for: that have to be sent, or may turn out to be nothing, or to stay for now.
    pub fn awaited(&self) -> usize {
        let pending = self.pending.values().filter(|pending| !pending.lingers).count();
        pending + self.suspects.iter().map(Vec::len).sum::<usize>() + self.restores.len()
    }

    /// Whether the client was told that there is none, and has not answered.
    pub fn is_going(&self, name: &str) -> bool {
        self.in_flight_item(name).is_some_and(|item| item.resource.is_none())
    }

    fn in_flight_item(&self, name: &str) -> Option<&Item> {
        let sent = self.in_flight.as_ref()?;
        let at = sent.items.binary_search_by(|item| (*item.name).cmp(name)).ok()?;
        Some(&sent.items[at])
    }

    /// Whether a resource waits for its answer, or for its turn after a NACK.
    pub fn is_on_its_way(&self, name: &str) -> bool {
        self.in_flight_item(name).is_some_and(|item| item.resource.is_some())
            || self.suspects.iter().flatten().any(|suspect| **suspect == *name)
    }

    /// Whether the client has accepted a resource, and nothing newer of it is to be sent or on its way.
    pub fn has_newest(&self, name: &str) -> bool {
        self.known.contains_key(name) && !self.pending.contains_key(name) && !self.is_on_its_way(name)
    }

    /// What the client runs with in place of what it rejects, as far as is known.
    pub fn held_goods(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.held.keys().filter_map(|name| self.known.get(name)?.resource.as_ref())
    }

    /// The oldest of the cache's versions that the client has not confirmed all of; `None` if it has.
    pub fn oldest_unconfirmed(&self) -> Option<u64> {
        self.oldest_of(|pending| Some(pending.gate))
    }

    /// The same without what is to go as soon as the client can do without it, which may be never if it rejects what
    /// would replace it.
    pub fn oldest_awaited(&self) -> Option<u64> {
        self.oldest_of(|pending| (!pending.lingers).then_some(pending.gate))
    }

    /// The oldest of the cache's versions that changed what the client has not confirmed.
    pub fn oldest_change(&self) -> Option<u64> {
        self.oldest_of(|pending| (!pending.lingers).then_some(pending.first))
    }

    fn oldest_of(&self, version: impl Fn(&Pending) -> Option<u64>) -> Option<u64> {
        if !self.suspects.is_empty() || !self.restores.is_empty() {
            return Some(0);
        }
        let pending = self.pending.values();
        let in_flight = self.in_flight.iter().flat_map(|sent| sent.items.iter().map(|item| &item.pending));
        pending.chain(in_flight).filter_map(version).min()
    }
}
