//! What a client rejects is found, held back for it alone, and tried again when it changes.

use super::rig::{Rig, added, kinds, only, removed};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::Resource;
use crate::publish::xds::rope::Version;
use crate::publish::xds::session::Event;
use crate::publish::xds::testing::*;

const BAD: &str = "test/apps/s5/80";

fn mk_services(version: u64, count: usize) -> Update {
    (0..count).fold(Update::to(version), |update, n| update.service(&format!("s{n}"), &[]))
}

/// Six clusters, and hosts that each have one route to a cluster.
fn mk_hosts(version: u64, hosts: &[(&str, &str)]) -> Update {
    let host = |(domain, to): &(&str, &str)| mk_host(&mk_table(8080), domain, [mk_route_to(to)]);
    let update = mk_services(version, 6).listener(mk_http_listener(8080, &["public"]));
    hosts.iter().map(host).fold(update, Update::host)
}

/// A client that has these hosts, and all clusters.
fn mk_with_hosts(hosts: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::delta();
    rig.apply(mk_hosts(1, hosts));
    for (kind, names) in [(Kind::RouteConfig, &[&*mk_table(8080)][..]), (Kind::VirtualHost, &[])] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    rig.pass(crate::publish::xds::session::WARMING);
    let all = only(rig.subscribe(Kind::Cluster, &[]));
    rig.ack(&all);
    rig
}

fn is_bad(resource: &Resource) -> bool {
    &*resource.name == BAD
}

fn held(rig: &Rig, kind: Kind) -> Vec<String> {
    rig.session.state(kind).held.keys().map(ToString::to_string).collect()
}

#[test]
fn the_bad_one_of_many_is_found_and_everything_else_gets_through() {
    for (mut rig, most) in [(Rig::delta(), 2 * 4 + 2), (Rig::sotw(), 2 * 4 + 2)] {
        rig.apply(mk_services(1, 16));
        let first = rig.subscribe(Kind::Cluster, &[]);
        let responses = rig.settle_unless(first, is_bad);
        assert!(responses.len() <= most, "{} responses, halving needs {most}", responses.len());
        assert_eq!(rig.session.state(Kind::Cluster).known.len(), 15);
        assert_eq!(held(&rig, Kind::Cluster), [BAD]);
        assert_eq!(rig.session.live(), 1, "what is held back is not waited for");
        let found = rig.events.iter().find_map(|event| match event {
            Event::Held { resource, reason, .. } => Some((resource.suspects(None), reason.as_str())),
            _ => None,
        });
        assert_eq!(found, Some((vec![mk_object("Service", "s5")], "bad")));
    }
}

#[test]
fn two_that_are_bad_are_both_found() {
    let mut rig = Rig::delta();
    rig.apply(mk_services(1, 9));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle_unless(first, |resource| is_bad(resource) || &*resource.name == "test/apps/s0/80");
    assert_eq!(held(&rig, Kind::Cluster), ["test/apps/s0/80", BAD]);
}

#[test]
fn what_is_held_back_is_not_sent_again_until_it_changes_and_heals_when_it_is_accepted() {
    let mut rig = Rig::delta();
    rig.apply(mk_services(1, 6));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle_unless(first, is_bad);
    let other = only(rig.apply(mk_services(2, 7)));
    assert_eq!(added(&other), ["test/apps/s6/80"], "the bad one is not sent along");
    rig.ack(&other);
    let mut mended = mk_cluster("s5");
    mended.connect_timeout = std::time::Duration::from_secs(2);
    let retry = only(rig.apply(Update::to(3).cluster(mended)));
    assert_eq!(added(&retry), [BAD]);
    rig.events.clear();
    rig.ack(&retry);
    assert!(rig.events.iter().any(|event| matches!(event, Event::Healed { name, .. } if &**name == BAD)));
    assert!(held(&rig, Kind::Cluster).is_empty());
}

#[test]
fn an_object_that_goes_back_to_its_good_version_or_goes_away_heals() {
    for last in [Update::to(3).service("s5", &[]), Update::to(3).no_service("s5")] {
        let mut rig = Rig::delta();
        rig.apply(mk_services(1, 6));
        let first = rig.subscribe(Kind::Cluster, &[]);
        rig.settle(first);
        let mut worse = mk_cluster("s5");
        worse.connect_timeout = std::time::Duration::from_secs(2);
        let response = only(rig.apply(Update::to(2).cluster(worse)));
        rig.nack(&response, "bad");
        assert_eq!(held(&rig, Kind::Cluster), [BAD]);
        let rest = rig.apply(last);
        rig.settle(rest);
        assert!(held(&rig, Kind::Cluster).is_empty());
    }
}

