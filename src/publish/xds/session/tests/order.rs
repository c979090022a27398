//! Make before break, and what virtual hosts owe to Envoy.

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::rig::{Rig, added, kinds, mk_delta, only, removed, versions};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::session::{Response, WARMING};
use crate::publish::xds::testing::*;

const A: &str = "test/apps/a/80";
const B: &str = "test/apps/b/80";
const TABLE: &str = "http/127.0.0.1:8080";
const HOST: &str = "http/127.0.0.1:8080/a.example.com";
const SENTINEL: &str = "http/127.0.0.1:8080/~ none";

fn mk_a(version: u64) -> Update {
    Update::to(version).service("a", &[]).listener(mk_http_listener(8080, &["public"])).host(mk_host(
        &mk_table(8080),
        "a.example.com",
        [mk_route_to("a")],
    ))
}

/// A client with everything, as Envoy asks for it.
fn mk_settled() -> Rig {
    let mut rig = Rig::delta();
    rig.apply(mk_a(1));
    for (kind, names) in [
        (Kind::Cluster, &[][..]),
        (Kind::Endpoints, &[A][..]),
        (Kind::Listener, &[]),
        (Kind::RouteConfig, &[TABLE]),
        (Kind::VirtualHost, &[]),
    ] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    assert_eq!(rig.session.live(), 1);
    rig
}

fn find(responses: &[Response], kind: Kind) -> &Response {
    responses.iter().find(|response| response.kind == kind).unwrap()
}

#[test]
fn an_endpoint_change_sends_endpoints_and_nothing_else() {
    let mut rig = mk_settled();
    let responses = rig.apply(Update::to(2).endpoints(mk_endpoints("a", &["10.0.0.1:80".parse().unwrap()])));
    assert_eq!(kinds(&responses), [Kind::Endpoints]);
    assert_eq!(added(&responses[0]), [A]);
}

#[test]
fn a_route_change_sends_one_virtual_host_and_nothing_else() {
    let mut rig = mk_settled();
    let responses = rig.apply(Update::to(2).host(mk_host(&mk_table(8080), "a.example.com", [])));
    assert_eq!(kinds(&responses), [Kind::VirtualHost]);
    assert_eq!(added(&responses[0]), [HOST]);
}

#[test]
fn routes_wait_for_a_new_cluster_to_have_its_endpoints() {
    let mut rig = mk_settled();
    let host = mk_host(&mk_table(8080), "a.example.com", [mk_route_to("b")]);
    let cluster = only(rig.apply(Update::to(2).service("b", &[]).host(host)));
    assert_eq!((cluster.kind, added(&cluster)), (Kind::Cluster, vec![B]));
    // Envoy asks for the endpoints first, and acknowledges the cluster when it has them.
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[B]));
    assert_eq!((endpoints.kind, added(&endpoints)), (Kind::Endpoints, vec![B]));
    let routes = only(rig.ack(&endpoints));
    assert_eq!((routes.kind, added(&routes)), (Kind::VirtualHost, vec![HOST]));
}

/// Found by the model: seed 732077.
#[test]
fn routes_wait_for_a_cluster_that_is_back_before_it_was_given_up_if_its_endpoints_were_given_up() {
    let mut rig = Rig::delta();
    rig.apply(mk_a(1).service("b", &[]));
    let clusters = only(rig.subscribe(Kind::Cluster, &["*"]));
    rig.apply(Update::to(2).no_service("b"));
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[A, B]));
    assert_eq!(removed(&endpoints), [B]);
    rig.ack(&endpoints);
    let table = only(rig.subscribe(Kind::RouteConfig, &[TABLE]));
    // Until it is confirmed nobody knows that no route leads to the cluster.
    assert!(rig.ack(&clusters).is_empty());
    let changed = Update::to(3).cluster({
        let mut changed = mk_cluster("b");
        changed.connect_timeout *= 2;
        changed
    });
    let changed =
        changed.endpoints(mk_endpoints("b", &[])).host(mk_host(&mk_table(8080), "b.example.com", [mk_route_to("b")]));
    let responses = rig.apply(changed);
    assert_eq!(kinds(&responses), [Kind::Cluster, Kind::Endpoints]);
    rig.settle(vec![table]);
    let hosts = only(rig.subscribe(Kind::VirtualHost, &["*"]));
    assert!(!added(&hosts).contains(&"http/127.0.0.1:8080/b.example.com"), "{:?}", added(&hosts));
    rig.ack(&hosts);
    let rest = rig.ack(&responses[1]);
    assert_eq!(added(find(&rest, Kind::VirtualHost)), ["http/127.0.0.1:8080/b.example.com"]);
}

