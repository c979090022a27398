//! The oracle of the protocol: what the server has been told over one stream, what it may therefore say, and what it
//! still owes. It looks at requests and responses alone, never into the session. Here is what requests mean; what a
//! response may say and what must have been said in the end are in files of their own.

mod check;

mod quiet;

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::client::{Client, Request};
use super::wants::Wants;
use super::world::{Content, Key};
use crate::publish::xds::cache::table_of;
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::WARMING;

/// Why a response, or its absence, is wrong.
pub type Wrong = String;

macro_rules! rule {
    ($holds:expr, $($why:tt)*) => {
        if !$holds {
            return Err(format!($($why)*));
        }
    };
}
pub(super) use rule;

/// What one stream has seen.
#[derive(Default)]
pub struct Oracle {
    inline: bool,
    /// The subscriptions that the server has heard.
    heard: [Wants; Kind::COUNT],
    /// What the server knows that the client has.
    acked: BTreeMap<Key, Content>,
    in_flight: BTreeMap<Kind, Flight>,
    /// What may be sent although the client has it: it asked, or must be told again.
    again: BTreeSet<Key>,
    /// Names that must be answered, even if there are none.
    asked: BTreeSet<Key>,
    /// Types whose first lists were rejected: another, without what is bad, may come although nothing in it is new.
    repeats: BTreeSet<Kind>,
    accepted: BTreeSet<Kind>,
    /// What was rejected and was away since: it may be another when it is back.
    vanished: BTreeSet<Key>,
    /// Removals that were rejected, which leads nowhere.
    refused: BTreeSet<Key>,
    /// Types of which it rejects that there is nothing, and keeps what no list of this stream has named.
    stubborn: BTreeSet<Kind>,
    /// What was rejected when it stood alone.
    pub alone: BTreeMap<Key, Content>,
    /// Types whose first request must be answered.
    owed: BTreeSet<Kind>,
    /// Clusters of which endpoints must follow.
    owed_endpoints: BTreeSet<String>,
    /// Clusters that the client was sent, or came with.
    told: BTreeSet<String>,
    /// Clusters that routes need not wait for any more, and since when they wait for the others.
    ready: BTreeSet<String>,
    waiting: BTreeMap<String, Instant>,
    nonce: u64,
    nonces: BTreeMap<Kind, u64>,
    /// When the client came back with clusters; what its stream before had asked for.
    came_back: Option<Instant>,
    resumes: BTreeSet<Kind>,
    /// Over state of the world nobody can know what a client has from another scope.
    moved: bool,
}

struct Flight {
    nonce: u64,
    /// What it says that is new.
    items: Vec<(String, Option<Content>)>,
    /// All that it names, where absence deletes.
    all: Option<BTreeSet<String>>,
    /// It gives the client something older, in place of what it rejects.
    restores: bool,
}

/// What a check looks at beside the response.
pub struct Now<'a> {
    pub seen: &'a BTreeMap<Key, Content>,
    pub client: &'a Client,
    pub time: Instant,
    /// Clusters that went while the model itself still led there.
    pub dangled: &'a BTreeSet<String>,
    /// What others have accepted before, and a client may be given that rejects what is newest.
    pub accepted: &'a BTreeSet<(Key, Content)>,
}

fn full(inline: bool, kind: Kind) -> bool {
    inline && matches!(kind, Kind::Cluster | Kind::Listener)
}

impl Oracle {
    pub fn new(inline: bool, resumes: BTreeSet<Kind>, moved: bool) -> Self {
        Self { inline, resumes, moved: moved && inline, ..Self::default() }
    }

    pub fn heard(&self, kind: Kind) -> &Wants {
        &self.heard[kind as usize]
    }

