//! Lists, pages and versions.

use serde_json::{Value, json};
use tidegate_apiserver::ApiServer;

use crate::rig::{get, labelled, mk_config_map, mk_crd, mk_widget, names, plain, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn fill(server: &ApiServer, count: usize) {
    for at in 0..count {
        server.put(&mk_config_map(&format!("m{at}"), "1")).unwrap();
    }
}

fn token(list: &Value) -> &str {
    list["metadata"]["continue"].as_str().unwrap_or("")
}

#[tokio::test]
async fn a_list_is_at_the_present_revision_and_its_items_in_the_order_of_their_keys() {
    let (server, client) = plain().await;
    for name in ["b", "a-b", "a", "c"] {
        server.put(&mk_config_map(name, "1")).unwrap();
    }
    let (status, list) = get(&client, MAPS).await;
    assert_eq!(status, 200);
    assert_eq!(names(&list), ["a", "a-b", "b", "c"]);
    assert_eq!(list["metadata"], json!({"resourceVersion": server.revision().to_string()}));
    assert_eq!(list["kind"], "ConfigMapList");
}

#[tokio::test]
async fn items_of_built_in_types_do_not_say_what_they_are_and_custom_ones_do() {
    let (server, client) = plain().await;
    fill(&server, 1);
    server.put(&mk_crd(&["v1"])).unwrap();
    server.put(&mk_widget("v1", "w", 1)).unwrap();
    let (_, maps) = get(&client, MAPS).await;
    assert_eq!((maps["items"][0].get("kind"), maps["items"][0].get("apiVersion")), (None, None));
    let (_, widgets) = get(&client, "/apis/example.com/v1/widgets").await;
    assert_eq!(widgets["items"][0]["kind"], "Widget");
    assert_eq!(widgets["items"][0]["apiVersion"], "example.com/v1");
    assert_eq!(widgets["metadata"]["continue"], "");
}

#[tokio::test]
async fn a_custom_list_says_its_version_after_its_items() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    server.put(&mk_widget("v1", "w", 1)).unwrap();
    let text = client.request_text(http::Request::get("/apis/example.com/v1/widgets").body(Vec::new()).unwrap());
    let text = text.await.unwrap();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
    assert!(at("\"items\":") < at("\"kind\":\"WidgetList\"") && at("WidgetList") < at("\"continue\""));
}

