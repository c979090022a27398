//! Subscriptions of the incremental protocol.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::rig::{Rig, added, mk_delta, only, removed, versions};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::scope::Scope;
use crate::publish::xds::session::Violation;
use crate::publish::xds::testing::*;

const A: &str = "test/apps/a/80";
const B: &str = "test/apps/b/80";

#[test]
fn nothing_is_said_before_the_first_update_and_everything_after_it() {
    let mut rig = Rig::delta();
    assert!(rig.subscribe(Kind::Cluster, &[]).is_empty());
    let response = only(rig.apply(Update::to(1).service("a", &[])));
    assert_eq!(added(&response), [A]);
}

#[test]
fn a_wildcard_is_answered_even_if_there_is_nothing() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1));
    let response = only(rig.subscribe(Kind::Listener, &[]));
    assert!(response.resources.is_empty() && response.removed.is_empty());
    assert!(rig.ack(&response).is_empty());
}

/// As Envoy does that looks for clusters on demand, and as the protocol's own example has it.
#[test]
fn a_name_is_asked_for_beside_the_wildcard_of_an_empty_list() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = only(rig.subscribe(Kind::Cluster, &[]));
    rig.ack(&first);
    let named = only(rig.subscribe(Kind::Cluster, &[A]));
    assert_eq!(added(&named), [A]);
    rig.ack(&named);
    let next = only(rig.apply(Update::to(2).service("b", &[])));
    assert_eq!(added(&next), [B]);
    rig.ack(&next);
    assert!(rig.unsubscribe(Kind::Cluster, &["*"]).is_empty());
    assert!(rig.apply(Update::to(3).service("c", &[])).is_empty(), "the name alone is left");
}

/// Found by the model: seed 801496.
#[test]
fn a_table_that_was_given_up_before_it_was_confirmed_brings_no_virtual_hosts() {
    let mut rig = Rig::delta();
    let table = mk_table(8080);
    rig.apply(Update::to(1).listener(mk_http_listener(8080, &["public"])));
    let tables = only(rig.subscribe(Kind::RouteConfig, &[&*table]));
    rig.subscribe(Kind::VirtualHost, &["*"]);
    rig.unsubscribe(Kind::RouteConfig, &[&*table]);
    assert!(rig.ack(&tables).is_empty(), "it would drop them, and remember their versions");
}

#[test]
fn a_star_is_a_wildcard_beside_names() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = only(rig.subscribe(Kind::Cluster, &["*", A]));
    assert_eq!(added(&first), [A]);
    rig.ack(&first);
    assert_eq!(added(&only(rig.apply(Update::to(2).service("b", &[])))), [B]);
}

#[test]
fn a_type_without_wildcard_sends_nothing_to_an_empty_list() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    assert!(rig.subscribe(Kind::Endpoints, &[]).is_empty());
}

#[test]
fn unsubscribing_a_name_under_a_wildcard_is_answered() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = rig.subscribe(Kind::Cluster, &["*", A, B]);
    assert_eq!(removed(&first[0]), [B]);
    rig.settle(first);
    let response = only(rig.unsubscribe(Kind::Cluster, &[A, B]));
    assert_eq!(added(&response), [A], "it still is part of everything");
    assert_eq!(removed(&response), [B], "and this is not");
}

#[test]
fn unsubscribing_a_name_without_a_wildcard_ends_what_is_sent_of_it() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = rig.subscribe(Kind::Endpoints, &[A]);
    rig.settle(first);
    assert!(rig.unsubscribe(Kind::Endpoints, &[A]).is_empty());
    assert!(rig.apply(Update::to(2).endpoints(mk_endpoints("a", &["10.0.0.1:80".parse().unwrap()]))).is_empty());
}

#[test]
fn subscribing_again_resends_what_did_not_change() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A]));
    rig.ack(&first);
    let again = only(rig.subscribe(Kind::Endpoints, &[A]));
    assert_eq!(versions(&again.resources), versions(&first.resources));
}

#[test]
fn an_unknown_name_is_answered_as_removed_and_sent_when_it_exists() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1));
    let response = only(rig.subscribe(Kind::Endpoints, &[A]));
    assert_eq!((added(&response), removed(&response)), (vec![], vec![A]));
    rig.ack(&response);
    assert_eq!(added(&only(rig.apply(Update::to(2).service("a", &[])))), [A]);
}

#[test]
fn a_reconnect_is_told_what_changed_and_what_was_removed_meanwhile_and_nothing_else() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]).service("c", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A, B, "test/apps/c/80"]));
    let initial_resource_versions = versions(&first.resources).into_iter().collect();
    let resource_names_subscribe = versions(&first.resources).into_iter().map(|(name, _)| name).collect();
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a").service("b", &["10.0.0.1:80".parse().unwrap()]));
    let request = DeltaDiscoveryRequest { resource_names_subscribe, initial_resource_versions, ..mk_delta() };
    let response = only(rig.send(Kind::Endpoints, request).unwrap());
    assert_eq!((added(&response), removed(&response)), (vec![B], vec![A]));
}

#[test]
fn a_late_answer_is_ignored_but_its_subscriptions_are_not() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A]));
    let request = DeltaDiscoveryRequest {
        response_nonce: "999".to_owned(),
        resource_names_subscribe: vec![B.to_owned()],
        ..mk_delta()
    };
    assert!(rig.send(Kind::Endpoints, request).unwrap().is_empty(), "the first one is still in flight");
    assert_eq!(added(&only(rig.ack(&first))), [B]);
}

