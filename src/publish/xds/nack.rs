//! Finding what a client rejects. A NACK rejects a response as a whole and often names nothing; so its resources
//! are sent again in halves until the bad ones stand alone. What is good gets through on the way; what is bad is
//! held back, for this client, until its object changes.

use super::kind::Kind;
use super::session::{Event, Held, InFlight, Item, Session};
use super::words::words;

impl Session {
    pub(super) fn on_nack(&mut self, kind: Kind, mut sent: InFlight, reason: &str) {
        let reason = words(kind, reason, sent.items.iter().filter_map(|item| item.resource.as_ref()));
        self.push_event(Event::Nacked { kind });
        let state = &mut self.types[kind as usize];
        state.last_nack = Some(reason.clone());
        if sent.restores {
            // It accepted this once. If it does not any more, there is nothing better to offer.
            return;
        }
        if sent.items.len() > 1 {
            let second = sent.items.split_off(sent.items.len() / 2);
            for half in [second, sent.items] {
                state.suspects.push(half.into_iter().map(|item| item.name).collect());
            }
            return;
        }
        // A rejected removal names nothing that could be held back.
        let Some(Item { name, resource: Some(resource), .. }) = sent.items.pop() else { return };
        let held = Held { version: resource.version, reason: reason.clone() };
        let good = state.known.get(&name).and_then(|known| known.resource.clone());
        state.held.insert(name.clone(), held);
        if kind == Kind::Secret {
            // Envoy serves with the old one and remembers the new one, for the next listener that asks.
            state.restores.extend(good.clone());
        }
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            // It will not become usable, and what leads to it must not wait for that.
            self.give_up_warming(&name);
        }
        self.push_event(Event::Held { resource, good, reason });
    }
}
