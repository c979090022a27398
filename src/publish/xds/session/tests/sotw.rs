//! What is particular to state of the world.

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tidegate_actors::id::Name;

use super::rig::{Rig, added, kinds, only};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::Response;
use crate::publish::xds::testing::*;

const A: &str = "test/apps/a/80";
const B: &str = "test/apps/b/80";

fn mk_request(nonce: &str, names: &[&str]) -> DiscoveryRequest {
    let resource_names = names.iter().map(ToString::to_string).collect();
    DiscoveryRequest { response_nonce: nonce.to_owned(), resource_names, ..DiscoveryRequest::default() }
}

/// A client is away that has accepted a cluster, and nothing else; a table (named too) has a route to it.
fn mk_away() -> (Rig, Name) {
    let mut rig = Rig::sotw();
    let table = mk_table(8080);
    let host = mk_host(&table, "a.example.com", [mk_route_to("a")]);
    rig.apply(Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"])).host(host));
    let accepted = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(accepted);
    rig.reconnect();
    (rig, table)
}

/// It asks again for all clusters, as one that has some; what it is answered.
fn come_back(rig: &mut Rig) -> Response {
    let request = DiscoveryRequest { version_info: "1".to_owned(), ..DiscoveryRequest::default() };
    only(rig.request(Kind::Cluster, request))
}

#[test]
fn a_first_request_is_answered_even_if_there_is_nothing() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1));
    assert!(only(rig.subscribe(Kind::Listener, &[])).resources.is_empty());
}

#[test]
fn every_cluster_is_in_every_response_and_absence_removes() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = rig.subscribe(Kind::Cluster, &[]);
    assert_eq!(added(&first[0]), [A, B]);
    rig.settle(first);
    let second = only(rig.apply(Update::to(2).service("c", &[])));
    assert_eq!(added(&second), [A, B, "test/apps/c/80"]);
    rig.ack(&second);
    assert_eq!(added(&only(rig.apply(Update::to(3).no_service("a")))), [B, "test/apps/c/80"]);
}

#[test]
fn endpoints_are_sent_alone_since_their_absence_means_nothing() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = rig.subscribe(Kind::Endpoints, &[A, B]);
    assert_eq!(added(&first[0]), [A, B]);
    rig.settle(first);
    let second = only(rig.apply(Update::to(2).service("a", &["10.0.0.1:80".parse().unwrap()])));
    assert_eq!(added(&second), [A]);
}

#[test]
fn a_late_request_is_ignored_and_the_answer_to_the_latest_response_counts() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A]));
    let second = only(rig.request(Kind::Endpoints, mk_request(&first.nonce.to_string(), &[A, B])));
    assert_eq!(added(&second), [B]);
    assert!(rig.request(Kind::Endpoints, mk_request(&first.nonce.to_string(), &[])).is_empty());
    assert!(rig.session.state(Kind::Endpoints).names.contains(A), "a late request unsubscribes from nothing");
    assert!(rig.request(Kind::Endpoints, mk_request(&second.nonce.to_string(), &[A, B])).is_empty());
    assert_eq!(rig.session.state(Kind::Endpoints).known.len(), 2);
}

#[test]
fn a_name_that_is_no_longer_listed_is_unsubscribed() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let first = only(rig.subscribe(Kind::Endpoints, &[A, B]));
    rig.request(Kind::Endpoints, mk_request(&first.nonce.to_string(), &[B]));
    assert!(rig.apply(Update::to(2).service("a", &["10.0.0.1:80".parse().unwrap()])).is_empty());
}

#[test]
fn virtual_hosts_stand_in_their_table_and_change_it() {
    let mut rig = Rig::sotw();
    let table = mk_table(8080);
    rig.apply(Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"])).host(mk_host(
        &table,
        "a.example.com",
        [mk_route_to("a")],
    )));
    let first = only(rig.subscribe(Kind::RouteConfig, &[&*table]));
    rig.ack(&first);
    let responses = rig.apply(Update::to(2).host(mk_host(&table, "b.example.com", [mk_route_to("a")])));
    assert_eq!(kinds(&responses), [Kind::RouteConfig]);
    assert!(responses[0].resources[0].body().len() > first.resources[0].body().len());
    assert_ne!(responses[0].resources[0].version, first.resources[0].version);
}

