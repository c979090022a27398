//! Hosts that patterns have in common, against patterns that are tried host by host.
//!
//! Oracle: a host is one of the intersection exactly if it is one of the listener's and one of the route's, for every
//! host of up to four labels out of those in the input; `covers` is "each host of the one is one of the other";
//! `covering` lists what covers, the most specific first.

use tidegate::correlate::hostname::{ALL, covering, covers, domain, intersect};
use tidegate::resource::format::is_hostname;
use tidegate_actors::id::Name;

use crate::input::Input;

/// The first bytes choose labels, those that follow patterns made of them; what is left is text for the checks of names.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let labels = ["a", "b", input.one_of(&["com", "a-b", "x1", "aa"])];
    let listener = any_domain(&mut input, &labels);
    let count = input.below(4);
    let route: Vec<Name> = (0..count).map(|_| any_domain(&mut input, &labels)).filter(|text| &**text != ALL).collect();
    let shared = intersect(&listener, &route);
    for (at, one) in shared.iter().enumerate() {
        assert!(!shared[..at].contains(one), "each once: {shared:?}");
    }
    let hosts = all_hosts(&labels);
    for host in &hosts {
        let of_route = route.is_empty() || route.iter().any(|pattern| is_of(pattern, host));
        let expected = of_route && is_of(&listener, host);
        assert_eq!(shared.iter().any(|pattern| is_of(pattern, host)), expected, "{listener} {route:?} {host}");
    }
    let other = any_domain(&mut input, &labels);
    let each = hosts.iter().filter(|host| is_of(&other, host)).all(|host| is_of(&listener, host));
    // A wildcard of four labels has no host among those that are tried.
    if hosts.iter().any(|host| is_of(&other, host)) {
        assert_eq!(covers(&listener, &other), each, "{listener} covers {other}");
    }
    let list: Vec<String> = covering(&other).collect();
    assert_eq!(list.contains(&listener.to_string()), covers(&listener, &other), "{listener} {other} {list:?}");
    assert!(list.windows(2).all(|two| covers(&two[1], &two[0]) && two[0] != two[1]), "{list:?}");
    assert_eq!(list.last().map(String::as_str), Some(ALL));
    names(&String::from_utf8_lossy(input.rest()));
}

fn any_domain(input: &mut Input<'_>, labels: &[&str]) -> Name {
    let shape = input.byte();
    if shape.is_multiple_of(16) {
        return domain(None);
    }
    let count = usize::from(shape / 2) % 3 + 1;
    let name: Vec<&str> = (0..count).map(|_| input.one_of(labels)).collect();
    let name = name.join(".");
    domain(Some(&if shape & 1 == 1 { format!("*.{name}") } else { name }.into()))
}

/// Label by label, from the last to the first.
fn is_of(pattern: &str, host: &str) -> bool {
    let host: Vec<&str> = host.split('.').rev().collect();
    let pattern: Vec<&str> = pattern.split('.').rev().collect();
    match pattern.split_last() {
        Some((&"*", suffix)) => host.len() > suffix.len() && host[..suffix.len()] == *suffix,
        _ => host == pattern,
    }
}

fn all_hosts(labels: &[&str]) -> Vec<String> {
    let mut hosts: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
    let mut longest = hosts.clone();
    for _ in 0..3 {
        longest = longest.iter().flat_map(|host| labels.iter().map(move |label| format!("{label}.{host}"))).collect();
        hosts.extend(longest.iter().cloned());
    }
    hosts
}

/// A hostname is what the Gateway API's schema says, spelled here as its regular expression reads.
fn names(text: &str) {
    let precise = text.strip_prefix("*.").unwrap_or(text);
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(inner) && part.ends_with(inner) && part.chars().all(|c| inner(c) || c == '-')
    };
    let is_ip = precise.parse::<std::net::IpAddr>().is_ok();
    let expected = !is_ip && (1..=253).contains(&text.len()) && precise.split('.').all(part);
    assert_eq!(is_hostname(text), expected, "{text:?}");
}
