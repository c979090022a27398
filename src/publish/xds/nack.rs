//! Finding what a client rejects. A NACK rejects a response as a whole and often names nothing; so its resources
//! are sent again in halves until the bad ones stand alone. What is good gets through on the way; what is bad is
//! held back, for this client, until its object changes.

use std::sync::Arc;

use super::cache::Cache;
use super::kind::Kind;
use super::resource::Resource;
use super::session::{Event, Held, InFlight, Item, Known, Session};
use super::words::words;

impl Session {
    pub(super) fn on_nack(&mut self, cache: &Cache, kind: Kind, mut sent: InFlight, reason: &str) {
        let reason = words(kind, reason, sent.items.iter().filter_map(|item| item.resource.as_ref()));
        self.push_event(Event::Nacked { kind });
        let state = &mut self.types[kind as usize];
        state.last_nack = Some(reason.clone());
        if sent.restores {
            // It accepted this once. If it does not any more, there is nothing better to offer.
            return;
        }
        if kind == Kind::Cluster && !self.recalled.is_empty() {
            // Perhaps it is no fault of what is new: the same again without what it may not even have had.
            for name in std::mem::take(&mut self.recalled) {
                self.types[kind as usize].forget(&name);
                // It may be there again.
                self.types[kind as usize].mark(&name, cache.version(), None, false);
            }
            self.types[kind as usize].owes = true;
            self.types[kind as usize].suspects.push(sent.items.into_iter().map(|item| item.name).collect());
            return;
        }
        if sent.items.len() > 1 {
            // Over delta each name that it asked for is answered, too. A list answers by what is not in it.
            let asked = |item: &&Item| item.pending.force && !self.view.inline;
            for item in sent.items.iter().filter(asked) {
                state.mark(&item.name, cache.version(), None, true);
            }
            let second = sent.items.split_off(sent.items.len() / 2);
            for half in [second, sent.items] {
                state.suspects.push(half.into_iter().map(|item| item.name).collect());
            }
            return;
        }
        let Some(Item { name, resource, pending }) = sent.items.pop() else { return };
        let Some(resource) = resource else {
            // A rejected removal names nothing that could be held back. The next list is without it, too.
            if self.view.inline {
                state.known.remove(&name);
            }
            return;
        };
        let held = Held { version: resource.version, gate: pending.gate, reason: reason.clone() };
        if !self.is_wanted(kind, &name) {
            return;
        }
        let state = &mut self.types[kind as usize];
        // A list without it, or what else is gone would not be known to be.
        state.owes |= self.view.inline && kind.absence_deletes() && state.acked.is_none();
        let own = state.known.get(&name).and_then(|known| known.resource.clone());
        if kind == Kind::RouteConfig && self.view.inline && self.came_back {
            // It may go on with a table of an earlier stream, for as long as it has the listener.
            state.known.entry(name.clone()).or_insert(Known { version: None, resource: None });
        }
        state.held.insert(name.clone(), held);
        resource.set_rejected();
        // A client that starts anew has nothing to go on with, and is given what others did well with.
        let good = own.clone().or_else(|| self.last_good(cache, &resource));
        if kind == Kind::Secret || own.is_none() {
            // Envoy serves with the old secret and remembers the new one, for the next listener that asks.
            self.types[kind as usize].restores.extend(good.clone());
        }
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            // It will not become usable, and what leads to it must not wait for that.
            self.give_up_warming(&name);
        }
        self.push_event(Event::Held { resource, good, reason });
    }
}

impl Session {
    /// What a client that rejects a resource and has no other is given instead.
    fn last_good(&self, cache: &Cache, rejected: &Resource) -> Option<Arc<Resource>> {
        let good = cache.last_good(rejected.kind, &rejected.name, &self.view)?;
        // It accepts routes to a cluster that went meanwhile, and fails their requests.
        let leads = good.clusters().iter().all(|name| cache.get(Kind::Cluster, name, &self.view).is_some());
        (good.version != rejected.version && leads).then_some(good)
    }
}
