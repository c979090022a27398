//! Traffic goes first: what objects are told waits for the proxies that are connected, and not for ever.

use std::time::Duration;

use tidegate::publish::traffic::LIMIT;
use tidegate_actors::id::{ObjectKey, ObjectRef};
use tidegate_actors::source::Source as _;
use tidegate_actors::testing::{self, Keep, Trace};

use super::objects::{Kind, ROUTES, Say};
use super::proxy::Mood;
use super::steps::Step;
use super::world::World;

/// A route by the Gateway that is there from the start, to what is there from the start.
const TO_THE_ANCHOR: u64 = 50;

/// Whether a new route is told anything, soon after it was published and once nobody has to be waited for any more.
fn told(mood: Mood) -> [bool; 2] {
    let trace = Trace::new(Keep::Digest);
    testing::run(async {
        let mut world = World::new(1, &trace);
        world.start().await;
        world.env.clock.sleep(Duration::from_secs(10)).await;
        world.take(&Step::Proxy(0, mood)).await;
        // What it waits for already it takes in whatever mood.
        ROUTES[1].put(&world.sources[0], Say::Good(TO_THE_ANCHOR));
        world.env.clock.sleep(Duration::from_secs(1)).await;
        let key = ObjectKey::namespaced(world.sources[0].name(), "apps", "r1");
        let route = ObjectRef { resource_type: Kind::Route.resource_type(), key };
        let (app, before) = (world.app(), world.app().xds.version());
        assert!(app.statuses.get(&route).is_none());
        ROUTES[0].put(&world.sources[0], Say::Good(TO_THE_ANCHOR));
        world.env.clock.sleep(LIMIT / 2).await;
        assert!(app.xds.version() > before, "it is published");
        let soon = app.statuses.get(&route).is_some();
        world.env.clock.sleep(LIMIT).await;
        let told = [soon, app.statuses.get(&route).is_some()];
        world.end().await;
        told
    })
}

#[test]
fn a_route_is_told_its_conditions_once_proxies_have_it_and_one_that_is_stalled_is_waited_for_only_for_a_while() {
    assert_eq!(told(Mood::Prompt), [true, true]);
    assert_eq!(told(Mood::Stalled), [false, true]);
    assert_eq!(told(Mood::Away), [true, true], "who is not connected is not waited for");
}
