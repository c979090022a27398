//! Types that come and go: what waits for them hears of it, what follows them goes on, and what matches a pattern is
//! watched.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::source::kubernetes::{Options, Registrar};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::informer::{Informer, InformerFactory, RegisterOptions};
use tidegate_actors::queue::Phase;
use tidegate_actors::supervisor::{State, Strategy, Supervisor};
use tokio::time::Instant;

use crate::rig::{PATIENCE, Rig, grants, things};
use crate::server::{event, status, thing};

const DEFINITIONS: &str = "customresourcedefinitions";

/// What a type's coming or going may take. Who only looks now and then takes at least 7.5 s.
const PROMPT: Duration = Duration::from_secs(2);

pub fn mk_definition(plural: &str, kind: &str, versions: &[&str]) -> String {
    let versions: Vec<_> = versions.iter().map(|name| json!({"name": name, "served": true, "storage": true})).collect();
    let definition = json!({
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com"), "uid": format!("u-{plural}"), "resourceVersion": "9"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
                 "names": {"kind": kind, "plural": plural}},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    });
    definition.to_string()
}

fn mk_type(plural: &str, kind: &str, version: &str) -> ResourceType {
    ResourceType::new("example.com", version, kind, plural, Scope::Namespaced)
}

struct Service {
    rig: Rig,
    factory: InformerFactory,
    supervisor: Supervisor,
}

