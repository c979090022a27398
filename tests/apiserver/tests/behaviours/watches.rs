//! Watches: where they begin, what they see, and how they end.

use std::time::Duration;

use serde_json::json;
use tidegate_apiserver::{Options, WatchOptions};

use crate::rig::{Watch, get, labelled, mk_config_map, plain, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_watch_sees_every_write_after_its_version_in_order() {
    let (server, client) = plain().await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    let second = server.put(&mk_config_map("a", "2")).unwrap();
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    assert_eq!(watch.short().await, format!("MODIFIED a@{second}"));
    let third = server.put(&mk_config_map("b", "1")).unwrap();
    server.delete("configmaps", "default", "a").unwrap();
    assert_eq!(watch.shorts(2).await, [format!("ADDED b@{third}"), format!("DELETED a@{}", third + 1)]);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_event() {
    let (server, client) = plain().await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    assert_eq!(server.put(&mk_config_map("a", "1")).unwrap(), first);
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    let second = server.put(&mk_config_map("a", "2")).unwrap();
    assert_eq!(watch.short().await, format!("MODIFIED a@{second}"));
}

#[tokio::test]
async fn a_watch_from_before_the_window_gets_a_410_as_an_event() {
    let (server, client) = start(Options { window: 2, ..Options::default() }).await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    for value in ["2", "3", "4"] {
        server.put(&mk_config_map("a", value)).unwrap();
    }
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    let event = watch.event().await;
    assert_eq!(
        event,
        json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": format!("too old resource version: {first} ({})", first + 1),
        }})
    );
    assert!(watch.ends().await);
    let mut last = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={}", first + 1)).await;
    assert_eq!(last.short().await, format!("MODIFIED a@{}", first + 2));
}

#[tokio::test]
async fn a_server_without_a_watch_cache_says_410_as_a_status() {
    let watch = WatchOptions { gone_as_status: true, ..WatchOptions::default() };
    let (server, client) = start(Options { watch, ..Options::default() }).await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    server.put(&mk_config_map("a", "2")).unwrap();
    server.expire_watches();
    let (status, body) = get(&client, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    assert_eq!((status, &body["reason"], &body["code"]), (410, &json!("Expired"), &json!(410)));
}

#[tokio::test]
async fn under_a_selector_an_object_comes_and_goes_as_its_labels_do() {
    let (server, client) = plain().await;
    let map = |app: &str, value: &str| labelled(mk_config_map("a", value), json!({"app": app}));
    let from = server.revision();
    let path = format!("{MAPS}?watch=true&resourceVersion={from}&labelSelector=app%3Dx");
    let mut watch = Watch::open(&client, &path).await;
    server.put(&map("y", "1")).unwrap();
    let added = server.put(&map("x", "2")).unwrap();
    let changed = server.put(&map("x", "3")).unwrap();
    let left = server.put(&map("y", "4")).unwrap();
    server.put(&map("y", "5")).unwrap();
    let back = server.put(&map("x", "6")).unwrap();
    assert_eq!(watch.shorts(2).await, [format!("ADDED a@{added}"), format!("MODIFIED a@{changed}")]);
    let gone = watch.event().await;
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], left.to_string(), "the new version");
    assert_eq!(gone["object"]["data"]["value"], "3", "with the old content");
    assert_eq!(gone["object"]["metadata"]["labels"]["app"], "x");
    assert_eq!(watch.short().await, format!("ADDED a@{back}"));
}

