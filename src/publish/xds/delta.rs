//! The incremental protocol: what a client's requests mean, and what responses look like.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tidegate_actors::id::Name;
use tokio::time::Instant;

use super::cache::Cache;
use super::kind::Kind;
use super::rope::{Rope, Version};
use super::session::{Known, Response, Session, Violation, WILDCARD};
use super::wire;

impl Session {
    /// A request came. `kind` is that of its type URL.
    pub fn on_delta(
        &mut self,
        cache: &Cache,
        now: Instant,
        kind: Kind,
        request: &DeltaDiscoveryRequest,
    ) -> Result<(), Violation> {
        let first = self.begin(cache, kind);
        if !first && let Ok(nonce) = request.response_nonce.parse() {
            // A late answer is ignored; the subscriptions that come with it are not.
            self.on_answer(cache, kind, nonce, request.error_detail.as_ref().map(|error| &*error.message));
        }
        let empty = request.resource_names_subscribe.is_empty() && request.resource_names_unsubscribe.is_empty();
        let asks_for_all = request.resource_names_subscribe.iter().any(|name| name == WILDCARD);
        // A first request that names nothing asks for everything. Names that come later are asked for beside it.
        let asks_for_all = asks_for_all || (first && empty && kind.allows_wildcard());
        if first {
            self.recall(cache, kind, request, asks_for_all);
            if kind == Kind::Cluster && !self.state(kind).known.is_empty() {
                self.settle(now);
            }
        }
        for name in request.resource_names_subscribe.iter().filter(|name| *name != WILDCARD) {
            self.subscribe(cache, kind, &cache.shared_name(kind, name), first);
        }
        if kind == Kind::Endpoints {
            self.renewed.clear();
        }
        if asks_for_all {
            let state = &mut self.types[kind as usize];
            // Clients start up on the first answer, even if it says that there is nothing. Virtual hosts are the
            // exception: their tables are answered for by their sentinels.
            (state.wildcard, state.owes) = (true, kind != Kind::VirtualHost);
            self.mark_all(cache, kind);
        }
        for name in &request.resource_names_unsubscribe {
            self.unsubscribe(cache, kind, &Name::from(&**name));
        }
        if first {
            self.types[kind as usize].mark_old();
        }
        self.check_limits()?;
        self.advance(cache, now);
        Ok(())
    }

    /// What the client has from an earlier stream.
    fn recall(&mut self, cache: &Cache, kind: Kind, request: &DeltaDiscoveryRequest, wildcard: bool) {
        for (name, version) in &request.initial_resource_versions {
            if !wildcard && !request.resource_names_subscribe.contains(name) {
                continue;
            }
            let version = Version::parse(version);
            let current = cache.get(kind, name, &self.view);
            let resource = current.filter(|current| Some(current.version) == version);
            self.types[kind as usize].known.insert(cache.shared_name(kind, name), Known { version, resource });
        }
    }

    fn subscribe(&mut self, cache: &Cache, kind: Kind, name: &Name, first: bool) {
        let state = &mut self.types[kind as usize];
        state.names.insert(name.clone());
        // A cluster that changed while the client was away was sent anew, and waits for endpoints that did not.
        let renewed = kind == Kind::Endpoints && self.renewed.contains(name);
        let has_it = first && state.known.contains_key(name) && !renewed;
        if !has_it {
            // Asked for anew: whatever it had, it wants it again, or to hear that there is none.
            state.known.remove(name);
        }
        state.mark(name, cache.version(), None, !has_it);
        if has_it && kind == Kind::RouteConfig && self.state(Kind::VirtualHost).wildcard {
            for host in cache.hosts_of(name) {
                self.types[Kind::VirtualHost as usize].mark(host, cache.version(), None, false);
            }
        }
    }

    fn unsubscribe(&mut self, cache: &Cache, kind: Kind, name: &Name) {
        let state = &mut self.types[kind as usize];
        if &**name == WILDCARD {
            state.wildcard = false;
            return self.forget_unwanted(kind);
        }
        state.names.remove(name);
        if state.wildcard && kind == Kind::VirtualHost && !self.is_wanted(kind, name) {
            self.forget(kind, name);
        } else if self.state(kind).wildcard {
            // It may think that it lost it; under a wildcard it is told whether it did.
            self.types[kind as usize].mark(name, cache.version(), None, true);
        } else {
            self.forget(kind, name);
        }
    }
}

/// A `DeltaDiscoveryResponse`.
pub fn encode(response: &Response) -> Rope {
    let mut rope = Rope::with_capacity(response.resources.iter().map(|r| r.body().pieces() + 1).sum());
    let mut head = Vec::with_capacity(128);
    wire::put_string(1, &response.version, &mut head);
    wire::put_string(4, response.kind.type_url(), &mut head);
    wire::put_string(5, &response.nonce.to_string(), &mut head);
    for name in &response.removed {
        wire::put_string(6, name, &mut head);
    }
    rope.push(head.into());
    for resource in &response.resources {
        resource.write_delta(&mut rope);
    }
    rope
}
