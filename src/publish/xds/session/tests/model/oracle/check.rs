//! What a response may say, by what the stream has seen before it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{Flight, Now, Oracle, Wrong, full, rule};
use crate::publish::xds::cache::table_of;
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::WARMING;
use crate::publish::xds::session::tests::model::wire::Told;
use crate::publish::xds::session::tests::model::world::Content;

impl Oracle {
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
            // Of a cluster that went and that the client has to keep for now.
            let kept_for = kind == Kind::Endpoints && newest.is_none() && self.told.contains(name);
            let asked = again || asked;
            let may = kept || restored || (nothing && asked) || fallback || lingers || (kept_for && asked);
            rule!(may, "{kind} {name} is sent as {content:?}, and is {newest:?}");
            if again && (restored || fallback) {
                // What it asked for is still to come.
                self.again.insert(key.clone());
            }
            if kept {
                // It was told so again, if it rejected a list without it.
                if kind == Kind::Cluster {
                    self.told.insert(name.to_owned());
                }
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
}
