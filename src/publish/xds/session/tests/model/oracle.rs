//! The oracle of the protocol: what the server has been told over one stream, what it may therefore say, and what it
//! still owes. It looks at requests and responses alone, never into the session.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::client::{Client, Request};
use super::wants::Wants;
use super::wire::Told;
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
            client.forget(kind, |name| !wants.wants(name));
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

    fn answered(&mut self, kind: Kind, error: bool, seen: &BTreeMap<Key, Content>) {
        let Some(flight) = self.in_flight.remove(&kind) else { return };
        if error {
            if !self.accepted.contains(&kind) {
                self.repeats.insert(kind);
            }
            if flight.restores {
                return;
            }
            if let [(name, Some(content))] = &flight.items[..] {
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
                if let Some(all) = &flight.all {
                    let gone = self.acked.keys().filter(|(of, name)| *of == kind && !all.contains(name));
                    let gone: Vec<Key> = gone.cloned().collect();
                    self.again.extend(gone.iter().cloned());
                    self.refused.extend(gone);
                }
                self.again.extend(flight.items.into_iter().map(|(name, _)| (kind, name)));
            }
            return;
        }
        self.accepted.insert(kind);
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

    /// The server says something.
    pub fn check(&mut self, told: &Told, now: &Now<'_>) -> Result<(), Wrong> {
        let kind = told.kind;
        rule!(self.heard(kind).requested, "{kind} was never asked for");
        rule!(!self.in_flight.contains_key(&kind), "a second response of {kind} is in flight");
        let nonce: u64 = told.nonce.parse().map_err(|_| format!("the nonce {:?} of {kind}", told.nonce))?;
        rule!(nonce > self.nonce, "the nonce {nonce} of {kind} came before");
        (self.nonce, _) = (nonce, self.nonces.insert(kind, nonce));

        let mut items = Vec::new();
        for (name, (content, _)) in &told.resources {
            if self.check_resource(kind, name, content, now)? {
                items.push((name.clone(), Some(content.clone())));
            }
        }
        let mut removed: BTreeSet<String> = told.removed.iter().cloned().collect();
        let mut unasked = BTreeSet::new();
        for name in &removed {
            let key = (kind, name.clone());
            rule!(!now.seen.contains_key(&key), "{kind} {name} is removed, and is there");
            let had = self.acked.contains_key(&key);
            let asked = self.asked.remove(&key) | self.again.remove(&key);
            rule!(had || asked, "{kind} {name} is removed, which the client neither has nor asked for");
            if !asked {
                unasked.insert(name.clone());
            }
            items.push((name.clone(), None));
        }
        let (mut all, mut more) = (None, false);
        if full(self.inline, kind) {
            let first = self.owed.contains(&kind);
            let had = self.acked.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name);
            let held = now.client.has.keys().filter(|(of, _)| first && *of == kind).map(|(_, name)| name);
            removed = had.chain(held).filter(|name| !told.resources.contains_key(*name)).cloned().collect();
            for name in removed.iter().filter(|name| self.heard(kind).wants(name)) {
                if self.refused.contains(&(kind, name.clone())) {
                    continue;
                }
                rule!(!now.seen.contains_key(&(kind, name.clone())), "{kind} {name} is absent, and is there");
            }
            // A name that is not there is answered by its absence.
            let asked = self.again.iter().any(|(of, _)| *of == kind);
            let answered = |name: &String| told.resources.contains_key(name);
            // And perhaps only by the next one, if this one says more.
            more = self.again.iter().any(|(of, name)| *of == kind && !answered(name));
            self.again.retain(|(of, _)| *of != kind);
            let new = first || !items.is_empty() || !removed.is_empty();
            let new = new || asked || self.repeats.remove(&kind);
            let new = new || told.resources.keys().any(|name| self.refused.contains(&(kind, name.clone())));
            rule!(new, "{kind} is repeated, and nothing is new in it");
            unasked.clone_from(&removed);
            all = Some(told.resources.keys().cloned().collect());
        } else {
            let owes = self.owed.contains(&kind);
            rule!(owes || !items.is_empty(), "an empty response of {kind}, which nobody waits for");
        }
        self.owed.remove(&kind);
        if more {
            self.repeats.insert(kind);
        }
        for name in if kind == Kind::Cluster { removed } else { unasked } {
            self.check_removal(kind, &name, now)?;
        }
        let restores = items.iter().any(|(name, content)| {
            let key = (kind, name.clone());
            content.is_some() && self.alone.contains_key(&key) && now.seen.get(&key) != content.as_ref()
        });
        self.in_flight.insert(kind, Flight { nonce, items, all, restores });
        Ok(())
    }

    /// Whether a resource says something new.
    fn check_resource(&mut self, kind: Kind, name: &str, content: &Content, now: &Now<'_>) -> Result<bool, Wrong> {
        let key = (kind, name.to_owned());
        rule!(self.heard(kind).wants(name), "{kind} {name} is not subscribed to");
        let newest = now.seen.get(&key);
        let has = self.acked.get(&key);
        let rejected = self.alone.contains_key(&key);
        let again = self.again.remove(&key);
        let asked = self.asked.remove(&key);
        let is_new = has != Some(content) || again || rejected;
        if newest != Some(content) {
            let kept = full(self.inline, kind) && has == Some(content);
            let restored = kind == Kind::Secret && rejected && has == Some(content);
            let nothing =
                self.inline && kind == Kind::Endpoints && newest.is_none() && *content == Content::Endpoints(None);
            let fallback = rejected && now.accepted.contains(&(key.clone(), content.clone()));
            let lingers = self.lingers(kind, name, content, now);
            let may = kept || restored || (nothing && (again || asked)) || fallback || lingers;
            rule!(may, "{kind} {name} is sent as {content:?}, and is {newest:?}");
            if again && (restored || fallback) {
                // What it asked for is still to come.
                self.again.insert(key.clone());
            }
            if kept {
                return Ok(false);
            }
        } else if full(self.inline, kind) {
            if !is_new && !self.refused.contains(&key) {
                return Ok(false);
            }
        } else {
            rule!(is_new, "{kind} {name} is sent again as {content:?}, unchanged and unasked");
            let known_bad = self.alone.get(&key) == Some(content) && !again && !self.vanished.remove(&key);
            rule!(!known_bad, "{kind} {name} is sent again as {content:?}, which the client has rejected");
        }
        if kind == Kind::Cluster {
            self.told.insert(name.to_owned());
            let endpoints = self.heard(Kind::Endpoints);
            if endpoints.wants(name) || !endpoints.requested {
                self.again.insert((Kind::Endpoints, name.to_owned()));
                if is_new {
                    self.owed_endpoints.insert(name.to_owned());
                }
            }
        }
        if kind == Kind::Endpoints {
            self.owed_endpoints.remove(name);
            let clusters = self.heard(Kind::Cluster);
            let waits =
                clusters.requested && clusters.wants(name) && now.seen.contains_key(&(Kind::Cluster, name.to_owned()));
            let sent = self.told.contains(name) || self.alone.contains_key(&(Kind::Cluster, name.to_owned()));
            rule!(!waits || sent, "the endpoints of {name} come before it");
        }
        if kind == Kind::VirtualHost && !self.heard(kind).names.contains(name) {
            let table = (Kind::RouteConfig, table_of(name).to_owned());
            let has = self.acked.contains_key(&table) || now.client.has.contains_key(&table);
            rule!(has, "the virtual host {name} comes before its table");
        }
        if newest == Some(content) {
            for cluster in content.leads_to() {
                let since = self.waiting.get(&cluster);
                let waits = since.is_some_and(|since| now.time < *since + WARMING);
                rule!(!waits, "{kind} {name} leads to {cluster}, which the client cannot use yet");
            }
        }
        Ok(is_new)
    }

    /// State of the world cannot say what a client that comes back has, so clusters that went lately are kept in the
    /// list until its routes are new.
    fn lingers(&self, kind: Kind, name: &str, content: &Content, now: &Now<'_>) -> bool {
        let key = (kind, name.to_owned());
        self.inline
            && (self.came_back.is_some() || kind == Kind::Endpoints)
            && matches!(kind, Kind::Cluster | Kind::Endpoints)
            && !now.seen.contains_key(&key)
            && (now.accepted.contains(&(key, content.clone()))
                || kind == Kind::Endpoints
                || !self.acked.contains_key(&(kind, name.to_owned())))
    }

    /// Make before break, on the way down: nothing goes that the client's own routes and listeners still need.
    fn check_removal(&mut self, kind: Kind, name: &str, now: &Now<'_>) -> Result<(), Wrong> {
        let has = |kind: Kind, name: &str| now.client.has.get(&(kind, name.to_owned()));
        match kind {
            Kind::Cluster => {
                self.told.remove(name);
                self.ready.remove(name);
                self.waiting.remove(name);
                self.owed_endpoints.remove(name);
                let drains = self.refused.iter().any(|(of, _)| *of == Kind::Listener);
                if drains || self.moved || self.is_given_up(now.time) {
                    return Ok(());
                }
                let routes =
                    now.client.has.iter().filter(|((of, _), _)| *of == Kind::VirtualHost || *of == Kind::RouteConfig);
                for (key, _) in routes.filter(|(_, (content, _))| content.leads_to().contains(name)) {
                    let table = if key.0 == Kind::VirtualHost { table_of(&key.1) } else { &key.1 };
                    let drains = !now.seen.contains_key(&(Kind::RouteConfig, table.to_owned()));
                    let used = now.client.has.values().any(|(held, _)| match held {
                        Content::Listener(chains) => chains.iter().any(|(of, _)| of == table),
                        _ => false,
                    });
                    // The model itself may lead to what is not there.
                    let newest = now.seen.get(key).is_some_and(|newest| newest.leads_to().contains(name));
                    rule!(
                        newest || self.refused.contains(key) || now.dangled.contains(name) || (drains && !used),
                        "{name} goes, and {key:?} still leads there"
                    );
                }
            }
            Kind::Endpoints => {
                let cluster = has(Kind::Cluster, name).is_some() && self.heard(Kind::Cluster).wants(name);
                rule!(!cluster, "the endpoints of {name} go before it");
            }
            Kind::RouteConfig | Kind::Secret => {
                for (key, (held, _)) in &now.client.has {
                    let Content::Listener(chains) = held else { continue };
                    let uses = chains.iter().any(|(table, secrets)| {
                        if kind == Kind::Secret { secrets.iter().any(|of| of == name) } else { table == name }
                    });
                    let known = self.acked.contains_key(key) && !self.refused.contains(key);
                    rule!(
                        !uses || !known || now.seen.get(key) == Some(held),
                        "{kind} {name} goes, and {key:?} still uses it"
                    );
                }
            }
            Kind::Listener | Kind::VirtualHost => {}
        }
        Ok(())
    }

    /// Whether the server has waited long enough for a client that came back to ask for its routes.
    fn is_given_up(&self, time: Instant) -> bool {
        let silent = self.resumes.iter().any(|kind| !self.heard(*kind).requested);
        silent && self.came_back.is_none_or(|since| time >= since + WARMING)
    }

    /// What is wrong once nothing more comes.
    pub fn check_quiet(&self, now: &Now<'_>) -> Result<(), Wrong> {
        if let Some((kind, _)) = self.in_flight.first_key_value() {
            return Err(format!("{kind} was answered, and the answer got lost"));
        }
        rule!(self.owed.is_empty(), "no answer at all for {:?}", self.owed);
        if !self.inline {
            let asked: Vec<_> =
                self.asked.iter().filter(|key| !self.alone.contains_key(key) && !self.is_orphan(key, now)).collect();
            rule!(asked.is_empty(), "no answer for {asked:?}");
        }
        let owed: Vec<_> = self
            .owed_endpoints
            .iter()
            .filter(|name| {
                let rejected = |kind| self.alone.contains_key(&(kind, name.to_string()));
                let wanted = self.heard(Kind::Endpoints).wants(name);
                wanted
                    && now.seen.contains_key(&(Kind::Cluster, name.to_string()))
                    && !rejected(Kind::Endpoints)
                    && !rejected(Kind::Cluster)
            })
            .collect();
        rule!(owed.is_empty(), "clusters were sent and their endpoints were not: {owed:?}");
        for (kind, wants) in Kind::ALL.into_iter().map(|kind| (kind, self.heard(kind))) {
            let of_kind = |key: &&Key| key.0 == kind && wants.wants(&key.1);
            for key in now.seen.keys().filter(of_kind).filter(|key| !self.is_orphan(key, now)) {
                let (newest, has) = (now.seen.get(key), now.client.has.get(key).map(|(content, _)| content));
                if newest == has || (newest.is_some() && self.alone.get(key) == newest) {
                    continue;
                }
                return Err(format!("{key:?} is {newest:?}, and in the end the client has {has:?}"));
            }
            if !self.inline || full(true, kind) {
                for key in now.client.has.keys().filter(|key| key.0 == kind && !now.seen.contains_key(key)) {
                    let drains = kind == Kind::VirtualHost
                        && !now.seen.contains_key(&(Kind::RouteConfig, table_of(&key.1).to_owned()));
                    let stays = drains
                        || self.is_needed(key, now)
                        || self.refused.contains(key)
                        || (kind == Kind::Endpoints && self.refused.contains(&(Kind::Cluster, key.1.clone())));
                    rule!(stays, "{key:?} is not there any more, and in the end the client has it");
                }
            }
        }
        Ok(())
    }

    /// What a client still runs with, since it rejects what is newer, needs more that is not there any more.
    fn is_needed(&self, (kind, name): &Key, now: &Now<'_>) -> bool {
        if !self.resumes.is_empty()
            && self.alone.keys().any(|(of, _)| matches!(of, Kind::Listener | Kind::RouteConfig | Kind::VirtualHost))
        {
            // It may run with anything in place of what it rejects.
            return !matches!(kind, Kind::Listener | Kind::VirtualHost);
        }
        let rejecting = now.client.has.iter().filter(|(key, _)| self.alone.get(key) == now.seen.get(key));
        rejecting.into_iter().any(|(_, (old, _))| match (kind, old) {
            (Kind::Cluster | Kind::Endpoints, Content::Listener(chains)) => {
                now.client.has.iter().any(|(key, (routes, _))| {
                    let table = if key.0 == Kind::VirtualHost { table_of(&key.1) } else { &key.1 };
                    chains.iter().any(|(of, _)| of == table) && routes.leads_to().contains(name)
                })
            }
            (Kind::Cluster | Kind::Endpoints, old) => old.leads_to().contains(name),
            (Kind::RouteConfig, Content::Listener(chains)) => chains.iter().any(|(table, _)| table == name),
            (Kind::Secret, Content::Listener(chains)) => chains.iter().any(|(_, secrets)| secrets.contains(name)),
            _ => false,
        })
    }

    /// A virtual host that nobody asked for by name, of a table that the client does not have.
    fn is_orphan(&self, (kind, name): &Key, now: &Now<'_>) -> bool {
        *kind == Kind::VirtualHost
            && !self.heard(Kind::VirtualHost).names.contains(name)
            && !now.client.has.contains_key(&(Kind::RouteConfig, table_of(name).to_owned()))
    }
}
