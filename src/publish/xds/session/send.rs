//! What is sent next, and what has to wait: make before break.
//!
//! On the way up, endpoints wait for their cluster to be sent, and routes for a new cluster to have its
//! endpoints (for a while: see [`WARMING`]). On the way down, a cluster goes when every route that could still
//! lead to it was confirmed gone, and its endpoints after it.

use std::sync::Arc;

use tidegate_actors::Set;
use tidegate_actors::id::Name;
use tokio::time::Instant;

use super::{InFlight, Item, Pending, Response, Session, TypeState, WARMING};
use crate::publish::xds::cache::{Cache, View, no_endpoints, table_of};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::Resource;
use crate::publish::xds::rope::Digest;

/// What to do about a pending name.
enum Verdict {
    Send(Option<Arc<Resource>>),
    Wait,
    Drop,
}

/// What holds additions and removals of a type back just now.
struct Gates {
    /// Virtual hosts, or tables with them inline, that lead to clusters which are not usable yet.
    waiting: Set<Name>,
    /// Routes and listeners are confirmed up to before this version of the cache.
    unconfirmed: Option<u64>,
}

impl Session {
    /// Sends whatever may be sent.
    pub(in crate::publish::xds) fn advance(&mut self, cache: &Cache, now: Instant) {
        // Before the first update nothing is known, which is not the same as knowing that there is nothing.
        if cache.version() == 0 {
            return;
        }
        self.note_new_clusters(cache, now);
        for kind in Kind::ALL {
            let state = self.state(kind);
            if state.requested && state.in_flight.is_none() {
                let awaited = state.awaited();
                self.fill(cache, kind);
                let state = self.state(kind);
                if state.in_flight.is_none() && state.awaited() < awaited && self.anything_lingers() {
                    // Not in this pass, in which the types are sent in their order.
                    self.again = Some(now);
                }
            }
        }
    }

    fn anything_lingers(&self) -> bool {
        self.types.iter().any(|state| state.pending.values().any(|pending| pending.lingers))
    }

