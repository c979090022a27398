//! Resource types registered and unregistered at run time: the allowlist, the file, the limits.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/admin_rig.rs"]
mod admin_rig;

use std::sync::Arc;

use serde_json::json;
use tidegate::admin::watches::WatchRegistry;
use tidegate::admin::{Catalogue, Slot, SyncPhase};
use tidegate::config::{WatchedType, Watches};
use tidegate_actors::env::Env;

use admin_rig::*;

#[tokio::test]
async fn a_watch_is_registered_kept_over_a_restart_and_removed() {
    let rig = mk_rig().await;
    let body = json!({ "resource": "widgets.example.com/v1", "kind": "Widget" });
    let answer = rig.change("POST", "/api/v1/watches", Some(body.clone())).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(body.clone())).await.status, 200);
    let listed = rig.get("/api/v1/watches").await.json();
    let expected = json!([
        { "resource": "widgets.example.com/v1", "kind": "Widget", "scope": "Namespaced", "origin": "request" }
    ]);
    assert_eq!((&listed["items"], &listed["allow"]), (&expected, &json!(["*.example.com"])));
    assert_eq!(rig.shelf.slots().len(), 1);
    // A type of somebody's own that is not synced yet keeps nobody from being ready.
    rig.published.lock().fresh = true;
    assert_eq!(rig.get("/readyz").await.status, 200);

    // Another life on the same directory.
    let shelf = Arc::new(Shelf::default());
    let again = WatchRegistry::new(&mk_watches(), 2, rig.data_dir.path(), &Env::system(), shelf.clone());
    again.restore(&rig.problems).await;
    assert_eq!(again.list()[0].watched, mk_widget());
    assert_eq!(shelf.slots().len(), 1);
    assert!(rig.problems.list().is_empty());

    let other = json!({ "resource": "widgets.example.com/v1", "kind": "Widget", "scope": "Cluster" });
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(other)).await.status, 409);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/widgets.example.com/v1", None).await.status, 204);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/widgets.example.com/v1", None).await.status, 404);
    assert!(rig.shelf.slots().is_empty());
    let again = WatchRegistry::new(&mk_watches(), 2, rig.data_dir.path(), &Env::system(), rig.shelf.clone());
    again.restore(&rig.problems).await;
    assert!(again.list().is_empty());
}

#[tokio::test]
async fn a_watch_outside_the_allowlist_is_refused_with_the_entry_that_is_missing() {
    let rig = mk_rig().await;
    let body = json!({ "resource": "secrets/v1", "kind": "Secret" });
    let answer = rig.change("POST", "/api/v1/watches", Some(body)).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["error"].as_str().unwrap().contains("add `secrets/v1` to watches.allow"));
    for body in [json!({ "resource": "widgets", "kind": "Widget" }), json!({ "resource": "../x/v1", "kind": "X" })] {
        assert_eq!(rig.change("POST", "/api/v1/watches", Some(body)).await.status, 400);
    }
    let unknown_key = json!({ "resource": "widgets.example.com/v1", "kind": "Widget", "colour": "red" });
    assert_eq!(rig.change("POST", "/api/v1/watches", Some(unknown_key)).await.status, 422);
    assert!(rig.shelf.slots().is_empty());
    assert!(!rig.data_dir.path().join("watches.json").exists());
}

#[tokio::test]
async fn what_the_config_allows_no_more_is_unwatched_and_comes_back_when_it_does() {
    let rig = mk_rig().await;
    rig.watches.add(mk_widget()).await.unwrap();
    rig.watches.reconfigure(&Watches::default(), &rig.problems).await;
    assert!(rig.watches.list().is_empty() && rig.shelf.slots().is_empty());
    let standing = rig.problems.list();
    assert_eq!(standing.len(), 1);
    assert!(standing[0].1.reason.contains("add `widgets.example.com/v1` to watches.allow"), "{standing:?}");

    let initial = WatchedType { resource: "gadgets.example.com/v1".into(), kind: "Gadget".into(), ..mk_widget() };
    let watches = Watches { initial: vec![initial], ..mk_watches() };
    rig.watches.reconfigure(&watches, &rig.problems).await;
    assert!(rig.problems.list().is_empty());
    let listed = rig.get("/api/v1/watches").await.json();
    let origins: Vec<_> = listed["items"].as_array().unwrap().iter().map(|w| w["origin"].clone()).collect();
    assert_eq!(origins, ["config", "request"]);
    assert_eq!(rig.change("DELETE", "/api/v1/watches/gadgets.example.com/v1", None).await.status, 409);
}

#[tokio::test]
async fn a_type_that_was_merely_discovered_can_be_asked_for_and_nobody_waits_for_it() {
    let rig = mk_rig().await;
    let resource_type = mk_widget().resource_type().unwrap();
    let slot = mk_slot("demo", &resource_type, SyncPhase::Pending(None));
    *rig.shelf.slots.lock() = vec![Slot { discovered: true, ..slot.clone() }];
    let missing = async || rig.get("/readyz").await.json()["missing"].to_string();
    assert!(!missing().await.contains("widgets"), "{}", missing().await);
    let listed = rig.get("/api/v1/resources").await.json();
    assert_eq!(listed["items"][0]["discovered"], true);
    assert!(rig.watches.add(mk_widget()).await.unwrap());

    rig.watches.remove("widgets.example.com/v1").await.unwrap();
    *rig.shelf.slots.lock() = vec![slot];
    assert!(missing().await.contains("widgets"), "{}", missing().await);
    assert!(rig.get("/api/v1/resources").await.json()["items"][0].get("discovered").is_none());
    let refused = rig.watches.add(mk_widget()).await.unwrap_err();
    assert!(refused.to_string().contains("is watched already"), "{refused}");
}

#[tokio::test]
async fn a_damaged_watches_file_and_a_full_registry_are_told_of() {
    let rig = mk_rig().await;
    std::fs::write(rig.data_dir.path().join("watches.json"), "{ half").unwrap();
    rig.watches.restore(&rig.problems).await;
    assert!(rig.problems.list()[0].1.reason.contains("is not what Tidegate wrote"));
    for name in ["a", "b"] {
        let watched = WatchedType { resource: format!("{name}.example.com/v1"), ..mk_widget() };
        assert!(rig.watches.add(watched).await.unwrap());
    }
    let error = rig.watches.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("limits.watches"), "{error}");

    *rig.shelf.refuse.lock() = Some("no source has it".to_owned());
    rig.watches.remove("a.example.com/v1").await.unwrap();
    let error = rig.watches.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("no source has it"), "{error}");
    assert_eq!(rig.watches.list().len(), 1);
}

#[tokio::test]
async fn a_watch_that_cannot_be_kept_is_not_begun() {
    let shelf = Arc::new(Shelf::default());
    let blocked = tempfile::NamedTempFile::new().unwrap();
    // A file where the directory should be: nothing can be written below it.
    let registry = WatchRegistry::new(&mk_watches(), 9, &blocked.path().join("data"), &Env::system(), shelf.clone());
    let error = registry.add(mk_widget()).await.unwrap_err();
    assert!(error.to_string().contains("set `data_dir`"), "{error}");
    assert!(registry.list().is_empty() && shelf.slots().is_empty());
}