#[test]
fn routes_do_not_wait_for_a_cluster_that_turned_out_to_be_as_it_was_when_its_endpoints_came() {
    let mut rig = mk_settled();
    let host = mk_host(&mk_table(8080), "a.example.com", [mk_route_to("b")]);
    let clusters = only(rig.apply(Update::to(2).service("b", &[]).host(host)));
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[B]));
    // Another Gateway leads there too, which does not show in it.
    let mut shared = mk_cluster("b");
    shared.gateways = ["internal", "public"].map(mk_gateway).into();
    assert!(rig.apply(Update::to(3).cluster(shared)).is_empty());
    assert!(rig.ack(&endpoints).is_empty());
    let routes = only(rig.ack(&clusters));
    assert_eq!((routes.kind, added(&routes)), (Kind::VirtualHost, vec![HOST]));
}

#[test]
fn other_routes_do_not_wait_for_a_new_cluster() {
    let mut rig = mk_settled();
    let table = mk_table(8080);
    let update = Update::to(2)
        .service("b", &[])
        .host(mk_host(&table, "b.example.com", [mk_route_to("b")]))
        .host(mk_host(&table, "c.example.com", [mk_route_to("a")]));
    let responses = rig.apply(update);
    assert_eq!(added(find(&responses, Kind::VirtualHost)), [format!("{TABLE}/c.example.com")]);
}

#[test]
fn routes_do_not_wait_for_ever() {
    let mut rig = mk_settled();
    let host = mk_host(&mk_table(8080), "a.example.com", [mk_route_to("b")]);
    rig.apply(Update::to(2).service("b", &[]).host(host));
    assert!(rig.pass(WARMING - Duration::from_millis(1)).is_empty());
    assert_eq!(added(&only(rig.pass(Duration::from_millis(1)))), [HOST]);
}

#[test]
fn a_cluster_goes_after_its_last_route_was_confirmed_gone() {
    let mut rig = mk_settled();
    let responses = rig.apply(Update::to(2).no_service("a").host(mk_host(&mk_table(8080), "a.example.com", [])));
    assert_eq!(kinds(&responses), [Kind::VirtualHost]);
    let removal = only(rig.ack(&responses[0]));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![A]));
    let last = only(rig.ack(&removal));
    assert_eq!((last.kind, removed(&last)), (Kind::Endpoints, vec![A]), "its endpoints go after it");
}

#[test]
fn a_cluster_that_is_kept_for_old_routes_keeps_its_endpoints_whoever_asks_for_them_again() {
    let mut rig = mk_settled();
    let responses = rig.apply(Update::to(2).no_service("a").host(mk_host(&mk_table(8080), "a.example.com", [])));
    assert_eq!(kinds(&responses), [Kind::VirtualHost]);
    let again = only(rig.subscribe(Kind::Endpoints, &[A]));
    assert_eq!((added(&again), removed(&again)), (vec![A], vec![]), "requests still go there");
    assert!(rig.ack(&again).is_empty());
    let removal = only(rig.ack(&responses[0]));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![A]));
    let last = only(rig.ack(&removal));
    assert_eq!((last.kind, removed(&last)), (Kind::Endpoints, vec![A]), "they go after it, as ever");
}

#[test]
fn a_new_process_that_was_never_asked_for_a_kept_clusters_endpoints_has_them_all_the_same() {
    let before = mk_settled();
    let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoints].map(|kind| before.resume(kind));
    let mut rig = Rig::delta();
    rig.apply(mk_a(1));
    rig.apply(Update::to(2).no_service("a").host(mk_host(&mk_table(8080), "a.example.com", [])));
    assert_eq!(removed(&only(rig.send(Kind::Cluster, clusters).unwrap())), Vec::<&str>::new());
    assert!(rig.send(Kind::Endpoints, endpoints.clone()).unwrap().is_empty(), "it has them");
    let again = only(rig.send(Kind::Endpoints, endpoints).unwrap());
    assert_eq!((added(&again), removed(&again)), (vec![A], vec![]), "the request came twice");
}