#[test]
fn a_cluster_that_routes_may_still_lead_to_stays_in_the_list() {
    let mut rig = Rig::sotw();
    let table = mk_table(8080);
    let host = mk_host(&table, "a.example.com", [mk_route_to("a")]);
    rig.apply(Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"])).host(host));
    for (kind, names) in [(Kind::Cluster, &[][..]), (Kind::RouteConfig, &[&*table])] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    let update = Update::to(2).no_service("a").service("b", &[]);
    let responses = rig.apply(update.host(mk_host(&table, "a.example.com", [])));
    assert_eq!(kinds(&responses), [Kind::Cluster, Kind::RouteConfig]);
    assert_eq!(added(&responses[0]), [A, B], "not before the routes are confirmed");
    assert!(rig.ack(&responses[0]).is_empty());
    assert_eq!(added(&only(rig.ack(&responses[1]))), [B]);
}

#[test]
fn a_cluster_that_went_before_its_endpoints_were_asked_for_has_none() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &["10.0.0.1:80".parse().unwrap()]));
    rig.subscribe(Kind::Cluster, &[]);
    rig.apply(Update::to(2).no_service("a"));
    let response = only(rig.subscribe(Kind::Endpoints, &[A]));
    assert_eq!(added(&response), [A], "Envoy would wait for it and acknowledge no cluster");
}

#[test]
fn a_client_that_comes_back_keeps_clusters_that_went_until_its_routes_are_new() {
    let mut rig = Rig::sotw();
    let table = mk_table(8080);
    let host = mk_host(&table, "a.example.com", [mk_route_to("a")]);
    rig.apply(Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"])).host(host));
    let types = [(Kind::Listener, &[][..]), (Kind::RouteConfig, &[&*table])];
    let clusters = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(clusters);
    for (kind, names) in types {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a").service("b", &[]).host(mk_host(&table, "a.example.com", [])));
    let clusters = come_back(&mut rig);
    assert_eq!(added(&clusters), [A, B], "its routes lead to what is not there any more");
    assert!(rig.ack(&clusters).is_empty());
    let mut last = Vec::new();
    for (kind, names) in types {
        let responses = rig.subscribe(kind, names);
        last.extend(rig.settle(responses));
    }
    let last = last.last().unwrap();
    assert_eq!((last.kind, added(last)), (Kind::Cluster, vec![B]));
}

/// Found by the model: seed 474431.
#[test]
fn a_cluster_stays_for_a_table_that_nobody_knows_until_the_client_gives_it_up() {
    let (mut rig, table) = mk_away();
    rig.apply_unseen(Update::to(2).no_service("a").host(mk_host(&table, "a.example.com", [])));
    let clusters = come_back(&mut rig);
    assert!(rig.ack(&clusters).is_empty());
    let listeners = rig.subscribe(Kind::Listener, &[]);
    rig.settle(listeners);
    let routes = only(rig.subscribe(Kind::RouteConfig, &[&*table]));
    assert!(rig.nack(&routes, "bad").is_empty(), "it runs with routes of an earlier stream");
    let listeners = only(rig.apply(Update::to(3).no_listener(8080)));
    assert_eq!(listeners.kind, Kind::Listener);
    assert!(rig.pass(Duration::ZERO).is_empty(), "its old one still has the old routes");
    assert!(rig.ack(&listeners).is_empty());
    let clusters = only(rig.pass(Duration::ZERO));
    assert_eq!((clusters.kind, added(&clusters)), (Kind::Cluster, vec![]));
}

/// Found by the model: seed 858121.
#[test]
fn a_cluster_that_went_before_anybody_could_confirm_it_is_kept_too_for_a_client_that_comes_back() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]));
    let sent = only(rig.subscribe(Kind::Cluster, &[]));
    assert_eq!(added(&sent), [A]);
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a"));
    assert_eq!(added(&come_back(&mut rig)), [A], "its answer was lost with the stream");

    // Who rejected it has not got it.
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]));
    let sent = rig.subscribe(Kind::Cluster, &[]);
    rig.settle_unless(sent, |_| true);
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a"));
    assert_eq!(added(&come_back(&mut rig)), [""; 0]);
}

