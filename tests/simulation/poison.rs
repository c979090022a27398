//! As many poisonous objects as good ones: all the good ones are served, and each bad one is named.
//!
//! `TIDEGATE_POISON=n` is how many there are of either.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::publish::xds::Kind as Xds;
use tidegate_actors::id::ObjectKey;
use tidegate_actors::source::Source as _;
use tidegate_actors::testing::{self, Keep, Trace, number};

use super::facts::{Facts, facts};
use super::objects::{ANCHOR_ROUTE, Kind};
use super::world::World;

/// The JSON after `metadata` of a route that cannot be served, in one of several ways; each is wrong in another layer.
fn poison(n: u64) -> String {
    let rules = |rule: &str| format!(r#""spec":{{"parentRefs":[{{"name":"public"}}],"rules":[{rule}]}}"#);
    match n % 7 {
        0 => r#""spec":7"#.to_owned(),
        1 => r#""spec":{"rules":{}}"#.to_owned(),
        2 => rules(r#"{"matches":[{"path":{"type":"RegularExpression","value":"(["}}]}"#),
        3 => rules(r#"{"matches":[{"path":{"type":"PathPrefix","value":"no-slash"}}]}"#),
        4 => rules(r#"{"matches":[{"path":{"type":"Sideways","value":"/"}}]}"#),
        5 => rules(r#"{"filters":[{"type":"URLRewrite"}]}"#),
        _ => r#""spec":{"parentRefs":[{"name":"public"}],"hostnames":["not a host"]}"#.to_owned(),
    }
}

fn good(n: u64) -> String {
    let (host, path) = (n % 100, n / 100);
    format!(
        r#""spec":{{"parentRefs":[{{"name":"public"}}],"hostnames":["h{host}.example.com"],"rules":[{{"matches":[{{"path":{{"type":"PathPrefix","value":"/{path}"}}}}],"backendRefs":[{{"name":"anchor","port":80}}]}}]}}"#
    )
}

#[test]
fn ten_thousand_poisonous_objects_harm_none_of_ten_thousand_good_ones() {
    let count = number("TIDEGATE_POISON").unwrap_or(10_000);
    let trace = Trace::new(Keep::Digest);
    testing::run(async {
        let mut world = World::new(1, &trace);
        let (routes, source) = (Kind::Route.resource_type(), world.sources[0].clone());
        for n in 0..count {
            source.apply(&routes, Some("apps"), &format!("good-{n}"), &good(n));
            source.apply(&routes, Some("apps"), &format!("bad-{n}"), &poison(n));
        }
        let begun = Instant::now();
        world.start().await;
        world.env.clock.sleep(Duration::from_secs(10)).await;
        let took = begun.elapsed();

        let mut served = BTreeSet::new();
        for of in world.app().xds.resources().iter().filter(|of| of.kind == Xds::VirtualHost) {
            let Facts::Hosts(hosts) = facts(of.kind, &of.body) else { continue };
            served.extend(hosts.into_iter().flat_map(|host| host.routes).map(|(route, _)| route));
        }
        assert!(served.contains(ANCHOR_ROUTE));
        let missing = (0..count).find(|n| !served.contains(&format!("apps/good-{n}/0/0")));
        assert_eq!(missing, None, "a good route is not served");

        // By a problem of its own, or by a condition that is bad news.
        let problems = world.app().problems.list();
        let mut named: BTreeSet<Arc<str>> =
            problems.iter().filter_map(|(_, problem)| Some((*problem.object.as_ref()?.key.name).into())).collect();
        for status in world.app().statuses.list() {
            let status: serde_json::Value = serde_json::from_str(status.get()).unwrap();
            let text = status["status"].to_string();
            let bad = text.contains(r#""status":"False""#) || text.contains(r#""type":"PartiallyInvalid""#);
            if let Some(name) = status["name"].as_str().filter(|_| bad) {
                named.insert(name.into());
            }
        }
        let silent = (0..count).find(|n| !named.contains(&*format!("bad-{n}")));
        assert_eq!(silent, None, "a bad route is not named");
        let wronged = (0..count).find(|n| named.contains(&*format!("good-{n}")));
        assert_eq!(wronged, None, "a good route is named");

        // Each heals by itself once it is mended.
        source.apply(&routes, Some("apps"), "bad-0", &good(1_000_000));
        world.env.clock.sleep(Duration::from_secs(1)).await;
        let key = ObjectKey::namespaced(source.name(), "apps", "bad-0");
        let problems = world.app().problems.list();
        let still = problems.iter().find(|(_, problem)| problem.object.as_ref().is_some_and(|of| of.key == key));
        assert!(still.is_none(), "{still:?}");
        println!("poison: {count} good and {count} bad objects in {:.1} s", took.as_secs_f64());
        world.end().await;
    });
}
