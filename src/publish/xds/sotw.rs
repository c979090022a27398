//! The state-of-the-world protocol: what a client's requests mean, and what responses look like.

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tidegate_actors::Set;
use tidegate_actors::id::Name;
use tokio::time::Instant;

use super::cache::Cache;
use super::kind::Kind;
use super::rope::Rope;
use super::session::{Known, Response, Session, Violation, WILDCARD};
use super::wire;

impl Session {
    /// A request came. `kind` is that of its type URL.
    pub fn on_sotw(
        &mut self,
        cache: &Cache,
        now: Instant,
        kind: Kind,
        request: &DiscoveryRequest,
    ) -> Result<(), Violation> {
        let first = self.begin(cache, kind);
        // Whatever becomes of the request: from then on to name nothing is to want nothing.
        self.types[kind as usize].by_name |= !request.resource_names.is_empty();
        if !first && !request.response_nonce.is_empty() {
            let nonce = request.response_nonce.parse().unwrap_or(0);
            if nonce != self.state(kind).last_nonce {
                // Written before the client saw our latest response. It will answer that one, with all names.
                return Ok(());
            }
            self.on_answer(cache, kind, nonce, request.error_detail.as_ref().map(|error| &*error.message));
        }
        let asks_for_all = request.resource_names.iter().any(|name| name == WILDCARD);
        let names = request.resource_names.iter().filter(|name| *name != WILDCARD);
        let names: Set<Name> = names.map(|name| cache.shared_name(kind, name)).collect();
        let state = &mut self.types[kind as usize];
        let wildcard = asks_for_all || (names.is_empty() && !state.by_name && kind.allows_wildcard());
        let became = wildcard && !state.wildcard;
        state.wildcard = wildcard;
        let mut added: Vec<Name> = names.difference(&state.names).cloned().collect();
        added.sort();
        let old = std::mem::replace(&mut state.names, names);
        for name in added {
            state.known.remove(&name);
            state.mark(&name, cache.version(), None, true);
        }
        // Absence deletes in LDS and CDS, and a first answer of nothing is what a client starts up on.
        state.owes |= first && kind.absence_deletes();
        if first && kind == Kind::Cluster && !request.version_info.is_empty() {
            self.recall_clusters(cache, now);
        }
        if became {
            self.mark_all(cache, kind);
        }
        for name in old {
            if !self.state(kind).wants(&name) {
                self.forget(kind, &name);
            }
        }
        self.forget_unwanted(kind);
        if first {
            self.types[kind as usize].mark_old();
        }
        self.check_limits()?;
        self.advance(cache, now);
        Ok(())
    }
}

impl Session {
    /// A client that comes back cannot say what it has, and what is absent from the list goes at once: so clusters that
    /// went while it was away are in it until its routes are those of now.
    fn recall_clusters(&mut self, cache: &Cache, now: Instant) {
        self.settle(now);
        for cluster in cache.departed(&self.view) {
            let state = &mut self.types[Kind::Cluster as usize];
            if state.wants(&cluster.name) {
                state.mark(&cluster.name, cache.version(), None, false);
                let known = Known { version: Some(cluster.version), resource: Some(cluster.clone()) };
                state.known.insert(cluster.name.clone(), known);
                self.recalled.push(cluster.name.clone());
            }
        }
    }
}

/// A `DiscoveryResponse`.
pub fn encode(response: &Response) -> Rope {
    let mut rope = Rope::with_capacity(response.resources.iter().map(|r| r.body().pieces() + 1).sum());
    let mut head = Vec::with_capacity(128);
    wire::put_string(1, &response.version, &mut head);
    wire::put_string(4, response.kind.type_url(), &mut head);
    wire::put_string(5, &response.nonce.to_string(), &mut head);
    rope.push(head.into());
    for resource in &response.resources {
        resource.write_sotw(&mut rope);
    }
    rope
}