/// Found by the model: seed 733927.
#[test]
fn an_empty_list_means_everything_only_as_long_as_nothing_was_named_be_it_the_star_or_in_a_late_request() {
    let star = ["*".to_owned()];
    for (nonce, named) in [("", star), ("late", [A.to_owned()])] {
        let mut rig = Rig::sotw();
        rig.apply(Update::to(1).service("a", &[]));
        let all = only(rig.subscribe(Kind::Cluster, &[]));
        rig.ack(&all);
        let request = DiscoveryRequest {
            response_nonce: nonce.to_owned(),
            resource_names: named.to_vec(),
            ..DiscoveryRequest::default()
        };
        rig.request(Kind::Cluster, request);
        rig.subscribe(Kind::Cluster, &[]);
        assert!(rig.apply(Update::to(2).service("b", &[])).is_empty(), "{named:?} was given up");
    }
}

/// Found by the model: seed 672334.
#[test]
fn a_cluster_stays_until_a_client_that_came_back_has_accepted_that_there_is_no_listener_any_more() {
    let (mut rig, table) = mk_away();
    let clusters = come_back(&mut rig);
    rig.apply(Update::to(2).no_service("a").no_listener(8080).no_host(&table, "a.example.com"));
    let listeners = only(rig.subscribe(Kind::Listener, &[]));
    assert!(listeners.resources.is_empty());
    assert!(rig.subscribe(Kind::RouteConfig, &[&*table]).is_empty());
    assert!(rig.ack(&clusters).is_empty(), "it still has the listener, and routes to the cluster");
    let clusters = only(rig.ack(&listeners));
    assert_eq!((clusters.kind, added(&clusters)), (Kind::Cluster, vec![]));
}

/// Found by the model: seed 170770.
#[test]
fn routes_wait_for_a_cluster_that_was_recalled_and_is_back_since_the_client_may_never_have_had_it() {
    let mut rig = Rig::sotw();
    let table = mk_table(8080);
    rig.apply(Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"])));
    let accepted_by_another = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(accepted_by_another);
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a"));
    let clusters = come_back(&mut rig);
    assert_eq!(added(&clusters), [A]);
    let host = mk_host(&table, "a.example.com", [mk_route_to("a")]);
    assert!(rig.apply(Update::to(3).service("a", &["10.0.0.1:80".parse().unwrap()]).host(host)).is_empty());
    assert!(rig.subscribe(Kind::RouteConfig, &[&*table]).is_empty(), "nobody knows yet that it can use it");
    let endpoints = rig.subscribe(Kind::Endpoints, &[A]);
    rig.settle(endpoints);
    let last = rig.ack(&clusters);
    let last = rig.settle(last);
    assert!(kinds(&last).contains(&Kind::RouteConfig), "{last:?}");
}

/// Found by the model: seed 344415.
#[test]
fn a_cluster_that_was_back_for_a_moment_in_which_nobody_saw_it_is_kept_as_it_was_before() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("a", &[]));
    let clusters = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(clusters);
    rig.reconnect();
    let mut other = mk_cluster("a");
    other.connect_timeout = std::time::Duration::from_secs(9);
    rig.apply_unseen(Update::to(2).no_service("a"));
    rig.apply_unseen(Update::to(3).cluster(other));
    rig.apply_unseen(Update::to(4).no_service("a"));
    let clusters = come_back(&mut rig);
    assert_eq!(added(&clusters), [A], "its routes may lead there");
}