    /// The clock moves, or the server is about to look at the world.
    pub fn look(&mut self, now: &Now<'_>) {
        self.vanished.extend(self.alone.keys().filter(|key| !now.seen.contains_key(*key)).cloned());
        if self.inline {
            // What is gone cannot be said to be, and counts as unknown when it is back.
            let gone = self.acked.keys().filter(|key| !full(true, key.0) && !now.seen.contains_key(*key));
            self.again.extend(gone.cloned());
        }
        let clusters = &self.heard[Kind::Cluster as usize];
        let visible = |name: &str| now.seen.contains_key(&(Kind::Cluster, name.to_owned()));
        self.waiting.retain(|name, _| visible(name));
        for (kind, name) in now.seen.keys() {
            if *kind == Kind::Cluster && clusters.requested && clusters.wants(name) && !self.ready.contains(name) {
                self.waiting.entry(name.clone()).or_insert(now.time);
            }
        }
        self.waiting.retain(|name, since| {
            let over = now.time >= *since + WARMING;
            if over {
                self.ready.insert(name.clone());
            }
            !over
        });
    }

    /// A request arrives at the server. False if it is to be ignored.
    pub fn hear(
        &mut self,
        request: &Request,
        client: &mut Client,
        seen: &BTreeMap<Key, Content>,
        time: Instant,
    ) -> bool {
        let kind = request.kind;
        let first = !self.heard(kind).requested;
        let nonce = request.nonce.parse::<u64>().ok();
        if self.inline && !first && nonce.is_some() && nonce != self.nonces.get(&kind).copied() {
            self.heard[kind as usize].name(&request.names);
            return false;
        }
        if !first && let Some(flight) = self.in_flight.get(&kind).filter(|flight| nonce == Some(flight.nonce)) {
            let _ = flight;
            self.answered(kind, request.error, seen);
        }
        let before = self.heard(kind).clone();
        let wants = &mut self.heard[kind as usize];
        if self.inline {
            wants.sotw(kind, &request.names);
            let new: Vec<String> = wants.names.difference(&before.names).cloned().collect();
            for name in new {
                self.acked.remove(&(kind, name.clone()));
                self.again.insert((kind, name));
            }
            if first && full(true, kind) {
                self.owed.insert(kind);
                if kind == Kind::Cluster && !request.version.is_empty() {
                    self.came_back = Some(time);
                }
            }
            let wants = self.heard[kind as usize].clone();
            client.let_go(kind, request.number, |name| !wants.wants(name));
        } else {
            wants.delta(kind, &request.subscribe, &request.unsubscribe);
            self.hear_delta(request, first, &before, time);
        }
        let wants = self.heard[kind as usize].clone();
        self.acked.retain(|(of, name), _| *of != kind || wants.wants(name));
        self.alone.retain(|(of, name), _| *of != kind || wants.wants(name));
        self.asked.retain(|(of, name)| *of != kind || wants.wants(name));
        if kind == Kind::RouteConfig {
            self.drop_orphans();
        }
        if kind == Kind::Cluster {
            self.told.retain(|name| wants.wants(name));
            self.ready.retain(|name| wants.wants(name));
            self.waiting.retain(|name, _| wants.wants(name));
        }
        if kind == Kind::Endpoints {
            self.owed_endpoints.retain(|name| wants.wants(name));
        }
        true
    }

    fn hear_delta(&mut self, request: &Request, first: bool, before: &Wants, time: Instant) {
        let kind = request.kind;
        let wants = self.heard(kind).clone();
        if first {
            for (name, (content, _)) in request.has.iter().filter(|(name, _)| wants.wants(name)) {
                self.acked.insert((kind, name.clone()), content.clone());
                if kind == Kind::Cluster {
                    self.came_back = Some(time);
                    self.told.insert(name.clone());
                    self.ready.insert(name.clone());
                }
            }
        }
        for name in request.subscribe.iter().filter(|name| *name != "*") {
            if !(first && request.has.contains_key(name)) {
                self.acked.remove(&(kind, name.clone()));
                self.again.insert((kind, name.clone()));
                self.asked.insert((kind, name.clone()));
            }
        }
        if wants.star && kind != Kind::VirtualHost && (!before.star || request.subscribe.iter().any(|n| n == "*")) {
            self.owed.insert(kind);
        }
        for name in request.unsubscribe.iter().filter(|name| *name != "*") {
            let has_table = || self.acked.contains_key(&(Kind::RouteConfig, table_of(name).to_owned()));
            if wants.star && (kind != Kind::VirtualHost || has_table()) {
                self.again.insert((kind, name.clone()));
                self.asked.insert((kind, name.clone()));
            } else {
                self.again.remove(&(kind, name.clone()));
            }
        }
    }

