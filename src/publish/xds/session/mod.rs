//! What one client has, wants and is owed, as a state machine without a network: requests and changes go in,
//! responses and events come out. What is particular to delta and to state of the world is in their own files.
//!
//! Laws: one response in flight a type; everything else is coalesced by name, so a client that stalls costs
//! memory bounded by the number of names; a session never looks at another one.

mod send;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::Set;
use tidegate_actors::id::Name;
use tokio::time::Instant;

pub use state::{Held, InFlight, Item, Known, Pending, TypeState};

use super::cache::{Cache, Entry, View, table_of};
use super::kind::Kind;
use super::resource::Resource;

/// How long routes wait for a new cluster to become usable.
pub const WARMING: Duration = Duration::from_secs(5);

/// "Everything", spelled out.
pub(super) const WILDCARD: &str = "*";

/// A response to be sent.
#[derive(Debug)]
pub struct Response {
    /// Its type.
    pub kind: Kind,
    /// Its nonce.
    pub nonce: u64,
    /// Delta: the model's version; state of the world: hash of what is in it.
    pub version: String,
    /// What is added or changed; in state of the world, for types whose absence deletes, everything.
    pub resources: Vec<Arc<Resource>>,
    /// Delta: what there is not.
    pub removed: Vec<Name>,
}

/// Something that others want to hear of.
#[derive(Debug)]
pub enum Event {
    /// A response was accepted.
    Acked {
        /// Its type.
        kind: Kind,
        /// When the oldest change in it reached us.
        since: Option<Instant>,
    },
    /// A response was rejected.
    Nacked {
        /// Its type.
        kind: Kind,
    },
    /// A resource is rejected by itself, and is held back.
    Held {
        /// What was rejected.
        resource: Arc<Resource>,
        /// What the client has instead, if that came over this stream.
        good: Option<Arc<Resource>>,
        /// In the client's words.
        reason: String,
    },
    /// A resource is no longer held back.
    Healed {
        /// Its type.
        kind: Kind,
        /// Its name.
        name: Name,
    },
}

/// What a client did that ends its stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It asks for more names than the server allows one client.
    #[error("{subscriptions} resource names subscribed, {limit} allowed a client (xds.max_subscriptions)")]
    TooManySubscriptions {
        /// How many.
        subscriptions: usize,
        /// The limit.
        limit: usize,
    },
}

/// See the module.
pub struct Session {
    pub(super) view: View,
    pub(super) types: [TypeState; Kind::COUNT],
    /// Clusters that the client is being told of and cannot use yet, and until when routes wait for them.
    warming: BTreeMap<Name, Instant>,
    /// Set when a client comes back with clusters: until it has asked for its routes too, or until then, no
    /// cluster is taken from it, since its routes may still lead there.
    settles: Option<Instant>,
    /// Set when something is let go of with nothing to say of it: what waited for it may go now, and no answer will
    /// come that makes us look again.
    again: Option<Instant>,
    /// Clusters that were sent before the client asked for any endpoints.
    pub(super) renewed: Set<Name>,
    /// Clusters that a client which came back may have, and that are not there any more: as long as it has not
    /// accepted them.
    pub(super) recalled: Vec<Name>,
    /// Over state of the world: the client has something from an earlier stream, and cannot say what.
    pub(super) came_back: bool,
    /// The cache's version that was last looked at.
    seen: u64,
    nonce: u64,
    /// What secrets that are new to the stream are written with: see [`salted`](Self::salted).
    salt: u64,
    max_subscriptions: usize,
    responses: Vec<Response>,
    events: Vec<Event>,
}

