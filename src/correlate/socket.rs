//! Who gets which hosts of a socket: all listeners that claim one address and port, over all Gateways.
//!
//! Laws: the oldest Gateway decides what is spoken on the socket, then the one first in alphabetical order; a
//! domain has one listener, the oldest Gateway's; a host belongs to the listener whose domain is the most
//! specific one that covers it, and to no other, whether or not that one has routes for it.

use std::collections::BTreeMap;

use tidegate_actors::id::{Name, ObjectKey};

use super::hostname;
use crate::model::{GatewayId, ListenerId, RouteConfigId, Seq, VirtualHostId};

/// A listener of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// The listener's name.
    pub name: Name,
}

impl ListenerKey {
    /// The Gateway, as the model names it.
    pub fn gateway_id(&self) -> GatewayId {
        gateway_id(&self.gateway)
    }
}

/// A Gateway, as the model names it.
pub fn gateway_id(key: &ObjectKey) -> GatewayId {
    GatewayId {
        source: key.source.clone(),
        namespace: key.namespace.clone().unwrap_or_else(|| "".into()),
        name: key.name.clone(),
    }
}

/// What a listener wants of a socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Who.
    pub listener: ListenerKey,
    /// TLS is terminated.
    pub secure: bool,
    /// The hosts.
    pub domain: Name,
}

/// Who comes first on a socket: the oldest Gateway, then by `namespace/name`, then by source; then the order of
/// the Gateway's listeners.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seniority {
    /// Creation time; unknown ones come last.
    pub created: i64,
    /// `namespace/name`, then the source.
    pub gateway: (String, Name),
    /// Place of the listener in its Gateway.
    pub listener: usize,
}

/// Who sits where on a socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seats {
    /// TLS is terminated on it.
    pub secure: bool,
    /// The listener of each domain.
    pub by_domain: BTreeMap<Name, ListenerKey>,
}

/// Why a listener got no seat.
#[derive(Clone, Debug, PartialEq)]
pub enum Lost {
    /// A Gateway that comes first speaks something else on the socket.
    Protocol(ListenerKey),
    /// A Gateway that comes first has the domain.
    Domain(ListenerKey),
}

/// Allots the domains of a socket.
pub fn allot(claims: &Seq<Seniority, Claim>) -> (Seats, Vec<(ListenerKey, Lost)>) {
    let mut seats = Seats::default();
    let mut lost = Vec::new();
    let mut first: Option<&Claim> = None;
    for (_, claim) in claims.iter() {
        let first = *first.get_or_insert(claim);
        seats.secure = first.secure;
        if claim.secure != first.secure {
            lost.push((claim.listener.clone(), Lost::Protocol(first.listener.clone())));
        } else if let Some(holder) = seats.by_domain.get(&claim.domain) {
            lost.push((claim.listener.clone(), Lost::Domain(holder.clone())));
        } else {
            seats.by_domain.insert(claim.domain.clone(), claim.listener.clone());
        }
    }
    (seats, lost)
}

impl Seats {
    /// The listener that all hosts of a domain belong to, but for those of more specific domains.
    pub fn holder(&self, domain: &str) -> Option<&ListenerKey> {
        hostname::covering(domain).find_map(|covering| self.by_domain.get(&*covering))
    }

    /// The listeners whose hosts overlap with those of a domain, apart from its own.
    pub fn overlapping<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a ListenerKey> {
        let overlaps =
            move |other: &str| other != domain && (hostname::covers(domain, other) || hostname::covers(other, domain));
        self.by_domain.iter().filter(move |(other, _)| overlaps(other)).map(|(_, listener)| listener)
    }
}

/// The routing table that serves a listener on a socket.
pub fn route_config(socket: &ListenerId, secure: bool, listener: &ListenerKey) -> RouteConfigId {
    if !secure {
        return format!("http/{socket}").into();
    }
    let ListenerKey { gateway, name } = listener;
    format!("https/{}/{}/{}/{name}", gateway.source, gateway.namespace_or_empty(), gateway.name).into()
}

/// A virtual host that is there without any route.
#[derive(Clone, Debug, PartialEq)]
pub struct BareHost {
    /// The Gateway that it belongs to.
    pub listener: ListenerKey,
    /// It catches requests that came over a connection meant for another listener: they are answered 421.
    pub misdirected: bool,
}

