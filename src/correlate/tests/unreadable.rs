//! Objects that cannot be read, and those whose last good version stays: what their conditions say.

use tidegate_actors::id::ObjectRef;

use super::*;

fn mk_world() -> Rig {
    let mut rig = rig();
    rig.set(&types::gateway_class(), &mk_class());
    rig.set(&types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 8080)])));
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig.set(&types::http_route(), &mk_route("r", None, "/", ("app", "s")));
    rig.commit();
    rig
}

fn status(rig: &Rig, resource_type: ResourceType, key: &ObjectKey) -> Value {
    let object = ObjectRef { resource_type, key: key.clone() };
    let status = rig.graph.get(rig.outputs.statuses, &object).map(|status| serde_json::to_value(&*status).unwrap());
    status.unwrap_or_default()["status"].take()
}

/// Status, reason, generation and message of `Accepted`.
fn accepted(conditions: &Value) -> (String, String, i64, String) {
    let accepted = conditions.as_array().unwrap().iter().find(|condition| condition["type"] == "Accepted").unwrap();
    let text = |field: &str| accepted[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), accepted["observedGeneration"].as_i64().unwrap(), text("message"))
}

fn broken_route(generation: i64) -> Value {
    let mut route = mk_route("r", None, "no-slash", ("app", "s"));
    route["metadata"]["generation"] = generation.into();
    route
}

#[test]
fn a_route_that_breaks_says_so_with_its_generation_while_its_last_good_version_stays() {
    let mut rig = mk_world();
    let key = ObjectKey::namespaced("src", "app", "r");
    rig.set(&types::http_route(), &broken_route(2));
    rig.commit();
    let told = status(&rig, types::http_route(), &key);
    let conditions = &told["parents"][0]["conditions"];
    let (truth, reason, generation, message) = accepted(conditions);
    assert_eq!((truth.as_str(), reason.as_str(), generation), ("False", "UnsupportedValue", 2));
    assert!(message.starts_with("the last good version, generation 1, stays in force;"), "{message}");
    assert!(message.contains("spec.rules[0].matches[0].path.value: must start with a slash"), "{message}");
    assert_eq!((&conditions[1]["type"], &conditions[1]["observedGeneration"]), (&json!("ResolvedRefs"), &json!(1)));
    assert_eq!(rig.graph.list(rig.outputs.clusters).len(), 1, "it is served");

    let mut mended = mk_route("r", None, "/mended", ("app", "s"));
    mended["metadata"]["generation"] = 3.into();
    rig.set(&types::http_route(), &mended);
    rig.commit();
    let told = status(&rig, types::http_route(), &key);
    assert_eq!(accepted(&told["parents"][0]["conditions"]).0, "True");
    assert!(rig.problems.list().is_empty());
}

#[test]
fn a_route_that_never_was_good_is_told_at_its_parents_and_nothing_of_it_is_served() {
    let mut rig = mk_world();
    let mut route = broken_route(5);
    route["metadata"]["name"] = "q".into();
    rig.set(&types::http_route(), &route);
    rig.commit();
    let key = ObjectKey::namespaced("src", "app", "q");
    let told = status(&rig, types::http_route(), &key);
    let (truth, _, generation, message) = accepted(&told["parents"][0]["conditions"]);
    assert_eq!((truth.as_str(), generation), ("False", 5));
    assert!(message.starts_with("it cannot be read: spec.rules[0]"), "{message}");
    assert_eq!(told["parents"][0]["parentRef"]["name"], "web");

    // Its Gateway goes, and with it whom to tell.
    rig.graph.feed(&types::gateway(), &ObjectKey::namespaced("src", "infra", "web"), None);
    rig.commit();
    assert_eq!(status(&rig, types::http_route(), &key), Value::Null);
}

#[test]
fn a_gateway_that_breaks_is_told_before_and_after_it_was_good() {
    let mut rig = mk_world();
    let mut broken = mk_gateway("web", &json!([mk_listener("http", None, 0)]));
    broken["metadata"]["generation"] = 2.into();
    rig.set(&types::gateway(), &broken);
    broken["metadata"]["name"] = "new".into();
    rig.set(&types::gateway(), &broken);
    broken["metadata"]["name"] = "foreign".into();
    broken["spec"]["gatewayClassName"] = "somebody-elses".into();
    rig.set(&types::gateway(), &broken);
    rig.commit();
    let of = |name: &str| status(&rig, types::gateway(), &ObjectKey::namespaced("src", "infra", name));
    let (truth, reason, generation, message) = accepted(&of("web")["conditions"]);
    assert_eq!((truth.as_str(), reason.as_str(), generation), ("False", "Invalid", 2));
    assert!(
        message.contains("generation 1, stays in force") && message.contains("spec.listeners[0].port"),
        "{message}"
    );
    assert_eq!(of("web")["conditions"][1]["status"], "True", "it is programmed still, as of generation 1");
    assert_eq!(of("web")["listeners"][0]["attachedRoutes"], 1);
    let (truth, reason, generation, _) = accepted(&of("new")["conditions"]);
    assert_eq!((truth.as_str(), reason.as_str(), generation), ("False", "Invalid", 2));
    assert_eq!(of("new")["conditions"][1]["status"], "False");
    assert_eq!(of("foreign"), Value::Null);
    assert_eq!(rig.graph.list(rig.outputs.listeners).len(), 1);
}

#[test]
fn a_class_that_breaks_says_so_and_goes_on() {
    let mut rig = mk_world();
    let broken = json!({"metadata": {"name": "tidegate", "generation": 2}, "spec": {"controllerName": 7}});
    rig.set(&types::gateway_class(), &broken);
    rig.commit();
    let told = status(&rig, types::gateway_class(), &ObjectKey::cluster("src", "tidegate"));
    let (truth, reason, generation, message) = accepted(&told["conditions"]);
    assert_eq!((truth.as_str(), reason.as_str(), generation), ("False", "Unsupported", 2));
    assert!(message.starts_with("the last good version stays in force;"), "{message}");
    assert_eq!(rig.graph.list(rig.outputs.listeners).len(), 1);
}

#[test]
fn a_broken_object_that_another_source_defines_too_is_told_both() {
    let mut rig = mk_world();
    rig.set_in("alt", &types::http_route(), &mk_route("r", None, "/", ("app", "s")));
    rig.commit();
    rig.set_in("alt", &types::http_route(), &broken_route(2));
    rig.commit();
    let told = status(&rig, types::http_route(), &ObjectKey::namespaced("alt", "app", "r"));
    let (truth, _, generation, message) = accepted(&told["parents"][0]["conditions"]);
    assert_eq!((truth.as_str(), generation), ("False", 2));
    assert!(message.contains("not accepted either (set aside: defined in src too"), "{message}");
    assert!(message.contains("must start with a slash"), "{message}");
}