#[tokio::test]
async fn a_namespace_and_a_name_narrow_a_watch() {
    let (server, client) = plain().await;
    let from = server.revision();
    let path = format!("{MAPS}?watch=true&resourceVersion={from}&fieldSelector=metadata.name%3Db");
    let mut watch = Watch::open(&client, &path).await;
    let mut elsewhere = mk_config_map("b", "1");
    elsewhere["metadata"]["namespace"] = "other".into();
    server.put(&elsewhere).unwrap();
    server.put(&mk_config_map("a", "1")).unwrap();
    let seen = server.put(&mk_config_map("b", "1")).unwrap();
    assert_eq!(watch.short().await, format!("ADDED b@{seen}"));
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_everything() {
    let (server, client) = plain().await;
    let b = server.put(&mk_config_map("b", "1")).unwrap();
    let a = server.put(&mk_config_map("a", "1")).unwrap();
    for version in ["", "&resourceVersion=0"] {
        let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true{version}")).await;
        assert_eq!(watch.shorts(2).await, [format!("ADDED a@{a}"), format!("ADDED b@{b}")], "{version}");
        assert!(watch.is_silent().await, "without bookmarks nothing says that this was all");
    }
}

#[tokio::test]
async fn a_streaming_list_closes_its_initial_events_with_a_bookmark() {
    let (server, client) = plain().await;
    let a = server.put(&mk_config_map("a", "1")).unwrap();
    server.put(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})).unwrap();
    let path =
        format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    let mut watch = Watch::open(&client, &path).await;
    assert_eq!(watch.short().await, format!("ADDED a@{a}"));
    let bookmark = watch.event().await;
    assert_eq!(
        bookmark,
        json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {
            "resourceVersion": (a + 1).to_string(), "annotations": {"k8s.io/initial-events-end": "true"},
        }}})
    );
    let changed = server.put(&mk_config_map("a", "2")).unwrap();
    assert_eq!(watch.short().await, format!("MODIFIED a@{changed}"));
}

#[tokio::test]
async fn a_server_without_streaming_lists_refuses_one() {
    let watch = WatchOptions { streaming_lists: false, ..WatchOptions::default() };
    let (_server, client) = start(Options { watch, ..Options::default() }).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let (status, body) = get(&client, &format!("{MAPS}?{query}")).await;
    assert_eq!((status, &body["reason"]), (422, &json!("Invalid")));
    assert_eq!(body["details"]["causes"][0]["field"], "sendInitialEvents");
}

#[tokio::test]
async fn bookmarks_come_to_who_allows_them_and_carry_the_present() {
    let watch = WatchOptions { bookmark_period: Duration::from_millis(30), ..WatchOptions::default() };
    let (server, client) = start(Options { watch, ..Options::default() }).await;
    let from = server.revision();
    let path = format!("{MAPS}?watch=true&resourceVersion={from}");
    let mut with = Watch::open(&client, &format!("{path}&allowWatchBookmarks=true")).await;
    let mut without = Watch::open(&client, &path).await;
    server.put(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})).unwrap();
    let mut bookmark = with.event().await;
    let before = from.to_string();
    while bookmark["object"]["metadata"]["resourceVersion"] == before.as_str() {
        bookmark = with.event().await;
    }
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"], json!({"resourceVersion": (from + 1).to_string()}));
    assert!(without.is_silent().await);
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let (server, client) = plain().await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}&timeoutSeconds=1", server.revision());
    let mut watch = Watch::open(&client, &path).await;
    assert_eq!(server.watches().len(), 1);
    assert!(watch.ends().await);
    assert!(server.watches().is_empty());
}

#[tokio::test]
async fn a_watch_that_its_client_leaves_is_gone() {
    let (server, client) = plain().await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}", server.revision());
    let watch = Watch::open(&client, &path).await;
    assert_eq!(server.watches()[0].resource, "configmaps");
    drop(watch);
    while !server.watches().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_watch_from_a_version_to_come_waits_for_it() {
    let (server, client) = plain().await;
    let later = server.revision() + 2;
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={later}")).await;
    server.put(&mk_config_map("a", "1")).unwrap();
    server.put(&mk_config_map("a", "2")).unwrap();
    let third = server.put(&mk_config_map("a", "3")).unwrap();
    assert_eq!(watch.short().await, format!("MODIFIED a@{third}"));
}