    /// What is on its way to the client and cannot be used yet. A client that comes back over state of the world may never
    /// have had what is recalled for it, and cannot say so. One that gave the endpoints up before the cluster has a cluster
    /// without any.
    fn note_new_clusters(&mut self, cache: &Cache, now: Instant) {
        let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoints].map(|kind| &self.types[kind as usize]);
        let is_empty = |name: &Name| endpoints.wants(name) && !endpoints.known.contains_key(name);
        let is_new = |name: &Name| {
            !clusters.known.contains_key(name)
                || clusters.is_going(name)
                || self.recalled.contains(name)
                || is_empty(name)
        };
        for name in clusters.pending.keys().filter(|name| is_new(name)) {
            if !self.warming.contains_key(name) && cache.get(Kind::Cluster, name, &self.view).is_some() {
                self.warming.insert(name.clone(), now + WARMING);
            }
        }
    }

    fn fill(&mut self, cache: &Cache, kind: Kind) {
        let mut restores = std::mem::take(&mut self.types[kind as usize].restores);
        restores.retain(|good| {
            // If it is the current one again, it is sent as that.
            let current = cache.get(kind, &good.name, &self.view);
            self.is_wanted(kind, &good.name) && current.is_none_or(|current| current.version != good.version)
        });
        if !restores.is_empty() {
            let version = cache.version();
            let pending = Pending { gate: 0, ..Pending::new(version, None, true) };
            let item =
                |resource: Arc<Resource>| Item { name: resource.name.clone(), resource: Some(resource), pending };
            self.send(cache, kind, restores.into_iter().map(item).collect());
            if let Some(sent) = &mut self.types[kind as usize].in_flight {
                sent.restores = true;
            }
            return;
        }
        while let Some(group) = self.types[kind as usize].suspects.pop() {
            let gates = self.gates(cache, kind);
            let (waits, group): (Vec<Name>, _) =
                group.into_iter().partition(|name| self.suspect_waits(cache, kind, name, &gates));
            for name in waits {
                let is_there = cache.get(kind, &name, &self.view).is_some();
                if self.is_wanted(kind, &name) {
                    let state = &mut self.types[kind as usize];
                    state.mark(&name, cache.version(), None, is_there);
                    if let Some(pending) = state.pending.get_mut(&name) {
                        pending.gate = 0;
                    }
                }
            }
            let items: Vec<Item> = group.into_iter().filter_map(|name| self.suspect(cache, kind, name)).collect();
            if !items.is_empty() && self.send(cache, kind, items) {
                return;
            }
        }
        if self.state(kind).pending.is_empty() && !self.state(kind).owes {
            return;
        }
        let gates = self.gates(cache, kind);
        let mut items = Vec::new();
        for (name, mut pending) in std::mem::take(&mut self.types[kind as usize].pending) {
            pending.lingers = false;
            if let Some(held) = self.state(kind).held.get(&name) {
                pending.gate = pending.gate.min(held.gate);
            }
            match self.judge(cache, kind, &name, &mut pending, &gates) {
                Verdict::Send(resource) => items.push(Item { name, resource, pending }),
                Verdict::Wait => drop(self.types[kind as usize].pending.insert(name, pending)),
                Verdict::Drop => {}
            }
        }
        let state = self.state(kind);
        if !items.is_empty() || (state.owes && state.pending.values().all(|pending| pending.lingers)) {
            self.send(cache, kind, items);
        }
    }

    /// Whether a name of a rejected response must not be sent now, since the world has moved on.
    fn suspect_waits(&self, cache: &Cache, kind: Kind, name: &Name, gates: &Gates) -> bool {
        let gone = || cache.get(kind, name, &self.view).is_none();
        let pending = || self.state(kind).pending.get(name).copied();
        let pending = || pending().unwrap_or(Pending::new(cache.version(), None, false));
        gates.waiting.contains(name) || (gone() && self.removal_waits(kind, name, pending(), gates))
    }

    /// A name of a rejected response, as it is now; it may have changed or gone meanwhile.
    fn suspect(&mut self, cache: &Cache, kind: Kind, name: Name) -> Option<Item> {
        let state = &mut self.types[kind as usize];
        let version = cache.version();
        let pending = state.pending.remove(&name);
        // The client runs with what it had before the response that it rejected, whatever was noted since.
        let pending = Pending { gate: 0, ..pending.unwrap_or(Pending::new(version, None, false)) };
        let wanted = self.is_wanted(kind, &name);
        let resource = cache.get(kind, &name, &self.view).filter(|_| wanted);
        let resource = resource.map(|resource| resource.again(self.salt.wrapping_add(self.nonce)));
        let told_if_gone = pending.force || self.state(kind).known.contains_key(&name);
        (resource.is_some() || (wanted && told_if_gone)).then_some(Item { name, resource, pending })
    }

    fn judge(&mut self, cache: &Cache, kind: Kind, name: &Name, pending: &mut Pending, gates: &Gates) -> Verdict {
        let Some(resource) = cache.get(kind, name, &self.view) else {
            self.heal(kind, name);
            if kind == Kind::Cluster {
                self.warming.remove(name);
            }
            let known = self.state(kind).known.contains_key(name);
            return match (pending.force, known) {
                // The cluster went, and the client has to keep it for now: it must not do without its endpoints, or wait
                // for them. State of the world knows no other way to say that there are none.
                (true, _) if kind == Kind::Endpoints && (self.view.inline || self.is_kept(name)) => {
                    let last = cache.departed_endpoints(name).filter(|_| self.is_kept(name));
                    Verdict::Send(last.or_else(|| self.view.inline.then(|| no_endpoints(name))))
                }
                (true, _) => Verdict::Send(None),
                // The table is gone and the client still has it: an old listener drains with it, and must not be
                // emptied under its connections. The virtual hosts go when the client gives the table up.
                (false, true) if kind == Kind::VirtualHost && self.drains(cache, table_of(name)) => {
                    pending.lingers = true;
                    Verdict::Wait
                }
                (false, true) if self.removal_waits(kind, name, *pending, gates) => {
                    pending.lingers = true;
                    Verdict::Wait
                }
                (false, true) => Verdict::Send(None),
                (false, false) => Verdict::Drop,
            };
        };
        let state = self.state(kind);
        if !pending.force {
            let has = state.known.get(name).is_some_and(|known| known.version == Some(resource.version));
            let rejects = state.held.get(name).map(|held| held.version == resource.version);
            // If the object went back to what the client has, it must too: it may have kept some of what it rejects.
            if rejects == Some(true) || (has && rejects.is_none()) {
                if kind == Kind::Cluster && self.state(Kind::Endpoints).has_newest(name) {
                    // They were accepted while it was thought to change.
                    self.warming.remove(name);
                }
                return Verdict::Drop;
            }
        }
        let clusters = self.state(Kind::Cluster);
        let waits = match kind {
            // Not for the cluster's ACK: Envoy sends none before all new clusters have their endpoints.
            Kind::Endpoints => {
                clusters.pending.contains_key(name) && !clusters.is_on_its_way(name) && !self.is_kept(name)
            }
            Kind::RouteConfig | Kind::VirtualHost => gates.waiting.contains(name),
            _ => false,
        };
        if waits { Verdict::Wait } else { Verdict::Send(Some(self.unlike_before(kind, resource))) }
    }

    /// In bytes that the client has not seen over an earlier stream, where it would trust them unseen.
    fn unlike_before(&self, kind: Kind, resource: Arc<Resource>) -> Arc<Resource> {
        let accepted = || self.state(kind).known.get(&resource.name).is_some_and(|known| known.resource.is_some());
        if kind != Kind::Secret || accepted() { resource } else { resource.again(self.salt) }
    }

    /// Whether the client has a cluster and was not told to give it up.
    fn is_kept(&self, cluster: &str) -> bool {
        let clusters = self.state(Kind::Cluster);
        clusters.known.contains_key(cluster) && !clusters.is_going(cluster)
    }

    fn drains(&self, cache: &Cache, table: &str) -> bool {
        cache.get(Kind::RouteConfig, table, &self.view).is_none()
            && self.state(Kind::RouteConfig).known.contains_key(table)
    }

    fn removal_waits(&self, kind: Kind, name: &str, pending: Pending, gates: &Gates) -> bool {
        match kind {
            Kind::Cluster => {
                gates.unconfirmed.is_some_and(|oldest| oldest <= pending.last)
                    || (self.view.inline && self.came_back && !self.state(Kind::Listener).held.is_empty())
                    || self.runs_unknown(Kind::RouteConfig)
                    || self.runs_unknown(Kind::VirtualHost)
                    || self.is_held_route_leading_to(name)
            }
            Kind::Endpoints => {
                let clusters = self.state(Kind::Cluster);
                clusters.known.contains_key(name) || clusters.is_on_its_way(name)
            }
            Kind::Secret | Kind::RouteConfig => {
                let listeners = self.state(Kind::Listener);
                listeners.oldest_unconfirmed().is_some()
                    || self.runs_unknown(Kind::Listener)
                    || listeners.held_goods().any(|old| old.names(kind, name))
            }
            Kind::Listener | Kind::VirtualHost => false,
        }
    }

    /// Whether the client may run something of an earlier stream that nobody knows, since it rejects what is newer.
    fn runs_unknown(&self, kind: Kind) -> bool {
        let state = self.state(kind);
        state.held.keys().any(|name| match state.known.get(name) {
            Some(known) => known.resource.is_none(),
            None => self.view.inline && self.came_back,
        })
    }

    /// Whether routes lead to a cluster that a client still runs with since it rejects the new ones, or since it rejects
    /// the listener that would do without their table.
    fn is_held_route_leading_to(&self, cluster: &str) -> bool {
        let [tables, hosts] = [Kind::RouteConfig, Kind::VirtualHost].map(|kind| self.state(kind));
        let leads = |resource: &Arc<Resource>| resource.routes_to(cluster);
        if tables.held_goods().chain(hosts.held_goods()).any(leads) {
            return true;
        }
        // Most of the time none does, and then there is no need to look at every host that the client has.
        let lingers = |table: &str| tables.pending.get(table).is_some_and(|pending| pending.lingers);
        if !tables.pending.values().any(|pending| pending.lingers) {
            return false;
        }
        let of_tables = tables.known.iter().filter(|(name, _)| lingers(name));
        let of_hosts = hosts.known.iter().filter(|(name, _)| lingers(table_of(name)));
        // What came with an earlier stream and is not what we have may lead anywhere.
        of_tables.chain(of_hosts).any(|(_, known)| known.resource.as_ref().is_none_or(leads))
    }

    fn gates(&self, cache: &Cache, kind: Kind) -> Gates {
        let mut gates = Gates { waiting: Set::default(), unconfirmed: None };
        match kind {
            Kind::RouteConfig if self.view.inline => {
                let hosts = self.warming.keys().flat_map(|cluster| cache.hosts_leading_to(cluster));
                gates.waiting = hosts.map(|host| table_of(host).into()).collect();
            }
            Kind::VirtualHost => {
                gates.waiting =
                    self.warming.keys().flat_map(|cluster| cache.hosts_leading_to(cluster)).cloned().collect();
            }
            Kind::Cluster => {
                let kinds = [Kind::Listener, Kind::RouteConfig, Kind::VirtualHost];
                // State of the world has virtual hosts in their tables, and nobody asks for them.
                let kinds = if self.view.inline { &kinds[..2] } else { &kinds };
                let routes = || kinds.iter().map(|kind| self.state(*kind));
                let listeners = self.state(Kind::Listener);
                // Its first list may be without some that it has, which nobody knows.
                let unlisted = self.view.inline && self.came_back && listeners.requested && listeners.acked.is_none();
                let reconnecting = unlisted || (self.settles.is_some() && routes().any(|state| !state.requested));
                let oldest = routes().filter_map(TypeState::oldest_awaited).min();
                gates.unconfirmed = if reconnecting { Some(0) } else { oldest };
            }
            _ => {}
        }
        gates
    }

    /// False if there was nothing to say after all.
    fn send(&mut self, cache: &Cache, kind: Kind, mut items: Vec<Item>) -> bool {
        let inline = self.view.inline;
        let state = &mut self.types[kind as usize];
        if inline && !kind.absence_deletes() {
            // Nothing can be said about what is gone: absence means nothing for this type.
            for gone in items.extract_if(.., |item| item.resource.is_none()) {
                state.known.remove(&gone.name);
            }
            if items.is_empty() {
                return false;
            }
        }
        let (mut resources, mut removed) = (Vec::with_capacity(items.len()), Vec::new());
        let mut said = Vec::new();
        for item in &items {
            match &item.resource {
                Some(resource) => resources.push(resource.clone()),
                None => removed.push(item.name.clone()),
            }
        }
        if inline {
            removed.clear();
            if kind.absence_deletes() {
                let changed: Set<&Name> = items.iter().map(|item| &item.name).collect();
                let rest = state.known.iter().filter(|(name, _)| !changed.contains(name));
                resources.extend(rest.filter_map(|(_, known)| known.resource.clone()));
                said = said_again(cache, kind, &self.view, state, |name| !changed.contains(name));
                resources.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        self.nonce += 1;
        let version = if inline {
            let digests = resources.iter().map(|resource| Digest::of(&resource.version.0.to_le_bytes()));
            digests.fold(Digest::EMPTY, Digest::then).version().to_string()
        } else {
            cache.version().to_string()
        };
        let sent: Set<Name> = items.iter().map(|item| item.name.clone()).chain(said).collect();
        state.owes = false;
        state.last_nonce = self.nonce;
        state.in_flight = Some(InFlight { nonce: self.nonce, version: version.clone(), items, restores: false });
        if kind == Kind::Cluster {
            // A changed cluster starts from nothing and waits for its endpoints, without asking for them again.
            let endpoints = &mut self.types[Kind::Endpoints as usize];
            for resource in resources.iter().filter(|resource| sent.contains(&resource.name)) {
                if !endpoints.requested {
                    self.renewed.insert(resource.name.clone());
                } else if endpoints.wants(&resource.name) {
                    endpoints.mark(&resource.name, cache.version(), None, true);
                }
            }
        }
        self.responses.push(Response { kind, nonce: self.nonce, version, resources, removed });
        true
    }
}

/// What was rejected together with others, and is again what it was before: the rest of a list says it, and it need not
/// be sent apart any more.
fn said_again(
    cache: &Cache,
    kind: Kind,
    view: &View,
    state: &mut TypeState,
    is_rest: impl Fn(&Name) -> bool,
) -> Vec<Name> {
    let known = &state.known;
    let is_said = |name: &Name| {
        let newest = cache.get(kind, name, view).map(|newest| newest.version);
        newest.is_some() && is_rest(name) && known.get(name).is_some_and(|has| has.version == newest)
    };
    let mut said = Vec::new();
    for group in &mut state.suspects {
        said.extend(group.extract_if(.., |name| is_said(name)));
    }
    state.suspects.retain(|group| !group.is_empty());
    said
}