#[test]
fn a_rejected_virtual_host_names_only_the_routes_that_changed_since_it_was_good() {
    let table = mk_table(8080);
    let routes = |last| [mk_route_to("a"), mk_route_to("b"), mk_route_to(last)];
    let mut rig = Rig::delta();
    let listener = mk_http_listener(8080, &["public"]);
    let good = mk_host(&table, "a.example.com", routes("c"));
    // The next version shares what did not change, as every version does that comes from the model.
    let (key, worse) = mk_route_to("x");
    let bad = crate::model::VirtualHost { routes: good.routes.edited([(key, Some(worse))]), ..good.clone() };
    rig.apply(Update::to(1).listener(listener).host(good));
    let tables = rig.subscribe(Kind::RouteConfig, &[&*table]);
    rig.settle(tables);
    let hosts = rig.subscribe(Kind::VirtualHost, &[]);
    rig.settle(hosts);
    let response = only(rig.apply(Update::to(2).host(bad)));
    rig.nack(&response, "bad regex");
    let Some(Event::Held { resource, good, .. }) = rig.events.last() else { panic!("{:?}", rig.events) };
    assert_eq!(resource.suspects(good.as_deref()), [mk_object("HTTPRoute", "x")]);
}

#[test]
fn a_cluster_stays_while_routes_that_are_held_back_still_lead_there() {
    let mut rig = Rig::delta();
    let table = mk_table(8080);
    let host = |service| mk_host(&table, "a.example.com", [mk_route_to(service)]);
    let listener = mk_http_listener(8080, &["public"]);
    rig.apply(Update::to(1).service("a", &[]).service("b", &[]).listener(listener).host(host("a")));
    let endpoints = &["test/apps/a/80", "test/apps/b/80"][..];
    let tables = &[&*table][..];
    for (kind, names) in
        [(Kind::Cluster, &[][..]), (Kind::Endpoints, endpoints), (Kind::RouteConfig, tables), (Kind::VirtualHost, &[])]
    {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    let responses = rig.apply(Update::to(2).no_service("a").host(host("b")));
    let responses = rig.settle_unless(responses, |resource| resource.kind == Kind::VirtualHost);
    assert_eq!(kinds(&responses), [Kind::VirtualHost], "the old routes still lead to the cluster");
    let responses = rig.apply(Update::to(3).host(mk_host(&table, "a.example.com", [])));
    assert_eq!(kinds(&rig.settle(responses)), [Kind::VirtualHost, Kind::Cluster, Kind::Endpoints]);
}

#[test]
fn a_certificate_and_a_table_stay_while_a_listener_that_is_held_back_uses_them() {
    const CERT: &str = "test/apps/cert";
    const TABLE: &str = "https/test/infra/public/web";
    let listener = |chains: Vec<_>| {
        let mut listener = mk_http_listener(8443, &["public"]);
        listener.chains.extend(chains);
        listener
    };
    let mut rig = Rig::delta();
    let with = listener(vec![mk_https_chain("public", "web", &[], &["cert"])]);
    rig.apply(Update::to(1).secret(mk_secret("cert", "chain", "key")).listener(with));
    for (kind, names) in [(Kind::Listener, &[][..]), (Kind::Secret, &[CERT]), (Kind::RouteConfig, &[TABLE])] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    let mut without = Update::to(2).listener(listener(vec![]));
    without.0.secrets.push((mk_secret_id("cert"), None));
    let responses = rig.apply(without);
    let responses = rig.settle_unless(responses, |resource| resource.kind == Kind::Listener);
    assert_eq!(kinds(&responses), [Kind::Listener], "the old one still asks for both");
    let mended = listener(vec![mk_https_chain("public", "web2", &[], &["other"])]);
    let responses = rig.apply(Update::to(3).listener(mended));
    let rest = rig.settle(responses);
    let gone: Vec<_> = rest.iter().flat_map(removed).collect();
    assert_eq!(gone, [CERT, TABLE]);
}

#[test]
fn what_is_sent_in_halves_after_a_rejection_still_waits_for_new_clusters() {
    let mut rig = Rig::delta();
    let table = mk_table(8080);
    let host = |domain, service| mk_host(&table, domain, [mk_route_to(service)]);
    let update = Update::to(1).service("a", &[]).listener(mk_http_listener(8080, &["public"]));
    rig.apply(update);
    for (kind, names) in [
        (Kind::Cluster, &[][..]),
        (Kind::Endpoints, &["test/apps/a/80"]),
        (Kind::RouteConfig, &[&*table]),
        (Kind::VirtualHost, &[]),
    ] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    let both = only(rig.apply(Update::to(2).host(host("b.example.com", "a")).host(host("c.example.com", "a"))));
    let cluster = only(rig.apply(Update::to(3).service("b", &[]).host(host("b.example.com", "b"))));
    assert_eq!(added(&cluster), ["test/apps/b/80"]);
    let half = only(rig.nack(&both, "bad"));
    assert_eq!(added(&half), [format!("{table}/c.example.com")], "the other one leads to what the client has not yet");
    assert!(rig.ack(&half).is_empty());
    let endpoints = only(rig.subscribe(Kind::Endpoints, &["test/apps/b/80"]));
    let rest = only(rig.ack(&endpoints));
    assert_eq!(added(&rest), [format!("{table}/b.example.com")]);
}

#[test]
fn what_is_sent_in_halves_after_a_rejection_takes_no_cluster_that_routes_still_lead_to() {
    let mut rig = mk_with_hosts(&[("a.example.com", "s5")]);
    let table = mk_table(8080);
    let mut s4 = mk_cluster("s4");
    s4.connect_timeout = std::time::Duration::from_secs(2);
    let mut s5 = mk_cluster("s5");
    s5.connect_timeout = std::time::Duration::from_secs(2);
    let both = only(rig.apply(Update::to(2).cluster(s4).cluster(s5)));
    let routes = only(rig.apply(Update::to(3).no_service("s5").host(mk_host(&table, "a.example.com", []))));
    assert_eq!(routes.kind, Kind::VirtualHost);
    let half = only(rig.nack(&both, "bad"));
    assert_eq!((added(&half), removed(&half)), (vec!["test/apps/s4/80"], vec![]));
    assert!(rig.ack(&half).is_empty(), "the routes are not confirmed gone");
    assert_eq!(removed(&only(rig.ack(&routes))), [BAD]);
}

#[test]
fn routes_that_are_sent_in_halves_hold_a_cluster_until_the_last_half_is_accepted_whatever_changes_meanwhile() {
    let hosts = ["a.example.com", "b.example.com"];
    let mut rig = mk_with_hosts(&hosts.map(|host| (host, "s5")));
    let without = |update: Update, host| update.host(mk_host(&mk_table(8080), host, []));
    let both = only(rig.apply(hosts.into_iter().fold(Update::to(2).no_service("s5"), without)));
    assert_eq!((both.kind, added(&both).len()), (Kind::VirtualHost, 2));
    let mut s4 = mk_cluster("s4");
    s4.connect_timeout = std::time::Duration::from_secs(2);
    let other = only(rig.apply(Update::to(3).cluster(s4)));
    assert!(rig.ack(&other).is_empty());
    let first = only(rig.nack(&both, "bad"));
    let second = only(rig.ack(&first));
    assert_eq!((first.kind, second.kind), (Kind::VirtualHost, Kind::VirtualHost));
    assert!(rig.pass(std::time::Duration::from_millis(1)).is_empty(), "it still runs with an old route");
    assert_eq!(removed(&only(rig.ack(&second))), [BAD]);
}

#[test]
fn each_name_that_was_asked_for_is_answered_however_the_answer_is_rejected() {
    let mut rig = Rig::delta();
    rig.apply(mk_services(1, 6));
    let first = rig.subscribe(Kind::Endpoints, &["test/apps/s4/80", BAD, "test/apps/unknown/80"]);
    let responses = rig.settle_unless(first, is_bad);
    let mut told: Vec<_> = responses[1..].iter().flat_map(removed).collect();
    told.dedup();
    assert_eq!(told, ["test/apps/unknown/80"], "Envoy would wait for it");
    assert_eq!(held(&rig, Kind::Endpoints), [BAD]);
}

#[test]
fn a_list_of_which_all_is_rejected_is_followed_by_an_empty_one() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("s5", &[]));
    let first = only(rig.subscribe(Kind::Cluster, &[]));
    let second = only(rig.nack(&first, "bad"));
    assert!(second.resources.is_empty(), "a client starts up on the first list that it accepts");
    assert!(rig.ack(&second).is_empty());
    assert_eq!(held(&rig, Kind::Cluster), [BAD]);
}