impl Session {
    /// A client that has asked for nothing yet.
    pub fn new(view: View, max_subscriptions: usize) -> Self {
        Self {
            view,
            types: Default::default(),
            warming: BTreeMap::new(),
            settles: None,
            again: None,
            renewed: Set::default(),
            recalled: Vec::new(),
            came_back: false,
            seen: 0,
            nonce: 0,
            salt: 0,
            max_subscriptions,
            responses: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A number that no other stream has. Envoy does not look again at a secret whose bytes it has seen last, and
    /// accepts it, even if it rejected it over an earlier stream; so each stream writes secrets in bytes of its own.
    pub fn salted(mut self, salt: u64) -> Self {
        self.salt = salt;
        self
    }

    /// What is to be sent now, in order.
    pub fn take_responses(&mut self) -> Vec<Response> {
        std::mem::take(&mut self.responses)
    }

    /// What happened.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The state of a type, to be shown.
    pub fn state(&self, kind: Kind) -> &TypeState {
        &self.types[kind as usize]
    }

    /// The newest version of the model that the client has confirmed all of that it wants.
    pub fn live(&self) -> u64 {
        let oldest = self.types.iter().filter_map(TypeState::oldest_change).min();
        oldest.map_or(self.seen, |oldest| oldest.saturating_sub(1))
    }

    /// When [`on_tick`](Self::on_tick) is next worth calling.
    pub fn deadline(&self) -> Option<Instant> {
        self.warming.values().chain(&self.settles).chain(&self.again).min().copied()
    }

    /// The cache changed.
    pub fn on_change(&mut self, cache: &Cache, now: Instant) {
        self.catch_up(cache);
        self.advance(cache, now);
    }

    /// A request for a type came; whether it is the first.
    pub(super) fn begin(&mut self, cache: &Cache, kind: Kind) -> bool {
        self.catch_up(cache);
        !std::mem::replace(&mut self.types[kind as usize].requested, true)
    }

    /// Looks at what changed in the cache; before anything else, so that what a request finds is what was seen.
    pub(super) fn catch_up(&mut self, cache: &Cache) {
        if self.seen == cache.version() {
            return;
        }
        if self.types.iter().any(|state| state.requested) {
            match cache.changes_since(self.seen) {
                Some(entries) => {
                    for entry in entries {
                        self.note(entry);
                    }
                }
                None => {
                    for kind in Kind::ALL {
                        self.mark_all(cache, kind);
                    }
                }
            }
        }
        self.seen = cache.version();
    }

    /// Time went by.
    pub fn on_tick(&mut self, cache: &Cache, now: Instant) {
        self.catch_up(cache);
        self.warming.retain(|_, deadline| *deadline > now);
        self.settles = self.settles.filter(|deadline| *deadline > now);
        self.again = None;
        self.advance(cache, now);
    }

    fn note(&mut self, entry: &Entry) {
        let Entry { version, since, kind, name } = entry;
        let table;
        let (kind, name) = if *kind == Kind::VirtualHost && self.view.inline {
            table = Name::from(table_of(name));
            (Kind::RouteConfig, &table)
        } else {
            (*kind, name)
        };
        if self.is_wanted(kind, name) {
            self.types[kind as usize].mark(name, *version, *since, false);
        }
    }

    /// Envoy drops a virtual host whose table it does not have, but remembers its version; so it gets one only
    /// with, or after, its table. Whoever asks by name gets what it asks for.
    pub(super) fn is_wanted(&self, kind: Kind, name: &str) -> bool {
        let state = self.state(kind);
        if kind != Kind::VirtualHost || state.names.contains(name) {
            return state.wants(name);
        }
        state.wildcard && self.state(Kind::RouteConfig).known.contains_key(table_of(name))
    }

    /// Looks at everything of a type that the client wants or has.
    pub(super) fn mark_all(&mut self, cache: &Cache, kind: Kind) {
        if !self.state(kind).requested {
            return;
        }
        let mut names = cache.names(kind, &self.view);
        names.retain(|name| self.is_wanted(kind, name));
        let state = self.state(kind);
        // What is on its way the client will have too, whether or not it is still there; unless it wants it no more.
        let in_flight = state.in_flight.iter().flat_map(|sent| sent.items.iter().map(|item| &item.name));
        let on_its_way = in_flight.chain(state.suspects.iter().flatten()).filter(|name| self.is_wanted(kind, name));
        let known: Vec<Name> = state.known.keys().chain(on_its_way).cloned().collect();
        let state = &mut self.types[kind as usize];
        for name in names.into_iter().chain(known) {
            state.mark(&name, cache.version(), None, false);
        }
    }

    /// The client's answer to a response: `error` if it rejects it. An answer to another one than that in flight
    /// is late, and says nothing.
    pub(super) fn on_answer(&mut self, cache: &Cache, kind: Kind, nonce: u64, error: Option<&str>) {
        let state = &mut self.types[kind as usize];
        if state.in_flight.as_ref().is_none_or(|sent| sent.nonce != nonce) {
            return;
        }
        let Some(sent) = state.in_flight.take() else { return };
        match error {
            None => self.on_ack(cache, kind, sent),
            Some(reason) => self.on_nack(cache, kind, sent, reason),
        }
    }

    fn on_ack(&mut self, cache: &Cache, kind: Kind, sent: InFlight) {
        let since = sent.items.iter().filter_map(|item| item.pending.since).min();
        self.events.push(Event::Acked { kind, since });
        self.types[kind as usize].acked = Some(sent.version);
        if kind == Kind::Cluster {
            for name in std::mem::take(&mut self.recalled) {
                // Accepted with what it is now, perhaps, and then nothing more will come that says so.
                if self.state(Kind::Endpoints).known.contains_key(&name) {
                    self.warming.remove(&name);
                }
            }
        }
        for Item { name, resource, pending } in sent.items {
            if !sent.restores {
                self.heal(kind, &name);
            }
            match resource {
                Some(resource) => {
                    resource.set_accepted();
                    if self.is_wanted(kind, &name) {
                        self.types[kind as usize]
                            .known
                            .insert(name.clone(), Known { version: Some(resource.version), resource: Some(resource) });
                    }
                    self.on_accepted(cache, kind, &name, pending.gate);
                }
                None => {
                    self.types[kind as usize].known.remove(&name);
                    if kind == Kind::RouteConfig {
                        self.forget_hosts_of(&name);
                    }
                }
            }
        }
    }

    /// What follows from a resource that a client has accepted.
    fn on_accepted(&mut self, cache: &Cache, kind: Kind, name: &Name, gate: u64) {
        match kind {
            // It was given them for as long as it keeps their cluster.
            Kind::Endpoints if cache.get(kind, name, &self.view).is_none() => {
                self.types[kind as usize].mark(name, cache.version(), None, false);
            }
            // Envoy holds the ACK of a cluster back until all new ones have their endpoints, so this one says that
            // it can be used.
            Kind::Endpoints if !self.state(Kind::Cluster).pending.contains_key(name) => {
                self.warming.remove(name);
            }
            // Envoy asks for virtual hosts once and never again, whatever tables come later. It may have given the table up
            // before it confirmed it.
            Kind::RouteConfig
                if !self.view.inline
                    && self.state(Kind::VirtualHost).wildcard
                    && self.state(kind).known.contains_key(name) =>
            {
                for host in cache.hosts_of(name) {
                    // Not of those that it may not see: even a name is none of its business.
                    let seen = cache.get(Kind::VirtualHost, host, &self.view).is_some();
                    let hosts = &mut self.types[Kind::VirtualHost as usize];
                    if seen || (hosts.known.contains_key(host) && !hosts.is_going(host)) {
                        hosts.mark(host, cache.version(), None, true);
                        if let Some(pending) = hosts.pending.get_mut(host) {
                            pending.gate = pending.gate.min(gate);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// A client no longer rejects a resource, or it is no longer there to be rejected.
    pub(super) fn heal(&mut self, kind: Kind, name: &Name) {
        if self.types[kind as usize].held.remove(name).is_some() {
            self.events.push(Event::Healed { kind, name: name.clone() });
        }
    }

    /// The client does not want a name any more.
    pub(super) fn forget(&mut self, kind: Kind, name: &Name) {
        self.types[kind as usize].forget(name);
        self.heal(kind, name);
        if kind == Kind::RouteConfig {
            self.forget_hosts_of(name);
        }
    }

    /// Forgets all that a client does not want any more, since it wanted everything before.
    pub(super) fn forget_unwanted(&mut self, kind: Kind) {
        let state = self.state(kind);
        let names = state.known.keys().chain(state.pending.keys()).chain(state.held.keys());
        let unwanted: Vec<Name> = names.filter(|name| !state.wants(name)).cloned().collect();
        for name in unwanted {
            self.forget(kind, &name);
        }
    }

    /// With a table the client forgets its virtual hosts, and will need them again with the next one.
    fn forget_hosts_of(&mut self, table: &str) {
        let hosts = self.state(Kind::VirtualHost);
        let of_table = |host: &&Name| table_of(host) == table && !hosts.names.contains(*host);
        let names = hosts.known.keys().chain(hosts.pending.keys()).chain(hosts.held.keys());
        let forgotten: Vec<Name> = names.filter(of_table).cloned().collect();
        for host in forgotten {
            self.types[Kind::VirtualHost as usize].forget(&host);
            self.heal(Kind::VirtualHost, &host);
        }
    }

    /// Routes need not wait for a cluster any more.
    pub(super) fn give_up_warming(&mut self, cluster: &str) {
        self.warming.remove(cluster);
    }

    /// The client comes back with clusters from an earlier stream.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settles = Some(now + WARMING);
        self.came_back = true;
    }

    pub(super) fn push_event(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn check_limits(&self) -> Result<(), Violation> {
        let subscriptions = self.types.iter().map(|state| state.names.len()).sum();
        if subscriptions > self.max_subscriptions {
            return Err(Violation::TooManySubscriptions { subscriptions, limit: self.max_subscriptions });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