/// The engine and the child that follows types; patterns are groups' ends.
async fn mk_service(
    discover: Option<(usize, &'static str)>,
    definitions: Result<Vec<String>, u16>,
    change: impl FnOnce(&mut Options),
) -> Service {
    let rig = Rig::with(|options| {
        options.streaming_lists = false;
        change(options);
    })
    .await;
    match definitions {
        Ok(definitions) => rig.server.set(DEFINITIONS, Some(definitions)),
        Err(code) => {
            let refused = status(code, "Refused", "definitions are not for you");
            rig.server.answer_to("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", code, refused);
        }
    }
    rig.server.set("apiservices", Some(Vec::new()));
    let env = Env::system();
    let supervisor = Supervisor::start("kubernetes-types", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env, supervisor.clone(), rig.problems.clone());
    factory.add_source(Arc::new(rig.source.clone())).unwrap();
    factory.start().await.unwrap();
    let registrar = discover.map(|(limit, group)| Registrar::new(&factory, limit, move |of| of.group() == group));
    supervisor.add(rig.source.discovery(registrar)).await.unwrap();
    Service { rig, factory, supervisor }
}

impl Service {
    async fn register(&self, of: ResourceType) -> Informer {
        self.factory.register("c", of, RegisterOptions::default()).await.unwrap()
    }

    /// The types that are watched.
    fn watched(&self) -> Vec<String> {
        self.factory.informers().iter().map(|informer| informer.resource_type().to_string()).collect()
    }

    async fn tell(&self, kind: &str, definition: &str) {
        self.rig.server.tell(DEFINITIONS, &event(kind, definition)).await;
    }

    /// The child's state and why.
    fn child(&self) -> (State, String) {
        let tree = self.supervisor.tree();
        let child = tree.children.iter().find(|child| child.name == "types-c").unwrap();
        (child.state, child.reason.clone().or(child.last_error.clone()).unwrap_or_default())
    }

    async fn end(self) {
        self.supervisor.shutdown(Duration::from_secs(5)).await;
    }
}

async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn names(informer: &Informer) -> Vec<String> {
    informer.lister().list().iter().map(|object| object.key().name.to_string()).collect()
}

fn is_absent(informer: &Informer) -> bool {
    matches!(informer.status().sync.phase, Phase::Absent(_))
}

#[tokio::test]
async fn who_waits_for_a_type_hears_of_its_definition_also_if_it_is_told_before_it_is_served() {
    let service = mk_service(None, Ok(Vec::new()), |_| {}).await;
    let informer = service.register(things()).await;
    until("absent", PATIENCE, || is_absent(&informer)).await;
    let asked = || service.rig.server.asked().iter().filter(|asked| asked.contains("/v1/things?")).count();
    let before = asked();
    service.tell("ADDED", &mk_definition("things", "Thing", &["v1"])).await;
    // The API server may be a moment behind its own word.
    until("it is asked for too early", PATIENCE, || asked() > before).await;
    service.rig.server.set("things", Some(vec![thing("a", "3")]));
    until("the objects of the type that came", PROMPT, || names(&informer) == ["a"]).await;
    assert_eq!(informer.status().sync.phase, Phase::Synced);
    service.end().await;
}

#[tokio::test]
async fn a_type_whose_definition_is_deleted_is_absent_promptly_and_after_its_last_deletes() {
    let definition = mk_definition("things", "Thing", &["v1"]);
    let service = mk_service(None, Ok(vec![definition.clone()]), |_| {}).await;
    service.rig.server.set("things", Some(vec![thing("a", "3"), thing("b", "4")]));
    let informer = service.register(things()).await;
    service.rig.server.tell("things", &event("ADDED", &thing("b2", "8"))).await;
    until("it is watched", PATIENCE, || names(&informer) == ["a", "b", "b2"]).await;
    service.rig.server.set("things", None);
    service.tell("DELETED", &definition).await;
    service.rig.server.tell("things", &event("DELETED", &thing("a", "12"))).await;
    until("absent", PROMPT, || is_absent(&informer)).await;
    assert_eq!(
        names(&informer),
        ["b", "b2"],
        "the delete that was on its way was heard; absence alone deletes nothing"
    );
    // And back again.
    service.rig.server.set("things", Some(vec![thing("c", "20")]));
    service.tell("ADDED", &definition).await;
    until("the type is back", PROMPT, || names(&informer) == ["c"]).await;
    service.end().await;
}

#[tokio::test]
async fn a_type_that_is_served_in_another_version_is_read_in_it_and_its_store_is_never_empty() {
    let service = mk_service(None, Ok(vec![mk_definition("grants", "Grant", &["v1"])]), |_| {}).await;
    service.rig.server.set("grants", Some(vec![thing("a", "3")]));
    let informer = service.register(grants()).await;
    until("synced", PATIENCE, || names(&informer) == ["a"]).await;
    service.rig.server.answer_to("/apis/example.com/v1/grants", 404, "404 page not found");
    service.rig.server.set("grants", Some(vec![thing("a", "3"), thing("b", "11")]));
    // The old watch stays open: that the version is another is heard from the definition alone.
    service.tell("MODIFIED", &mk_definition("grants", "Grant", &["v2"])).await;
    until("the new version", PROMPT, || {
        assert!(names(&informer).contains(&"a".to_owned()), "the store was emptied");
        names(&informer).len() == 2
    })
    .await;
    let asked = service.rig.server.asked();
    assert!(asked.iter().any(|asked| asked.starts_with("/apis/example.com/v2/grants?limit")), "{asked:?}");
    assert_eq!(informer.status().sync.phase, Phase::Synced);
    service.end().await;
}

#[tokio::test]
async fn a_version_that_nobody_asked_for_is_not_read_and_the_type_is_absent_with_the_versions_named() {
    let service = mk_service(None, Ok(vec![mk_definition("things", "Thing", &["v1"])]), |_| {}).await;
    service.rig.server.set("things", Some(vec![thing("a", "3")]));
    let informer = service.register(things()).await;
    service.rig.server.tell("things", &event("ADDED", &thing("b", "8"))).await;
    until("it is watched", PATIENCE, || names(&informer) == ["a", "b"]).await;
    service.rig.server.set("things", None);
    service.tell("MODIFIED", &mk_definition("things", "Thing", &["v3", "v2"])).await;
    until("absent", PROMPT, || is_absent(&informer)).await;
    let Phase::Absent(reason) = informer.status().sync.phase else { panic!("it is absent") };
    assert!(reason.contains("the API server has it as v3, v2"), "{reason}");
    service.end().await;
}

#[tokio::test]
async fn types_that_match_a_pattern_are_watched_as_they_come_and_until_they_go() {
    let service = mk_service(Some((8, "example.com")), Ok(vec![mk_definition("things", "Thing", &["v1"])]), |_| {});
    let service = service.await;
    for plural in ["things", "widgets", "gadgets"] {
        service.rig.server.set(plural, Some(vec![thing("a", "3")]));
    }
    until("the type that was there", PROMPT, || service.watched() == ["things.example.com/v1"]).await;
    let elsewhere = mk_definition("gizmos", "Gizmo", &["v1"]).replace("example.com", "elsewhere.org");
    service.tell("ADDED", &elsewhere).await;
    service.tell("ADDED", &mk_definition("widgets", "Widget", &["v1beta1", "v2"])).await;
    let both = ["things.example.com/v1", "widgets.example.com/v2"];
    until("the type that came, and in its preferred version", PROMPT, || service.watched() == both).await;
    let widgets = service.factory.get("c", &mk_type("widgets", "Widget", "v2")).unwrap();
    until("its objects", PROMPT, || names(&widgets) == ["a"]).await;
    assert!(widgets.is_optional(), "nobody waits for it");
    // Somebody who asked for it by name loses interest, and it is watched all the same.
    service.register(things()).await;
    service.factory.unregister("c", &things()).await.unwrap();
    until("it is watched again", PROMPT, || service.watched() == both).await;
    // Somebody asks for one of them by name, so that it stays when it goes.
    let things = service.register(things()).await;
    for (plural, kind) in [("widgets", "Widget"), ("things", "Thing")] {
        service.rig.server.set(plural, None);
        service.tell("DELETED", &mk_definition(plural, kind, &["v1"])).await;
    }
    until("the type went", PROMPT, || service.watched() == ["things.example.com/v1"]).await;
    until("absent", PROMPT, || is_absent(&things)).await;
    service.end().await;
}

#[tokio::test]
async fn a_discovered_type_goes_on_in_another_version_without_an_empty_store() {
    let definition = mk_definition("widgets", "Widget", &["v1"]);
    let service = mk_service(Some((8, "example.com")), Ok(vec![definition]), |_| {}).await;
    service.rig.server.set("widgets", Some(vec![thing("a", "3")]));
    until("watched", PROMPT, || service.watched() == ["widgets.example.com/v1"]).await;
    let widgets = service.factory.get("c", &mk_type("widgets", "Widget", "v1")).unwrap();
    until("synced", PROMPT, || names(&widgets) == ["a"]).await;
    service.rig.server.answer_to("/apis/example.com/v1/widgets", 404, "404 page not found");
    service.rig.server.set("widgets", Some(vec![thing("a", "3"), thing("b", "11")]));
    service.tell("MODIFIED", &mk_definition("widgets", "Widget", &["v2"])).await;
    until("the new version", PROMPT, || {
        assert!(names(&widgets).contains(&"a".to_owned()), "the store was emptied");
        names(&widgets).len() == 2
    })
    .await;
    assert_eq!(service.watched(), ["widgets.example.com/v1"], "it is the same type");
    service.end().await;
}

#[tokio::test]
async fn no_more_types_are_watched_than_the_limit_allows_and_the_others_are_named() {
    let all = ["gadgets", "things", "widgets"];
    let definitions = all.map(|plural| mk_definition(plural, "Kind", &["v1"]));
    let service = mk_service(Some((2, "example.com")), Ok(definitions.to_vec()), |_| {}).await;
    all.iter().for_each(|plural| service.rig.server.set(plural, Some(Vec::new())));
    until("the problem", PROMPT, || !service.rig.problems().is_empty()).await;
    assert_eq!(service.watched(), ["gadgets.example.com/v1", "things.example.com/v1"]);
    let problems = service.rig.problems();
    assert!(problems[0].contains("widgets.example.com") && problems[0].contains("limits.watches"), "{problems:?}");
    service.tell("DELETED", &definitions[0]).await;
    let rest = ["things.example.com/v1", "widgets.example.com/v1"];
    until("there is room for it", PROMPT, || service.watched() == rest).await;
    until("the problem is gone", PROMPT, || service.rig.problems().is_empty()).await;
    service.end().await;
}

/// All groups in one answer.
fn groups(versions: &[(&str, &str, &[&str])]) -> String {
    let version = |(version, freshness, plurals): &(&str, &str, &[&str])| {
        let resource = |plural: &&str| {
            let kind = json!({"group": "example.com", "version": version, "kind": "Thing"});
            json!({"resource": plural, "responseKind": kind, "scope": "Namespaced", "verbs": ["get", "list", "watch"]})
        };
        let resources: Vec<_> = plurals.iter().map(resource).collect();
        json!({"version": version, "freshness": freshness, "resources": resources})
    };
    let versions: Vec<_> = versions.iter().map(version).collect();
    let items = json!([{"metadata": {"name": "example.com"}, "versions": versions}]);
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}).to_string()
}