/// Found by the model: seed 527770.
#[test]
fn what_went_back_to_what_a_client_has_is_not_repeated_if_the_list_of_the_other_half_said_it() {
    let mut rig = Rig::sotw();
    rig.apply(Update::to(1).service("s5", &[]));
    let first = rig.subscribe(Kind::Cluster, &[]);
    rig.settle(first);
    let mut changed = mk_cluster("s5");
    changed.connect_timeout *= 2;
    let both = only(rig.apply(Update::to(2).service("s1", &[]).cluster(changed)));
    rig.apply(Update::to(3).cluster(mk_cluster("s5")));
    let half = only(rig.nack(&both, "bad"));
    assert_eq!(added(&half), ["test/apps/s1/80", "test/apps/s5/80"]);
    assert!(rig.ack(&half).is_empty(), "the other half is what was there before");

    // Nobody has said so if there is no other half: a client may have taken in a part of what it rejected.
    let mut changed = mk_cluster("s5");
    changed.connect_timeout *= 2;
    let both = only(rig.apply(Update::to(4).service("s0", &[]).cluster(changed)));
    rig.apply(Update::to(5).no_service("s0").cluster(mk_cluster("s5")));
    let rest = only(rig.nack(&both, "bad"));
    assert_eq!(added(&rest), ["test/apps/s1/80", "test/apps/s5/80"]);
}