    /// With a table go the virtual hosts that nobody asked for by name.
    fn drop_orphans(&mut self) {
        let tables: BTreeSet<String> =
            self.acked.keys().filter(|(of, _)| *of == Kind::RouteConfig).map(|(_, name)| name.clone()).collect();
        let names = &self.heard[Kind::VirtualHost as usize].names;
        self.acked.retain(|(of, name), _| {
            *of != Kind::VirtualHost || names.contains(name) || tables.contains(table_of(name))
        });
        self.alone.retain(|(of, name), _| {
            *of != Kind::VirtualHost || names.contains(name) || tables.contains(table_of(name))
        });
    }

    /// What the client has and a list does not name.
    fn gone_from(&self, kind: Kind, all: &BTreeSet<String>) -> Vec<Key> {
        self.acked.keys().filter(|(of, name)| *of == kind && !all.contains(name)).cloned().collect()
    }

    fn answered(&mut self, kind: Kind, error: bool, seen: &BTreeMap<Key, Content>) {
        let Some(flight) = self.in_flight.remove(&kind) else { return };
        if error {
            if !self.accepted.contains(&kind) {
                self.repeats.insert(kind);
            }
            if flight.all.as_ref().is_some_and(BTreeSet::is_empty) {
                self.stubborn.insert(kind);
            }
            if flight.restores {
                return;
            }
            // In a list stands what it has accepted as well, which is no reason to reject the list; unless that came back
            // in place of what it rejects.
            let accepted = |(name, content): &&(String, Option<Content>)| {
                let key = (kind, name.clone());
                let has = content.is_some() && self.acked.get(&key) == content.as_ref();
                flight.all.is_some() && has && !self.alone.contains_key(&key)
            };
            let suspects: Vec<_> = flight.items.iter().filter(|item| !accepted(item)).collect();
            let gone: Vec<Key> = flight.all.iter().flat_map(|all| self.gone_from(kind, all)).collect();
            // It may do without what a list does not name, even if it rejects the list for something else.
            self.again.extend(gone.iter().cloned());
            if let [(name, Some(content))] = suspects[..] {
                self.alone.insert((kind, name.clone()), content.clone());
                self.drop_orphans();
                if matches!(kind, Kind::Cluster | Kind::Endpoints) {
                    self.waiting.remove(name);
                    self.ready.insert(name.clone());
                }
            } else {
                if let [(name, None)] = &flight.items[..] {
                    if kind == Kind::Cluster {
                        self.told.insert(name.clone());
                        self.ready.insert(name.clone());
                    }
                    self.refused.insert((kind, name.clone()));
                }
                self.refused.extend(gone);
                self.again.extend(flight.items.into_iter().map(|(name, _)| (kind, name)));
            }
            return;
        }
        self.accepted.insert(kind);
        self.stubborn.remove(&kind);
        if let Some(all) = &flight.all {
            self.acked.retain(|(of, name), _| *of != kind || all.contains(name));
        }
        let wants = self.heard[kind as usize].clone();
        if self.inline {
            self.refused.retain(|(of, _)| *of != kind);
        }
        for (name, content) in flight.items {
            let key = (kind, name.clone());
            let Some(content) = content else {
                self.acked.remove(&key);
                continue;
            };
            if wants.wants(&name) {
                if !flight.restores {
                    self.alone.remove(&key);
                }
                self.acked.insert(key, content);
            }
            if kind == Kind::Endpoints && self.told.contains(&name) {
                self.waiting.remove(&name);
                self.ready.insert(name.clone());
            }
            if kind == Kind::RouteConfig && self.heard(Kind::VirtualHost).star {
                let of_table = seen.keys().chain(self.acked.keys());
                let hosts = of_table.filter(|(of, host)| *of == Kind::VirtualHost && table_of(host) == name);
                let hosts: Vec<Key> = hosts.cloned().collect();
                self.again.extend(hosts);
            }
        }
        if kind == Kind::RouteConfig {
            self.drop_orphans();
        }
    }
}