#[tokio::test]
async fn without_the_permission_for_definitions_the_rule_is_named_and_groups_tell_what_comes_and_goes() {
    let service = mk_service(Some((8, "example.com")), Err(403), |options| {
        options.groups_interval_unheard = Duration::from_millis(200);
    });
    let service = service.await;
    service.rig.server.answer_to("/apis", 200, groups(&[]));
    service.rig.server.set("things", Some(vec![thing("a", "3")]));
    service.rig.server.set("grants", None);
    let grants = service.register(grants()).await;
    until("degraded", PROMPT, || service.child().0 == State::Degraded).await;
    let reason = service.child().1;
    let rule =
        r#"{apiGroups: ["apiextensions.k8s.io"], resources: ["customresourcedefinitions"], verbs: ["list", "watch"]}"#;
    assert!(reason.contains(rule), "{reason}");
    until("absent", PATIENCE, || is_absent(&grants)).await;
    service.rig.server.set("grants", Some(vec![thing("g", "3")]));
    service.rig.server.answer_to("/apis", 200, groups(&[("v1", "Current", &["things", "grants"])]));
    until("the type that was waited for", PROMPT, || names(&grants) == ["g"]).await;
    let both = ["grants.example.com/v1", "things.example.com/v1"];
    until("the type that matches", PROMPT, || service.watched() == both).await;
    // A group whose server is away is no news; one that is not there is.
    let asked = || service.rig.server.asked().iter().filter(|asked| *asked == "/apis").count();
    service.rig.server.answer_to("/apis", 200, groups(&[("v1", "Stale", &[])]));
    let before = asked();
    until("asked again", PATIENCE, || asked() > before + 3).await;
    assert_eq!(service.watched(), both);
    service.rig.server.answer_to("/apis", 200, groups(&[]));
    until("the type that went", PROMPT, || service.watched() == ["grants.example.com/v1"]).await;
    service.end().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_of_types_is_no_trouble() {
    let service = mk_service(Some((8, "example.com")), Err(404), |_| {}).await;
    service.rig.server.set("things", Some(vec![thing("a", "3")]));
    let informer = service.register(things()).await;
    until("synced", PATIENCE, || names(&informer) == ["a"]).await;
    assert_eq!(service.child().0, State::Running);
    assert_eq!(service.rig.problems(), Vec::<String>::new());
    service.end().await;
}

#[tokio::test]
async fn a_server_that_tells_groups_one_by_one_is_asked_so() {
    let service = mk_service(Some((8, "example.com")), Err(403), |options| {
        options.groups_interval_unheard = Duration::from_millis(200);
    });
    let service = service.await;
    let version = |name: &str| json!({"groupVersion": format!("example.com/{name}"), "version": name});
    let group = json!({"name": "example.com", "versions": [version("v1beta1"), version("v1")],
        "preferredVersion": version("v1")});
    service.rig.server.answer_to("/apis", 200, json!({"kind": "APIGroupList", "groups": [group]}).to_string());
    let resources = |plurals: &[&str]| {
        let verbs = json!(["get", "list", "watch"]);
        let resource = |name: &&str| json!({"name": name, "namespaced": true, "kind": "Thing", "verbs": verbs});
        let mut resources: Vec<_> = plurals.iter().map(resource).collect();
        resources.push(json!({"name": "things/status", "namespaced": true, "kind": "Thing", "verbs": ["get"]}));
        resources.push(json!({"name": "reviews", "namespaced": false, "kind": "Review", "verbs": ["create"]}));
        json!({"kind": "APIResourceList", "resources": resources}).to_string()
    };
    service.rig.server.answer_to("/apis/example.com/v1", 200, resources(&["things"]));
    service.rig.server.answer_to("/apis/example.com/v1beta1", 200, resources(&["things", "gadgets"]));
    service.rig.server.set("things", Some(vec![thing("a", "3")]));
    service.rig.server.set("gadgets", Some(Vec::new()));
    let both = ["things.example.com/v1", "gadgets.example.com/v1beta1"];
    until("what can be watched is, in the preferred version", PATIENCE, || service.watched() == both).await;
    // A version whose server is away is no news; one that is served no more is.
    let asked = || service.rig.server.asked().iter().filter(|asked| *asked == "/apis/example.com/v1beta1").count();
    service.rig.server.answer_to("/apis/example.com/v1beta1", 503, "away");
    let before = asked();
    until("asked again", PATIENCE, || asked() > before + 2).await;
    assert_eq!(service.watched(), both);
    service.rig.server.answer_to("/apis/example.com/v1beta1", 200, resources(&[]));
    until("the type that went", PATIENCE, || service.watched() == ["things.example.com/v1"]).await;
    service.end().await;
}

#[tokio::test]
async fn with_a_type_that_nobody_watches_any_more_goes_what_was_wrong_with_its_objects() {
    let service = mk_service(None, Ok(vec![mk_definition("things", "Thing", &["v1"])]), |_| {}).await;
    let broken = r#"{"metadata":{"name":"b","namespace":"demo","resourceVersion":"4","labels":{"a":1}}}"#;
    service.rig.server.set("things", Some(vec![thing("a", "3"), broken.to_owned()]));
    service.rig.server.set("grants", Some(vec![broken.to_owned()]));
    let informer = service.register(things()).await;
    service.register(grants()).await;
    until("synced", PATIENCE, || names(&informer) == ["a"] && service.rig.problems().len() == 2).await;
    service.factory.unregister("c", &things()).await.unwrap();
    let problems = service.rig.problems();
    assert!(problems.len() == 1 && problems[0].contains("Grant c:demo/b"), "{problems:?}");
    service.end().await;
}
