//! What a client rejects is found, held back for it alone, and tried again when it changes.

use super::rig::{Rig, added, kinds, only};
use crate::publish::xds::kind::Kind;
use crate::publish::xds::resource::Resource;
use crate::publish::xds::rope::Version;
use crate::publish::xds::session::Event;
use crate::publish::xds::testing::*;

const BAD: &str = "test/apps/s5/80";

fn mk_services(version: u64, count: usize) -> Update {
    (0..count).fold(Update::to(version), |update, n| update.service(&format!("s{n}"), &[]))
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