#[tokio::test]
async fn pages_are_of_one_version_whatever_is_written_between_them() {
    let (server, client) = plain().await;
    fill(&server, 5);
    let (_, first) = get(&client, &format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["m0", "m1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let version = first["metadata"]["resourceVersion"].clone();

    server.delete("configmaps", "default", "m2").unwrap();
    server.put(&mk_config_map("m3", "changed")).unwrap();
    server.put(&mk_config_map("m31", "new")).unwrap();

    let (_, second) = get(&client, &format!("{MAPS}?limit=2&continue={}", token(&first))).await;
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["items"][1]["data"]["value"], "1");
    assert_eq!(second["metadata"]["resourceVersion"], version);
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    let (_, third) = get(&client, &format!("{MAPS}?limit=2&continue={}", token(&second))).await;
    assert_eq!(names(&third), ["m4"]);
    assert_eq!(token(&third), "");
    assert_eq!(third["metadata"].get("remainingItemCount"), None);
}

#[tokio::test]
async fn a_token_expires_with_a_compaction_and_comes_with_one_that_goes_on_at_the_present() {
    let (server, client) = plain().await;
    fill(&server, 4);
    let (_, first) = get(&client, &format!("{MAPS}?limit=2")).await;
    server.put(&mk_config_map("m3", "changed")).unwrap();
    server.compact();
    let (status, gone) = get(&client, &format!("{MAPS}?limit=2&continue={}", token(&first))).await;
    assert_eq!(status, 410);
    assert_eq!((&gone["kind"], &gone["reason"], &gone["code"]), (&json!("Status"), &json!("Expired"), &json!(410)));
    let message = gone["message"].as_str().unwrap();
    assert!(message.starts_with("The provided continue parameter is too old to display a consistent list result."));
    let (status, rest) = get(&client, &format!("{MAPS}?limit=2&continue={}", token(&gone))).await;
    assert_eq!(status, 200);
    assert_eq!(names(&rest), ["m2", "m3"]);
    assert_eq!(rest["items"][1]["data"]["value"], "changed");
}

#[tokio::test]
async fn a_version_can_be_asked_for_exactly_at_least_or_not_at_all() {
    let (server, client) = plain().await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    let second = server.put(&mk_config_map("b", "1")).unwrap();

    let (_, exact) = get(&client, &format!("{MAPS}?resourceVersion={first}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact), ["a"]);
    assert_eq!(exact["metadata"]["resourceVersion"], first.to_string());
    let (_, legacy) = get(&client, &format!("{MAPS}?resourceVersion={first}&limit=10")).await;
    assert_eq!(names(&legacy), ["a"]);
    for query in ["", "?resourceVersion=0", &format!("?resourceVersion={first}")] {
        let (_, list) = get(&client, &format!("{MAPS}{query}")).await;
        assert_eq!(names(&list), ["a", "b"], "{query}");
        assert_eq!(list["metadata"]["resourceVersion"], second.to_string(), "{query}");
    }
    let (status, future) = get(&client, &format!("{MAPS}?resourceVersion={}", second + 5)).await;
    assert_eq!(status, 504);
    assert_eq!(future["message"], format!("Timeout: Too large resource version: {}, current: {second}", second + 5));
    assert_eq!(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");

    server.compact();
    let (status, gone) = get(&client, &format!("{MAPS}?resourceVersion={first}&resourceVersionMatch=Exact")).await;
    assert_eq!((status, &gone["message"]), (410, &json!("The resourceVersion for the provided list is too old.")));
}

#[tokio::test]
async fn a_limit_is_not_kept_where_any_version_will_do() {
    let (server, client) = plain().await;
    fill(&server, 3);
    let (_, list) = get(&client, &format!("{MAPS}?limit=1&resourceVersion=0")).await;
    assert_eq!(names(&list).len(), 3);
}

#[tokio::test]
async fn selectors_and_namespaces_choose_what_is_listed() {
    let (server, client) = plain().await;
    server.put(&labelled(mk_config_map("a", "1"), json!({"app": "x"}))).unwrap();
    server.put(&labelled(mk_config_map("b", "1"), json!({"app": "y"}))).unwrap();
    let mut elsewhere = labelled(mk_config_map("a", "1"), json!({"app": "x"}));
    elsewhere["metadata"]["namespace"] = "other".into();
    server.put(&elsewhere).unwrap();
    let all = "/api/v1/configmaps";
    for (path, expected) in [
        (all.to_owned(), vec!["a", "b", "a"]),
        (format!("{all}?labelSelector=app%3Dx"), vec!["a", "a"]),
        (format!("{MAPS}?labelSelector=app%20in%20(x,z)"), vec!["a"]),
        (format!("{MAPS}?labelSelector=app%20notin%20(x)"), vec!["b"]),
        (format!("{all}?fieldSelector=metadata.namespace%3Dother"), vec!["a"]),
        (format!("{all}?fieldSelector=metadata.name%3Db"), vec!["b"]),
        (format!("{MAPS}?labelSelector=app&limit=1"), vec!["a"]),
    ] {
        let (_, list) = get(&client, &path).await;
        assert_eq!(names(&list), expected, "{path}");
        assert_eq!(list["metadata"].get("remainingItemCount"), None, "{path}");
    }
    let (status, refused) = get(&client, &format!("{MAPS}?labelSelector=a%20b")).await;
    assert_eq!((status, &refused["reason"]), (400, &json!("BadRequest")));
}

#[tokio::test]
async fn a_type_that_is_not_served_is_a_404_without_a_status() {
    let (_server, client) = plain().await;
    let (status, body) = send(&client, "GET", "/apis/example.com/v1/widgets", "", "").await;
    assert_eq!((status, body), (404, json!("404 page not found\n")));
}
