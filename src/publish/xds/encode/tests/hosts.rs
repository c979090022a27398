//! Virtual hosts: chunks are reused, and the result is what a flat encoding would be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::VirtualHost as Host;
use proptest::prelude::*;
use prost::Message as _;

use crate::model::{PathMatch, Precedence, Route, VirtualHost};
use crate::publish::xds::encode::virtual_host::{Encoded, encode_virtual_host};
use crate::publish::xds::testing::*;

fn mk_entry(path: usize, service: usize) -> (Precedence, Arc<Route>) {
    mk_route(&format!("r{path}"), PathMatch::Exact(format!("/{path:05}").into()), mk_forward(&format!("s{service}")))
}

fn mk_big(routes: usize) -> VirtualHost {
    mk_host(&mk_table(8080), "a.example.com", (0..routes).map(|n| mk_entry(n, n % 7)))
}

fn edit(host: &VirtualHost, edits: impl IntoIterator<Item = (Precedence, Option<Arc<Route>>)>) -> VirtualHost {
    VirtualHost { routes: host.routes.edited(edits), ..host.clone() }
}

fn segments(encoded: &Encoded) -> Vec<*const u8> {
    encoded.body.segments().map(|segment| segment.as_ptr()).collect()
}

#[test]
fn one_changed_route_encodes_one_segment_anew() {
    // Several pages of chunks.
    let before = mk_big(10_000);
    let old = encode_virtual_host(&before, None);
    let (key, route) = mk_entry(1_000, 99);
    let new = encode_virtual_host(&edit(&before, [(key, Some(route))]), Some(&old.encoding));
    let shared = segments(&new).iter().filter(|at| segments(&old).contains(at)).count();
    // The head, which names the host, is small and always written.
    assert_eq!(shared, segments(&old).len() - 2);
    assert_eq!(new.gained.iter().filter(|name| &***name == "test/apps/s99/80").count(), 1);
    assert_ne!(new.digest.version(), old.digest.version());
}

#[test]
fn the_version_depends_on_the_content_and_not_on_how_it_came_about() {
    let host = mk_big(1_000);
    let (key, other) = mk_entry(500, 99);
    let (_, same) = mk_entry(500, 500 % 7);
    let first = encode_virtual_host(&host, None);
    let there = edit(&host, [(key.clone(), Some(other))]);
    let second = encode_virtual_host(&there, Some(&first.encoding));
    let third = encode_virtual_host(&edit(&there, [(key, Some(same))]), Some(&second.encoding));
    assert_eq!(third.digest.version(), first.digest.version());
    assert_ne!(second.digest.version(), first.digest.version());
}

#[test]
fn only_the_objects_of_changed_routes_are_suspects() {
    let before = mk_big(1_000);
    let old = encode_virtual_host(&before, None);
    let (key, route) = mk_entry(500, 99);
    let new = encode_virtual_host(&edit(&before, [(key, Some(route))]), Some(&old.encoding));
    assert_eq!(new.encoding.changed_origins(Some(&old.encoding)), [mk_object("HTTPRoute", "r500")]);
    assert_eq!(new.encoding.changed_origins(None).len(), 1_000);
}

/// Batches of edits, a path and where it leads, or that it goes; after each, what is encoded from the last version is
/// what a fresh encoding is, and what it says of clusters adds up.
fn check(routes: usize, batches: impl IntoIterator<Item = Vec<(usize, Option<usize>)>>) -> Result<(), TestCaseError> {
    let mut host = mk_big(routes);
    let mut encoded = encode_virtual_host(&host, None);
    let mut leads: BTreeMap<String, i64> = BTreeMap::new();
    let count = |leads: &mut BTreeMap<String, i64>, encoded: &Encoded| {
        for name in &encoded.gained {
            *leads.entry(name.to_string()).or_default() += 1;
        }
        for name in &encoded.lost {
            *leads.entry(name.to_string()).or_default() -= 1;
        }
    };
    count(&mut leads, &encoded);
    for batch in batches {
        let edits = batch.into_iter().map(|(path, service)| {
            let (key, route) = mk_entry(path, service.unwrap_or(0));
            (key, service.map(|_| route))
        });
        host = edit(&host, edits);
        encoded = encode_virtual_host(&host, Some(&encoded.encoding));
        count(&mut leads, &encoded);
        let flat = encode_virtual_host(&host, None);
        prop_assert_eq!(encoded.body.flat(), flat.body.flat());
        prop_assert_eq!(encoded.digest.version(), flat.digest.version());
        let read = Host::decode(encoded.body.flat()).unwrap();
        prop_assert!(read.routes.iter().map(|r| r.name.as_str()).eq(host.routes.iter().map(|(_, r)| &*r.name)));
        let now: BTreeSet<String> = flat.gained.iter().map(ToString::to_string).collect();
        leads.retain(|_, count| *count != 0);
        prop_assert!(leads.values().all(|count| *count > 0));
        prop_assert!(leads.keys().eq(now.iter()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn after_any_edits_it_is_what_a_fresh_encoding_is(batches in prop::collection::vec(
        prop::collection::vec((0_usize..200, prop::option::of(0_usize..5)), 0..40), 1..5)
    ) {
        check(150, batches)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]
    #[test]
    fn and_so_it_is_over_many_pages(ranges in prop::collection::vec(
        (0_usize..6_000, 0_usize..3_000, 1_usize..99, prop::option::of(0_usize..5)), 1..4)
    ) {
        let batches = ranges.into_iter().map(|(from, len, step, service)| {
            (from..from + len).step_by(step).map(|path| (path, service)).collect()
        });
        check(6_000, batches)?;
    }
}
