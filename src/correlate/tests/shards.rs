//! Several shards of one controller: each serves and tells what is its own, and nothing else.

use tidegate_actors::id::ObjectRef;

use super::*;
use crate::correlate::{Answers, Shard};

fn mk_shard(classes: &[&str], selector: &str) -> Rig {
    let classes = classes.iter().map(|class| (*class).into()).collect();
    let shard = Shard { classes, selector: selector.parse().unwrap() };
    rig_with(Settings { shard, ..Settings::default() })
}

fn mk_labelled(name: &str, port: u16, class: &str, label: Option<&str>) -> Value {
    let mut gateway = mk_gateway(name, &json!([mk_listener("http", None, port)]));
    gateway["spec"]["gatewayClassName"] = class.into();
    if let Some(label) = label {
        gateway["metadata"]["labels"] = json!({"shard": label, "other": "x"});
    }
    gateway
}

/// The same world for all: the Gateways `web` and `second`, and a route at both.
fn fill(rig: &mut Rig, gateways: [Value; 2]) {
    rig.set(&types::gateway_class(), &mk_class());
    let other = json!({"metadata": {"name": "other"}, "spec": {"controllerName": super::super::settings::CONTROLLER}});
    rig.set(&types::gateway_class(), &other);
    gateways.iter().for_each(|gateway| rig.set(&types::gateway(), gateway));
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig.set(&types::http_route(), &mk_both("r"));
    rig.commit();
}

fn mk_both(name: &str) -> Value {
    let mut route = mk_route(name, None, "/", ("app", "s"));
    let parent = |name: &str| json!({"name": name, "namespace": "infra"});
    route["spec"]["parentRefs"] = json!([parent("web"), parent("second")]);
    route
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::namespaced("src", "infra", name)
}

/// Objects that are told something, as kind and name.
fn told(rig: &Rig) -> Vec<String> {
    let statuses = rig.graph.list(rig.outputs.statuses);
    statuses.iter().map(|(object, _)| format!("{} {}", object.resource_type.kind(), object.key.name)).collect()
}

/// The names of the parents at which the route is told something.
fn parents(rig: &Rig) -> Vec<String> {
    let object = ObjectRef { resource_type: types::http_route(), key: ObjectKey::namespaced("src", "app", "r") };
    let status = rig.graph.get(rig.outputs.statuses, &object).map(|status| serde_json::to_value(&*status).unwrap());
    let parents = status.map(|status| status["status"]["parents"].as_array().unwrap().clone()).unwrap_or_default();
    parents.iter().map(|parent| parent["parentRef"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The Gateways that are served.
fn served(rig: &Rig) -> Vec<String> {
    let hosts = rig.graph.list(rig.outputs.virtual_hosts);
    let mut names: Vec<String> = hosts.iter().map(|(_, host)| host.gateway.name.to_string()).collect();
    names.sort();
    names
}

fn answers(rig: &Rig, name: &str) -> Option<Answers> {
    rig.graph.get(rig.outputs.answers, &key(name)).map(|answers| *answers)
}

#[test]
fn shards_by_label_serve_and_tell_each_its_own() {
    let gateways = [mk_labelled("web", 8080, "tidegate", Some("a")), mk_labelled("second", 8081, "tidegate", None)];
    for (selector, own, other) in [("shard=a", "web", "second"), ("!shard", "second", "web")] {
        let mut rig = mk_shard(&[], selector);
        fill(&mut rig, gateways.clone());
        assert_eq!(served(&rig), [own], "{selector}");
        let gateway = format!("Gateway {own}");
        let all = ["GatewayClass other", "GatewayClass tidegate", &gateway, "HTTPRoute r"];
        let mut told = told(&rig);
        told.sort_unstable();
        assert_eq!(told, {
            let mut all = all.map(str::to_owned);
            all.sort_unstable();
            all
        });
        assert_eq!(parents(&rig), [own], "{selector}");
        assert_eq!((answers(&rig, own), answers(&rig, other)), (Some(Answers::Here), Some(Answers::Elsewhere)));
    }
}

#[test]
fn shards_by_class_leave_another_shards_class_alone_too() {
    let mut rig = mk_shard(&["other"], "");
    fill(&mut rig, [mk_labelled("web", 8080, "tidegate", None), mk_labelled("second", 8081, "other", None)]);
    assert_eq!(served(&rig), ["second"]);
    assert_eq!(told(&rig).len(), 3, "{:?}", told(&rig));
    assert!(!told(&rig).contains(&"GatewayClass tidegate".to_owned()));
    assert_eq!(parents(&rig), ["second"]);
    // Who has both has all.
    let mut rig = mk_shard(&["other", "tidegate"], "");
    fill(&mut rig, [mk_labelled("web", 8080, "tidegate", None), mk_labelled("second", 8081, "other", None)]);
    assert_eq!(served(&rig), ["second", "web"]);
    // Both must agree.
    let mut rig = mk_shard(&["tidegate"], "shard=b");
    fill(&mut rig, [mk_labelled("web", 8080, "tidegate", Some("a")), mk_labelled("second", 8081, "other", Some("b"))]);
    assert_eq!(served(&rig), [""; 0]);
}

#[test]
fn a_gateway_that_gets_another_label_changes_hands() {
    let gateways =
        [mk_labelled("web", 8080, "tidegate", Some("a")), mk_labelled("second", 8081, "tidegate", Some("b"))];
    let mut rig = mk_shard(&[], "shard=a");
    fill(&mut rig, gateways);
    rig.set(&types::gateway(), &mk_labelled("second", 8081, "tidegate", Some("a")));
    rig.set(&types::gateway(), &mk_labelled("web", 8080, "tidegate", Some("b")));
    rig.commit();
    assert_eq!((served(&rig), parents(&rig)), (vec!["second".to_owned()], vec!["second".to_owned()]));
    assert_eq!((answers(&rig, "web"), answers(&rig, "second")), (Some(Answers::Elsewhere), Some(Answers::Here)));
    rig.remove(&types::gateway(), "infra", "web");
    rig.commit();
    assert_eq!(answers(&rig, "web"), None);
}

#[test]
fn what_cannot_be_read_is_told_by_its_own_shard_alone() {
    for (selector, wanted) in [("shard=a", true), ("shard=b", false)] {
        let mut rig = mk_shard(&[], selector);
        rig.set(&types::gateway_class(), &mk_class());
        rig.set(&types::gateway(), &mk_labelled("web", 0, "tidegate", Some("a")));
        rig.commit();
        assert_eq!(told(&rig).contains(&"Gateway web".to_owned()), wanted, "{selector}");
        let who = if wanted { Answers::Here } else { Answers::Elsewhere };
        assert_eq!(answers(&rig, "web"), Some(who), "{selector}");
    }
}

#[test]
fn gateways_of_somebody_elses_class_are_nobodys_shard() {
    let mut rig = mk_shard(&[], "shard=a");
    let gateways = [mk_labelled("web", 8080, "theirs", Some("a")), mk_labelled("second", 8081, "theirs", Some("b"))];
    fill(&mut rig, gateways);
    assert_eq!((answers(&rig, "web"), answers(&rig, "second")), (None, None));
    assert_eq!((served(&rig), parents(&rig)), (Vec::new(), Vec::new()));
}
