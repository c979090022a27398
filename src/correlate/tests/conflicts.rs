//! One object, several sources: who counts, who takes over, and what that costs.

use super::*;

/// The hosts that are served.
fn hosts(rig: &Rig) -> Vec<String> {
    let hosts = rig.graph.list(rig.outputs.virtual_hosts).into_iter();
    hosts.filter(|(_, host)| host.routes.iter().next().is_some()).map(|(id, _)| id.domain.to_string()).collect()
}

fn problems(rig: &Rig) -> Vec<String> {
    rig.problems.list().iter().map(|(_, problem)| problem.to_string()).collect()
}

fn mk_world() -> Rig {
    let mut rig = rig();
    rig.set(&types::gateway_class(), &mk_class());
    rig.set(&types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 8080)])));
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig
}

fn mk_host(host: &str) -> Value {
    mk_route("r", Some(host), "/", ("app", "s"))
}

fn route_of(source: &str) -> ObjectKey {
    ObjectKey::namespaced(source, "app", "r")
}

#[test]
fn the_first_source_wins_both_are_told_and_the_second_takes_over_in_the_commit_in_which_the_first_goes() {
    let mut rig = mk_world();
    rig.set_in("alt", &types::http_route(), &mk_host("second.example.com"));
    rig.commit();
    assert_eq!(hosts(&rig), ["second.example.com"]);
    assert!(problems(&rig).is_empty());

    rig.set(&types::http_route(), &mk_host("first.example.com"));
    rig.commit();
    assert_eq!(hosts(&rig), ["first.example.com"]);
    let told = problems(&rig);
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("HTTPRoute src:app/r: defined in alt too"), "{told:?}");
    assert!(told[1].starts_with("HTTPRoute alt:app/r: set aside: defined in src too"), "{told:?}");

    rig.graph.feed(&types::http_route(), &route_of("src"), None);
    rig.commit();
    assert_eq!(hosts(&rig), ["second.example.com"]);
    assert!(problems(&rig).is_empty());
}

#[test]
fn the_second_gateway_takes_over_in_one_commit_with_its_routes() {
    let mut rig = mk_world();
    rig.set_in("alt", &types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 9090)])));
    rig.set_in("alt", &types::http_route(), &mk_host("a.example.com"));
    rig.commit();
    let ports =
        |rig: &Rig| -> Vec<u16> { rig.graph.list(rig.outputs.listeners).iter().map(|(id, _)| id.port).collect() };
    assert_eq!((ports(&rig), hosts(&rig)), (vec![8080], vec!["a.example.com".to_owned()]));
    rig.graph.feed(&types::gateway(), &ObjectKey::namespaced("src", "infra", "web"), None);
    rig.commit();
    assert_eq!((ports(&rig), hosts(&rig)), (vec![9090], vec!["a.example.com".to_owned()]));
}

/// A Gateway of a source that no other source has.
fn mk_own_gateway(source: &str, port: u16) -> Value {
    mk_gateway(&format!("of-{source}"), &json!([mk_listener("http", None, port)]))
}

#[test]
fn a_class_that_several_sources_define_is_no_conflict_and_each_is_accepted() {
    let mut rig = mk_world();
    rig.set_in("alt", &types::gateway_class(), &mk_class());
    rig.set_in("alt", &types::gateway(), &mk_own_gateway("alt", 9090));
    rig.commit();
    assert!(problems(&rig).is_empty(), "{:?}", problems(&rig));
    assert_eq!(rig.graph.list(rig.outputs.listeners).len(), 2);
    let statuses = rig.graph.list(rig.outputs.statuses);
    let of_class = statuses.iter().filter(|(of, _)| of.resource_type == types::gateway_class());
    let told: Vec<String> = of_class.map(|(of, told)| format!("{} {:?}", of.key.source, told.status)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|told| !told.contains("Conflicted") && told.contains("Accepted")), "{told:?}");
}

#[test]
fn a_gateway_takes_the_class_of_its_own_source_whatever_others_call_so() {
    let mut rig = mk_world();
    let foreign = json!({"metadata": {"name": "tidegate"}, "spec": {"controllerName": "example.com/other"}});
    rig.set_in("alt", &types::gateway_class(), &foreign);
    rig.set_in("alt", &types::gateway(), &mk_own_gateway("alt", 9090));
    rig.commit();
    let ports =
        |rig: &Rig| -> Vec<u16> { rig.graph.list(rig.outputs.listeners).iter().map(|(id, _)| id.port).collect() };
    assert_eq!(ports(&rig), [8080], "its own class is another controller's");

    rig.set(&types::gateway_class(), &foreign);
    rig.set_in("alt", &types::gateway_class(), &mk_class());
    rig.commit();
    assert_eq!(ports(&rig), [9090]);

    // Without one of its own, that of the other source will do.
    rig.graph.feed(&types::gateway_class(), &ObjectKey::cluster("src", "tidegate"), None);
    rig.commit();
    assert_eq!(ports(&rig), [8080, 9090]);
    assert!(problems(&rig).is_empty(), "{:?}", problems(&rig));
}

#[test]
fn an_object_that_was_never_readable_takes_no_good_one_down() {
    let mut rig = mk_world();
    rig.set(&types::http_route(), &json!({"metadata": mk_meta("app", "r"), "spec": {"rules": 7}}));
    rig.set_in("alt", &types::http_route(), &mk_host("good.example.com"));
    rig.commit();
    assert_eq!(hosts(&rig), ["good.example.com"]);
    assert_eq!(problems(&rig).len(), 1, "the broken one's own: {:?}", problems(&rig));
}

#[test]
fn namesakes_that_are_only_referred_to_answer_their_own_sources_and_are_no_conflict() {
    let mut rig = mk_world();
    rig.set_in("alt", &types::service(), &mk_service("app", "s", &[80]));
    rig.set(&types::reference_grant(), &mk_grant("shop"));
    rig.set_in("alt", &types::reference_grant(), &mk_grant("shop"));
    rig.set(&types::http_route(), &mk_host("first.example.com"));
    let mut second = mk_host("second.example.com");
    second["metadata"]["name"] = "q".into();
    rig.set_in("alt", &types::http_route(), &second);
    rig.commit();
    let sources: Vec<String> =
        rig.graph.list(rig.outputs.clusters).iter().map(|(id, _)| id.source.to_string()).collect();
    assert_eq!(sources, ["alt", "src"]);
    assert!(problems(&rig).is_empty());
}

#[test]
fn a_namesake_re_runs_its_own_name_and_nothing_else_however_many_routes_there_are() {
    let cost = |count: usize| {
        let mut rig = mk_world();
        for n in 0..count {
            rig.set(&types::http_route(), &Layout::CatchAll.route(n, &format!("/p{n}")));
        }
        rig.set(&types::http_route(), &mk_host("first.example.com"));
        rig.commit();
        rig.set_in("alt", &types::http_route(), &mk_host("second.example.com"));
        let comes = rig.commit();
        rig.graph.feed(&types::http_route(), &route_of("src"), None);
        (comes, rig.commit())
    };
    let (few, many) = (cost(10), cost(300));
    assert_eq!(few, many);
    assert!(few.0 <= 12 && few.1 <= 24, "{few:?}");
}