#[test]
fn what_is_held_back_ends_with_the_subscription() {
    let mut rig = Rig::delta();
    rig.apply(mk_services(1, 6));
    let first = rig.subscribe(Kind::Cluster, &["*"]);
    rig.settle_unless(first, is_bad);
    assert_eq!(held(&rig, Kind::Cluster), [BAD]);
    assert!(rig.unsubscribe(Kind::Cluster, &["*"]).is_empty());
    assert!(held(&rig, Kind::Cluster).is_empty());
    assert!(matches!(rig.events.last(), Some(Event::Healed { name, .. }) if &**name == BAD), "{:?}", rig.events);
}

#[test]
fn a_client_that_starts_anew_and_rejects_the_newest_is_given_what_another_accepted() {
    for mut rig in [Rig::delta(), Rig::sotw()] {
        rig.apply(Update::to(1).service("s5", &[]));
        let first = rig.subscribe(Kind::Cluster, &[]);
        let good = first[0].resources[0].version;
        rig.settle(first);
        rig.reconnect();
        let mut worse = mk_cluster("s5");
        worse.connect_timeout = std::time::Duration::from_secs(2);
        rig.apply_unseen(Update::to(2).cluster(worse));
        let newest = only(rig.subscribe(Kind::Cluster, &[]));
        assert_ne!(newest.resources[0].version, good);
        let older = only(rig.nack(&newest, "bad"));
        assert_eq!(older.resources[0].version, good);
        assert!(rig.ack(&older).is_empty());
        assert_eq!(held(&rig, Kind::Cluster), [BAD]);
        let mut mended = mk_cluster("s5");
        mended.connect_timeout = std::time::Duration::from_secs(3);
        let mended = only(rig.apply(Update::to(3).cluster(mended)));
        rig.ack(&mended);
        assert!(held(&rig, Kind::Cluster).is_empty());
    }
}

/// A correlation that is restarted says everything again.
#[test]
fn what_is_encoded_again_as_it_was_is_as_good_as_it_was() {
    let host = |to| [("a.example.com", to)];
    let mut rig = mk_with_hosts(&host("s4"));
    let is_host = |resource: &Resource| resource.kind == Kind::VirtualHost && !resource.name.ends_with("none");
    let version = |rig: &Rig| {
        let known = &rig.session.state(Kind::VirtualHost).known;
        known.values().find_map(|known| known.resource.clone().filter(|resource| is_host(resource))).unwrap().version
    };
    let good = version(&rig);
    assert!(rig.apply(mk_hosts(2, &host("s4"))).is_empty(), "nothing is new");
    rig.apply_unseen(mk_hosts(3, &host("s5")));
    rig.reconnect();
    let responses = rig.subscribe(Kind::RouteConfig, &[&mk_table(8080)]);
    rig.settle(responses);
    let first = rig.subscribe(Kind::VirtualHost, &[]);
    rig.settle_unless(first, |resource| is_host(resource) && resource.version != good);
    assert_eq!(version(&rig), good);
}