/// The virtual hosts that must be there even without routes: each listener's own domain, so that its requests do
/// not fall through to a wider one; and on TLS, since a client may send requests for any host over a connection, the
/// domains of others that the listener's own hosts or nothing would otherwise answer (RFC 9110, 421 Misdirected
/// Request).
pub fn bare_hosts(socket: &ListenerId, seats: &Seats) -> Vec<(VirtualHostId, BareHost)> {
    let mut hosts = Vec::new();
    for (domain, listener) in &seats.by_domain {
        let route_config = route_config(socket, seats.secure, listener);
        let mut add = |domain: &Name, misdirected| {
            let id = VirtualHostId { route_config: route_config.clone(), domain: domain.clone() };
            hosts.push((id, BareHost { listener: listener.clone(), misdirected }));
        };
        add(domain, false);
        if !seats.secure {
            continue;
        }
        for other in seats.by_domain.keys() {
            if other != domain && hostname::covers(domain, other) {
                add(other, true);
            }
        }
        if &**domain != hostname::ALL {
            add(&hostname::ALL.into(), true);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn mk_claims(claims: &[(i64, &str, bool, &str)]) -> Seq<Seniority, Claim> {
        let claim = |(at, (created, gateway, secure, domain)): (usize, &(i64, &str, bool, &str))| {
            let key = ObjectKey::namespaced("src", "infra", gateway);
            let listener = ListenerKey { gateway: key, name: format!("l{at}").into() };
            let seniority =
                Seniority { created: *created, gateway: (format!("infra/{gateway}"), "src".into()), listener: at };
            (seniority, Arc::new(Claim { listener, secure: *secure, domain: (*domain).into() }))
        };
        claims.iter().enumerate().map(claim).collect()
    }

    fn holder(seats: &Seats, domain: &str) -> Option<String> {
        seats.holder(domain).map(|listener| listener.name.to_string())
    }

    #[test]
    fn the_most_specific_listener_holds_a_host() {
        let claims = [(1, "a", false, "*"), (1, "a", false, "*.example.com"), (1, "a", false, "*.foo.example.com")];
        let (seats, lost) = allot(&mk_claims(&claims));
        assert!(lost.is_empty());
        for (domain, expected) in [
            ("bar.com", "l0"),
            ("example.com", "l0"),
            ("bar.example.com", "l1"),
            ("a.foo.example.com", "l2"),
            ("*.bar.example.com", "l1"),
            ("*.com", "l0"),
        ] {
            assert_eq!(holder(&seats, domain).as_deref(), Some(expected), "{domain}");
        }
    }

    #[test]
    fn the_oldest_gateway_wins_a_conflict_then_the_first_by_name() {
        let claims =
            [(5, "young", true, "a.com"), (2, "old", false, "*"), (2, "new", false, "*"), (0, "x", false, "b.com")];
        let (seats, lost) = allot(&mk_claims(&claims));
        assert!(!seats.secure);
        assert_eq!(holder(&seats, "*").as_deref(), Some("l2"), "new comes before old by name");
        let lost: Vec<_> = lost.iter().map(|(listener, _)| listener.name.to_string()).collect();
        assert_eq!(lost, ["l1", "l0"]);
    }

    #[test]
    fn on_tls_the_hosts_of_others_are_caught_and_on_clear_text_they_need_not_be() {
        let socket = ListenerId { address: [127, 0, 0, 1].into(), port: 8443 };
        let hosts = |secure| {
            let claims =
                [(1, "a", secure, "*.example.com"), (1, "a", secure, "foo.example.com"), (1, "a", secure, "b.com")];
            let hosts = bare_hosts(&socket, &allot(&mk_claims(&claims)).0);
            let mut hosts: Vec<_> = hosts.iter().map(|(id, host)| format!("{id} {}", host.misdirected)).collect();
            hosts.sort();
            hosts
        };
        assert_eq!(
            hosts(false),
            [
                "http/127.0.0.1:8443/*.example.com false",
                "http/127.0.0.1:8443/b.com false",
                "http/127.0.0.1:8443/foo.example.com false"
            ]
        );
        assert_eq!(
            hosts(true),
            [
                "https/src/infra/a/l0/* true",
                "https/src/infra/a/l0/*.example.com false",
                "https/src/infra/a/l0/foo.example.com true",
                "https/src/infra/a/l1/* true",
                "https/src/infra/a/l1/foo.example.com false",
                "https/src/infra/a/l2/* true",
                "https/src/infra/a/l2/b.com false"
            ]
        );
    }
}