#[test]
fn one_response_is_in_flight_and_what_happens_meanwhile_is_sent_once_in_its_last_state() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A]));
    for version in 2..100_u16 {
        let address = format!("10.0.0.1:{version}").parse().unwrap();
        assert!(rig.apply(Update::to(version.into()).service("a", &[address])).is_empty());
        assert!(rig.session.state(Kind::Endpoints).pending.len() <= 1, "a stalled client costs an entry a name");
    }
    let second = only(rig.ack(&first));
    let newest = rig.cache.get(Kind::Endpoints, A, &rig.session.view).unwrap();
    assert_eq!(second.resources[0].version, newest.version);
    assert!(rig.ack(&second).is_empty());
    assert_eq!(rig.session.live(), 99);
}

#[test]
fn a_change_that_encodes_the_same_is_not_sent() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(first);
    assert!(rig.apply(Update::to(2).service("a", &[])).is_empty());
}

#[test]
fn a_client_that_was_away_for_too_long_compares_everything() {
    let mut rig = Rig::delta();
    rig.cache = crate::publish::xds::cache::Cache::with_log(8);
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(first);
    for version in 2..20_u16 {
        rig.apply_unseen(Update::to(version.into()).service("x", &[format!("10.0.0.1:{version}").parse().unwrap()]));
    }
    rig.apply_unseen(Update::to(20).no_service("x").no_service("b"));
    assert!(rig.cache.changes_since(1).is_none());
    let response = only(rig.apply(Update::to(21).service("c", &[])));
    assert_eq!((added(&response), removed(&response)), (vec!["test/apps/c/80"], vec![B]));
}

#[test]
fn what_goes_while_it_is_in_flight_is_removed_also_if_too_much_else_changed_meanwhile() {
    let mut rig = Rig::delta();
    rig.cache = crate::publish::xds::cache::Cache::with_log(2);
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = only(rig.subscribe(Kind::Cluster, &[]));
    rig.apply_unseen(Update::to(2).no_service("a").service("c", &[]));
    assert!(rig.cache.changes_since(1).is_none());
    assert!(rig.apply(Update::to(3).service("d", &[])).is_empty(), "the first one is still in flight");
    let response = only(rig.ack(&first));
    assert_eq!((added(&response), removed(&response)), (vec!["test/apps/c/80", "test/apps/d/80"], vec![A]));
}

#[test]
fn a_client_with_a_scope_gets_its_gateways_alone() {
    let scope = Scope::Gateways(vec![("infra".into(), "other".into())]);
    let mut rig = Rig::new(false, scope);
    let mut other = mk_cluster("b");
    other.gateways = [mk_gateway("other")].into();
    let mut shared = mk_http_listener(8080, &["public", "other"]);
    shared.chains.push(mk_https_chain("public", "web", &[], &["cert"]));
    rig.apply(
        Update::to(1).service("a", &[]).cluster(other).listener(shared).listener(mk_http_listener(8081, &["public"])),
    );
    assert_eq!(added(&only(rig.subscribe(Kind::Cluster, &[]))), [B]);
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[A, B]));
    assert_eq!((added(&endpoints), removed(&endpoints)), (vec![B], vec![A]));
    let listeners = only(rig.subscribe(Kind::Listener, &[]));
    assert_eq!(added(&listeners), ["127.0.0.1:8080"]);
    let everything = Rig::delta().session.view.clone();
    let whole = rig.cache.get(Kind::Listener, "127.0.0.1:8080", &everything).unwrap();
    assert!(listeners.resources[0].body().len() < whole.body().len(), "without the other Gateway's filter chain");
    let tables = only(rig.subscribe(Kind::RouteConfig, &["http/127.0.0.1:8081"]));
    assert_eq!(removed(&tables), ["http/127.0.0.1:8081"]);
}

#[test]
fn a_client_with_a_scope_hears_no_name_of_another_gateways_virtual_host() {
    let mut rig = Rig::new(false, Scope::Gateways(vec![("infra".into(), "public".into())]));
    let table = mk_table(8080);
    let mut foreign = mk_host(&table, "secret.example.com", []);
    foreign.gateway = mk_gateway("other");
    rig.apply(Update::to(1).listener(mk_http_listener(8080, &["public", "other"])).host(foreign));
    assert!(rig.subscribe(Kind::VirtualHost, &[]).is_empty());
    let tables = only(rig.subscribe(Kind::RouteConfig, &[&*table]));
    let hosts = only(rig.ack(&tables));
    assert_eq!((added(&hosts), removed(&hosts)), (vec!["http/127.0.0.1:8080/~ none"], vec![]));
}

#[test]
fn a_cluster_that_leaves_a_scope_is_removed_there() {
    let mut rig = Rig::new(false, Scope::Gateways(vec![("infra".into(), "public".into())]));
    rig.apply(Update::to(1).service("a", &[]));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(first);
    let mut moved = mk_cluster("a");
    moved.gateways = [mk_gateway("other")].into();
    assert_eq!(removed(&only(rig.apply(Update::to(2).cluster(moved)))), [A]);
}

#[test]
fn too_many_names_end_the_stream() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1));
    let resource_names_subscribe = (0..101).map(|n| n.to_string()).collect();
    let request = DeltaDiscoveryRequest { resource_names_subscribe, ..mk_delta() };
    let violation = rig.send(Kind::Endpoints, request).unwrap_err();
    assert_eq!(violation, Violation::TooManySubscriptions { subscriptions: 101, limit: 100 });
}