#[test]
fn state_of_the_world_keeps_the_good_version_of_what_is_held_back() {
    let mut rig = Rig::sotw();
    rig.apply(mk_services(1, 6));
    let first = rig.subscribe(Kind::Cluster, &[]);
    let good = first[0].resources.iter().find(|resource| is_bad(resource)).unwrap().version;
    rig.settle(first);
    let mut worse = mk_cluster("s5");
    worse.connect_timeout = std::time::Duration::from_secs(2);
    let responses = rig.apply(Update::to(2).cluster(worse).service("s6", &[]));
    let all = rig.settle_unless(responses, |resource| is_bad(resource) && resource.version != good);
    let last = all.last().unwrap();
    assert_eq!(last.resources.len(), 7, "nothing is deleted by absence");
    let version = |name: &str| last.resources.iter().find(|r| &*r.name == name).map(|r| r.version);
    assert_eq!(version(BAD), Some(good));
    assert_ne!(version("test/apps/s6/80"), None::<Version>);
}

#[test]
fn a_rejected_secret_is_tried_again_in_other_bytes_and_its_good_version_restored() {
    const CERT: &str = "test/apps/cert";
    let secret = |version, key| Update::to(version).secret(mk_secret("cert", "chain", key));
    let mut rig = Rig::delta();
    rig.apply(secret(1, "good").secret(mk_secret("other", "chain", "key")));
    let first = rig.subscribe(Kind::Secret, &[CERT, "test/apps/other"]);
    let good = first[0].resources.iter().find(|resource| &*resource.name == CERT).unwrap().clone();
    rig.settle(first);
    let both = only(rig.apply(secret(2, "bad").secret(mk_secret("other", "chain", "new"))));
    let bad = both.resources.iter().find(|resource| &*resource.name == CERT).unwrap().clone();
    let apart = only(rig.nack(&both, "bad"));
    assert_eq!(added(&apart), [CERT]);
    assert_eq!(apart.resources[0].version, bad.version);
    assert_ne!(apart.resources[0].body().flat(), bad.body().flat(), "Envoy would accept the same and ignore it");
    let restored = only(rig.nack(&apart, "bad"));
    assert_eq!(restored.resources[0].version, good.version);
    let rest = only(rig.ack(&restored));
    assert_eq!(added(&rest), ["test/apps/other"]);
    rig.ack(&rest);
    assert_eq!(held(&rig, Kind::Secret), [CERT]);
    let back = only(rig.apply(secret(3, "good")));
    assert_eq!(back.resources[0].version, good.version);
    rig.ack(&back);
    assert!(held(&rig, Kind::Secret).is_empty());
}

#[test]
fn a_secret_that_was_never_good_is_rejected_again_over_the_next_stream() {
    const CERT: &str = "test/apps/cert";
    for mut rig in [Rig::delta(), Rig::sotw()] {
        rig.apply(Update::to(1).secret(mk_secret("cert", "chain", "bad")));
        // As Envoy does it: bytes that it was sent last are not looked at again, and accepted.
        let mut last = None;
        for stream in 0..3 {
            let mut queue = rig.subscribe(Kind::Secret, &[CERT]);
            while let Some(response) = queue.pop() {
                let body = response.resources[0].body().flat();
                let looked = last.replace(body.clone()) != Some(body);
                queue = if looked { rig.nack(&response, "bad") } else { rig.ack(&response) };
            }
            assert_eq!(held(&rig, Kind::Secret), [CERT], "over stream {stream}");
            rig.reconnect();
        }
    }
}

/// Found by the model: seed 233618.
#[test]
fn endpoints_that_are_again_what_they_were_before_a_rejection_wait_for_their_cluster_as_any_others_do() {
    const A: &str = "test/apps/a/80";
    let mut rig = Rig::delta();
    rig.apply(Update::to(1).service("a", &[]));
    for (kind, names) in [(Kind::Cluster, &[][..]), (Kind::Endpoints, &[A])] {
        let responses = rig.subscribe(kind, names);
        rig.settle(responses);
    }
    let changed = mk_endpoints("a", &["10.0.0.1:80".parse().unwrap()]);
    let changed = only(rig.apply(Update::to(2).endpoints(changed)));
    let removal = only(rig.apply(Update::to(3).no_service("a")));
    assert_eq!(removal.kind, Kind::Cluster);
    assert!(rig.apply(Update::to(4).service("a", &[])).is_empty());
    assert!(rig.nack(&changed, "bad").is_empty(), "the client is about to give its cluster up");
    let back = rig.ack(&removal);
    assert_eq!(
        back.iter().map(|of| (of.kind, added(of))).collect::<Vec<_>>(),
        [(Kind::Cluster, vec![A]), (Kind::Endpoints, vec![A])]
    );
}