#[test]
fn a_changed_cluster_has_its_endpoints_sent_again() {
    let mut rig = mk_settled();
    let mut changed = mk_cluster("a");
    changed.connect_timeout = Duration::from_secs(9);
    let responses = rig.apply(Update::to(2).cluster(changed));
    assert_eq!(kinds(&responses), [Kind::Cluster, Kind::Endpoints]);
    assert_eq!(added(&responses[1]), [A]);
}

#[test]
fn a_cluster_that_changes_again_before_its_ack_still_gets_its_endpoints() {
    let mut rig = mk_settled();
    let cluster = only(rig.apply(Update::to(2).service("b", &[])));
    let mut changed = mk_cluster("b");
    changed.connect_timeout = Duration::from_secs(9);
    assert!(rig.apply(Update::to(3).cluster(changed)).is_empty());
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[B]));
    assert_eq!(added(&endpoints), [B], "or Envoy would never acknowledge the cluster");
    rig.ack(&endpoints);
    let again = rig.ack(&cluster);
    assert_eq!(kinds(&again), [Kind::Cluster, Kind::Endpoints]);
}

#[test]
fn virtual_hosts_follow_their_table_and_are_sent_again_with_it() {
    let mut rig = Rig::delta();
    rig.apply(mk_a(1));
    assert!(rig.subscribe(Kind::VirtualHost, &[]).is_empty(), "Envoy would drop them");
    let table = only(rig.subscribe(Kind::RouteConfig, &[TABLE]));
    let hosts = only(rig.ack(&table));
    assert_eq!(added(&hosts), [HOST, SENTINEL]);
    rig.ack(&hosts);
    assert!(rig.unsubscribe(Kind::RouteConfig, &[TABLE]).is_empty());
    assert!(rig.apply(Update::to(2).host(mk_host(&mk_table(8080), "b.example.com", []))).is_empty());
    let table = only(rig.subscribe(Kind::RouteConfig, &[TABLE]));
    let hosts = only(rig.ack(&table));
    assert_eq!(added(&hosts), [HOST, &format!("{TABLE}/b.example.com"), SENTINEL]);
}

#[test]
fn a_cluster_goes_with_a_route_that_the_client_never_had() {
    let mut rig = mk_settled();
    let host = mk_host(&mk_table(8080), "b.example.com", [mk_route_to("b")]);
    let cluster = only(rig.apply(Update::to(2).service("b", &[]).host(host)));
    let endpoints = only(rig.subscribe(Kind::Endpoints, &[B]));
    rig.ack(&cluster);
    let routes = only(rig.ack(&endpoints));
    assert!(rig.nack(&routes, "bad").is_empty(), "there is nothing better to offer");
    // Nothing is to be said of the host, so no answer will come of it.
    assert!(rig.apply(Update::to(3).no_service("b").no_host(&mk_table(8080), "b.example.com")).is_empty());
    assert_eq!(rig.session.deadline(), Some(rig.now), "it looks again by itself");
    let removal = only(rig.pass(Duration::ZERO));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![B]));
    assert!(rig.ack(&removal).iter().all(|response| response.kind == Kind::Endpoints));
    assert_eq!(rig.session.deadline(), None);
}

/// Found by the model: seed 866351.
#[test]
fn a_cluster_goes_though_a_host_turns_out_to_stay_for_a_listener_that_drains() {
    let mut rig = mk_settled();
    let cluster = rig.apply(Update::to(2).service("b", &[]));
    rig.settle(cluster);
    let hosts = only(rig.apply(Update::to(3).host(mk_host(&mk_table(8080), "b.example.com", []))));
    let mut moved = mk_http_listener(8080, &["public"]);
    moved.chains[0].route_config = mk_table(8081);
    let listener = only(rig.apply(Update::to(4).no_service("b").listener(moved)));
    assert_eq!(listener.kind, Kind::Listener);
    assert!(rig.nack(&listener, "bad").is_empty(), "its table stays, and the sentinel of that");
    assert!(rig.ack(&hosts).is_empty(), "nothing is to be said of the sentinel, so no answer will come of it");
    assert_eq!(rig.session.deadline(), Some(rig.now), "it looks again by itself");
    let removal = only(rig.pass(Duration::ZERO));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![B]));
}

