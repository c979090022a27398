//! More routes than a Gateway may have.

use tidegate_actors::id::ObjectRef;

use super::*;

fn mk_limited(max_routes: usize) -> Rig {
    let mut rig = rig_with(Settings { max_routes, ..Settings::default() });
    rig.set(&types::gateway_class(), &mk_class());
    for (name, port) in [("web", 8080), ("second", 8081)] {
        rig.set(&types::gateway(), &mk_gateway(name, &json!([mk_listener("http", None, port)])));
    }
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig
}

fn set(rig: &mut Rig, name: &str, host: &str, day: u8, gateways: &[&str]) {
    let mut route = mk_route(name, Some(host), &format!("/{name}"), ("app", "s"));
    route["metadata"]["creationTimestamp"] = format!("2026-01-{day:02}T00:00:00Z").into();
    let parents = gateways.iter().map(|name| json!({"name": name, "namespace": "infra"}));
    route["spec"]["parentRefs"] = parents.collect();
    rig.set(&types::http_route(), &route);
}

/// By virtual host's Gateway and domain: the routes in it.
fn served(rig: &Rig) -> Vec<String> {
    let hosts = rig.graph.list(rig.outputs.virtual_hosts);
    let named = hosts.iter().filter(|(id, _)| &*id.domain != "*");
    let mut all: Vec<String> = named
        .flat_map(|(id, host)| {
            let prefix = format!("{} {}", host.gateway.name, id.domain);
            host.routes.iter().map(move |(_, route)| format!("{prefix} {}", route.origin.key.name)).collect::<Vec<_>>()
        })
        .collect();
    all.sort();
    all
}

/// What a route is told, by parent: the status and reason of `Accepted`.
fn told(rig: &Rig, name: &str) -> Vec<(String, String)> {
    let object = ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced("src", "app", name) };
    let status = serde_json::to_value(&*rig.graph.get(rig.outputs.statuses, &object).unwrap()).unwrap();
    let parents = status["status"]["parents"].as_array().unwrap().iter();
    let accepted = parents.map(|parent| {
        let condition = &parent["conditions"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&parent["parentRef"]["name"]), format!("{} {}", text(&condition["status"]), text(&condition["reason"])))
    });
    accepted.collect()
}

#[test]
fn the_newest_routes_have_no_room_and_all_others_are_served_as_before() {
    let mut rig = mk_limited(2);
    set(&mut rig, "old", "a.test", 1, &["web"]);
    set(&mut rig, "middle", "b.test", 2, &["web", "second"]);
    rig.commit();
    let before = served(&rig);
    set(&mut rig, "new", "b.test", 3, &["web", "second"]);
    rig.commit();
    let mut with_one_more = before.clone();
    with_one_more.push("second b.test new".to_owned());
    with_one_more.sort();
    assert_eq!(served(&rig), with_one_more);
    let accepted = |name: &str| (name.to_owned(), "True Accepted".to_owned());
    assert_eq!(told(&rig, "new"), [("web".to_owned(), "False TooManyRoutes".to_owned()), accepted("second")]);
    assert_eq!(told(&rig, "middle"), [accepted("web"), accepted("second")]);
    let problems: Vec<String> = rig.problems.list().iter().map(|(_, problem)| problem.to_string()).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("app/new") && problems[0].contains("limits.routes_per_gateway"), "{problems:?}");
}

#[test]
fn a_route_that_goes_gives_its_room_to_the_next() {
    let mut rig = mk_limited(1);
    set(&mut rig, "old", "a.test", 1, &["web"]);
    set(&mut rig, "new", "b.test", 2, &["web"]);
    rig.commit();
    assert_eq!(served(&rig), ["web a.test old"]);
    rig.remove(&types::http_route(), "app", "old");
    rig.commit();
    assert_eq!(served(&rig), ["web b.test new"]);
    assert_eq!(told(&rig, "new"), [("web".to_owned(), "True Accepted".to_owned())]);
    assert_eq!(rig.problems.list().len(), 0);
}
