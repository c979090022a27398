//! Which hosts a listener and a route have in common, and which pattern is the more specific one. A pattern
//! here is a *domain*: a name, `*.suffix` for one or more labels before the suffix, or `*` for all hosts.

use tidegate_actors::id::Name;

/// All hosts.
pub const ALL: &str = "*";

/// The domain of an optional hostname.
pub fn domain(hostname: Option<&Name>) -> Name {
    hostname.map_or_else(|| ALL.into(), |hostname| hostname.to_ascii_lowercase().into())
}

/// Whether every host of `inner` is one of `outer`.
pub fn covers(outer: &str, inner: &str) -> bool {
    if outer == ALL || outer == inner {
        return true;
    }
    let Some(suffix) = outer.strip_prefix('*') else { return false };
    // `.example.com` with something before it. A wildcard's own first character is that something.
    inner != ALL && inner.len() > suffix.len() && inner.ends_with(suffix)
}

/// The hosts that a listener and a route share, as domains, each once, in the route's order; none if they share
/// none. A route without hostnames takes the listener's.
pub fn intersect(listener: &Name, route: &[Name]) -> Vec<Name> {
    if route.is_empty() {
        return vec![listener.clone()];
    }
    let mut shared: Vec<Name> = Vec::with_capacity(route.len());
    for hostname in route {
        let common = if covers(listener, hostname) {
            hostname
        } else if covers(hostname, listener) {
            listener
        } else {
            continue;
        };
        if !shared.contains(common) {
            shared.push(common.clone());
        }
    }
    shared
}

/// The domains that cover `domain`, the most specific first, itself among them.
pub fn covering(domain: &str) -> impl Iterator<Item = String> {
    let labels = domain.strip_prefix("*.").unwrap_or(domain);
    let labels = if labels == ALL { "" } else { labels };
    let is_wildcard = domain.starts_with('*');
    let itself = (domain != ALL && !is_wildcard).then(|| domain.to_owned());
    let full = (is_wildcard && domain != ALL).then_some(labels);
    let mut rest = labels;
    let parents = std::iter::from_fn(move || {
        let (_, parent) = rest.split_once('.')?;
        rest = parent;
        Some(parent)
    });
    let wildcards = full.into_iter().chain(parents).map(|suffix| format!("*.{suffix}")).collect::<Vec<_>>();
    itself.into_iter().chain(wildcards).chain(std::iter::once(ALL.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| (*text).into()).collect()
    }

    /// Whether a host is one of a domain, written as differently from `covers` as can be.
    fn is_host_of(domain: &str, host: &str) -> bool {
        let host: Vec<&str> = host.split('.').rev().collect();
        let domain: Vec<&str> = domain.split('.').rev().collect();
        match domain.split_last() {
            Some((&"*", suffix)) => host.len() > suffix.len() && host[..suffix.len()] == *suffix,
            _ => host == domain,
        }
    }

    fn any_domain() -> impl Strategy<Value = String> {
        let labels = prop::collection::vec(prop::sample::select(vec!["a", "b", "com"]), 1..4);
        (labels, any::<bool>()).prop_map(|(labels, wild)| {
            let name = labels.join(".");
            if wild { format!("*.{name}") } else { name }
        })
    }

    fn all_hosts() -> Vec<String> {
        let mut hosts: Vec<String> = vec!["a".into(), "b".into(), "com".into()];
        for _ in 0..3 {
            let longer: Vec<String> =
                hosts.iter().flat_map(|h| ["a", "b", "com"].map(|label| format!("{label}.{h}"))).collect();
            hosts.extend(longer);
            hosts.sort();
            hosts.dedup();
        }
        hosts
    }

    proptest! {
        #[test]
        fn the_intersection_has_exactly_the_hosts_of_both(
            listener in prop::option::of(any_domain()), route in prop::collection::vec(any_domain(), 0..4)
        ) {
            let route: Vec<Name> = route.into_iter().map(Into::into).collect();
            let listener = domain(listener.map(Name::from).as_ref());
            let shared = intersect(&listener, &route);
            for host in all_hosts() {
                let of_route = route.is_empty() || route.iter().any(|domain| is_host_of(domain, &host));
                let expected = of_route && is_host_of(&listener, &host);
                let found = shared.iter().any(|domain| is_host_of(domain, &host));
                prop_assert_eq!(found, expected, "{} {:?} {:?} {}", listener, route, shared, host);
            }
        }

        #[test]
        fn covering_lists_exactly_the_domains_that_cover_most_specific_first(inner in any_domain(), outer in any_domain()) {
            let list: Vec<String> = covering(&inner).collect();
            prop_assert_eq!(list.contains(&outer), covers(&outer, &inner));
            prop_assert!(list.iter().zip(list.iter().skip(1)).all(|(a, b)| covers(b, a) && a != b));
            prop_assert_eq!(list.last().map(String::as_str), Some(ALL));
        }
    }

    #[test]
    fn the_specifications_examples_hold() {
        let shared = |listener: &str, route: &[&str]| intersect(&listener.into(), &names(route));
        assert_eq!(shared("test.example.com", &["*.example.com"]), names(&["test.example.com"]));
        assert_eq!(shared("*.example.com", &["a.b.example.com", "example.com", "a.net"]), names(&["a.b.example.com"]));
        assert_eq!(shared("*", &["a.com"]), names(&["a.com"]));
        assert_eq!(shared("a.com", &[]), names(&["a.com"]));
        assert_eq!(shared("a.com", &["b.com"]), names(&[]));
    }
}