#[test]
fn what_others_accepted_once_is_not_given_to_a_client_if_it_leads_to_a_cluster_that_went() {
    for (service_goes, given) in [(true, 0), (false, 1)] {
        let mut rig = mk_settled();
        rig.reconnect();
        let newest = Update::to(2).host(mk_host(&mk_table(8080), "a.example.com", []));
        rig.apply_unseen(if service_goes { newest.no_service("a") } else { newest });
        for (kind, names) in [(Kind::Cluster, &[][..]), (Kind::Listener, &[]), (Kind::RouteConfig, &[TABLE])] {
            let responses = rig.subscribe(kind, names);
            rig.settle(responses);
        }
        let first = rig.subscribe(Kind::VirtualHost, &[]);
        let all = rig.settle_unless(first, |resource| &*resource.name == HOST && !resource.routes_to(A));
        let older = all.iter().flat_map(|response| &response.resources).filter(|resource| resource.routes_to(A));
        assert_eq!(older.count(), given, "the cluster is gone: {service_goes}");
    }
}

#[test]
fn a_table_without_hosts_has_a_sentinel() {
    let mut rig = mk_settled();
    rig.apply(Update::to(2).listener(mk_http_listener(8081, &["public"])));
    let tables = only(rig.subscribe(Kind::RouteConfig, &["http/127.0.0.1:8081"]));
    let hosts = only(rig.ack(&tables));
    assert_eq!(added(&hosts), ["http/127.0.0.1:8081/~ none"]);
}

#[test]
fn a_listener_that_drains_keeps_its_routes_until_the_client_gives_their_table_up() {
    let mut rig = mk_settled();
    let responses = rig.apply(Update::to(2).no_listener(8080).no_host(&mk_table(8080), "a.example.com"));
    assert_eq!(kinds(&responses), [Kind::Listener]);
    assert_eq!(removed(&responses[0]), ["127.0.0.1:8080"]);
    let rest = rig.settle(responses);
    assert!(!kinds(&rest).contains(&Kind::VirtualHost), "{rest:?}");
    assert_eq!(rig.session.live(), 2);
}

#[test]
fn a_virtual_host_that_went_while_its_table_drained_goes_when_the_table_is_back() {
    let mut rig = mk_settled();
    let drains = only(rig.apply(Update::to(2).no_listener(8080)));
    assert_eq!((drains.kind, removed(&drains)), (Kind::Listener, vec!["127.0.0.1:8080"]));
    let gone = rig.apply(Update::to(3).no_host(&mk_table(8080), "a.example.com"));
    assert!(gone.is_empty(), "old connections still drain with it");
    let mut back = rig.apply(Update::to(4).listener(mk_http_listener(8080, &["public"])));
    assert_eq!(removed(find(&back, Kind::VirtualHost)), [HOST]);
    back.push(drains);
    rig.settle(back);
    assert!(!rig.session.state(Kind::VirtualHost).known.contains_key(HOST));
}

#[test]
fn a_cluster_that_is_back_while_its_removal_is_in_flight_is_new() {
    let mut rig = mk_settled();
    let table = mk_table(8080);
    let responses = rig.apply(Update::to(2).no_service("a").host(mk_host(&table, "a.example.com", [])));
    let removal = only(rig.ack(&responses[0]));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![A]));
    let back = Update::to(3).service("a", &[]).host(mk_host(&table, "a.example.com", [mk_route_to("a")]));
    assert!(rig.apply(back).is_empty(), "nothing may lead there before the client has it again");
    let responses = rig.ack(&removal);
    assert_eq!(kinds(&responses), [Kind::Cluster, Kind::Endpoints]);
    assert_eq!((added(&responses[0]), added(&responses[1])), (vec![A], vec![A]));
    let routes = only(rig.ack(&responses[1]));
    assert_eq!((routes.kind, added(&routes)), (Kind::VirtualHost, vec![HOST]));
}

#[test]
fn a_cluster_that_changed_while_the_client_was_away_gets_its_unchanged_endpoints_again() {
    let mut rig = mk_settled();
    let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoints].map(|kind| rig.resume(kind));
    rig.reconnect();
    let mut changed = mk_cluster("a");
    changed.connect_timeout = Duration::from_secs(9);
    rig.apply_unseen(Update::to(2).cluster(changed));
    assert_eq!(added(&only(rig.send(Kind::Cluster, clusters).unwrap())), [A]);
    let endpoints = only(rig.send(Kind::Endpoints, endpoints).unwrap());
    assert_eq!(added(&endpoints), [A], "or Envoy would never acknowledge the cluster");
}

#[test]
fn a_client_that_comes_back_keeps_its_clusters_whatever_else_changes_before_its_routes_are_confirmed() {
    let mut rig = mk_settled();
    let known = [Kind::Cluster, Kind::Listener, Kind::RouteConfig, Kind::VirtualHost].map(|kind| rig.resume(kind));
    let [clusters, listeners, tables, hosts] = known;
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a").host(mk_host(&mk_table(8080), "a.example.com", [])));
    for (kind, known) in [(Kind::Cluster, clusters), (Kind::Listener, listeners), (Kind::RouteConfig, tables)] {
        let responses = rig.send(kind, known).unwrap();
        rig.settle(responses);
    }
    // From here on what the client asks for is as new as this, and the cluster went before it.
    rig.apply_unseen(Update::to(3).service("b", &[]));
    let responses = rig.send(Kind::VirtualHost, hosts).unwrap();
    let cluster = find(&responses, Kind::Cluster);
    assert_eq!((added(cluster), removed(cluster)), (vec![B], vec![]), "its routes still lead to the other one");
    rig.ack(find(&responses, Kind::Cluster));
    let removal = only(rig.ack(find(&responses, Kind::VirtualHost)));
    assert_eq!((removal.kind, removed(&removal)), (Kind::Cluster, vec![A]));
}

#[test]
fn a_client_that_comes_back_keeps_its_clusters_until_its_routes_are_confirmed() {
    let mut rig = mk_settled();
    let known = |kind| rig.cache.names(kind, &rig.session.view).into_iter().map(move |name| (kind, name));
    let known: Vec<_> = Kind::ALL.into_iter().flat_map(known).collect();
    let resource =
        |(kind, name): &(Kind, tidegate_actors::id::Name)| rig.cache.get(*kind, name, &rig.session.view).unwrap();
    let known: Vec<_> = known.iter().map(|entry| (entry.0, versions(&[resource(entry)]).remove(0))).collect();
    let of = |kind: Kind| {
        let own = known.iter().filter(move |(k, _)| *k == kind).map(|(_, version)| version.clone());
        let initial_resource_versions: std::collections::HashMap<_, _> = own.collect();
        let names: Vec<String> = initial_resource_versions.keys().cloned().collect();
        let resource_names_subscribe = if kind.allows_wildcard() { vec![] } else { names };
        DeltaDiscoveryRequest { resource_names_subscribe, initial_resource_versions, ..mk_delta() }
    };
    rig.reconnect();
    rig.apply_unseen(Update::to(2).no_service("a").host(mk_host(&mk_table(8080), "a.example.com", [])));
    let mut all = Vec::new();
    for kind in [Kind::Cluster, Kind::Listener, Kind::RouteConfig, Kind::VirtualHost] {
        let responses = rig.send(kind, of(kind)).unwrap();
        all.extend(rig.settle(responses));
    }
    let told: Vec<_> = all.iter().filter(|r| !r.resources.is_empty() || !r.removed.is_empty()).collect();
    assert_eq!(told.iter().map(|r| r.kind).collect::<Vec<_>>(), [Kind::VirtualHost, Kind::Cluster]);
    assert_eq!((added(told[0]), removed(told[1])), (vec![HOST], vec![A]));
}

#[test]
fn a_client_that_comes_back_without_routes_loses_its_clusters_after_a_while() {
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    rig.reconnect();
    let initial_resource_versions = [(B.to_owned(), "0".to_owned())].into();
    let first = rig.send(Kind::Cluster, DeltaDiscoveryRequest { initial_resource_versions, ..mk_delta() }).unwrap();
    assert!(first.iter().all(|response| response.removed.is_empty()));
    rig.settle(first);
    assert_eq!(removed(&only(rig.pass(WARMING))), [B]);
}
