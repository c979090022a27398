//! Writing by the rules: what is created, updated, patched and deleted, and what is refused in which words.

use serde_json::{Value, json};
use tidegate_apiserver::ApiServer;

use crate::rig::{Watch, get, mk_config_map, mk_crd, mk_widget, plain, put, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

fn with_version(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object
}

async fn with_widgets() -> (ApiServer, kube::Client) {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    (server, client)
}

#[tokio::test]
async fn what_is_created_gets_identity_time_and_version_from_the_server() {
    let (server, client) = plain().await;
    let (status, created) = put(&client, "POST", MAPS, &mk_config_map("a", "1")).await;
    assert_eq!(status, 201);
    assert_eq!(version(&created), server.revision().to_string());
    let meta = &created["metadata"];
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&client, &format!("{MAPS}/a")).await, (200, created));

    let (status, taken) = put(&client, "POST", MAPS, &mk_config_map("a", "2")).await;
    assert_eq!((status, &taken["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(taken["message"], "configmaps \"a\" already exists");
    let (status, absent) = get(&client, &format!("{MAPS}/b")).await;
    assert_eq!((status, &absent["message"]), (404, &json!("configmaps \"b\" not found")));
    assert_eq!(absent["details"], json!({"name": "b", "kind": "configmaps"}));
}

#[tokio::test]
async fn an_object_needs_its_namespace() {
    let (_server, client) = plain().await;
    let mut map = mk_config_map("a", "1");
    map["metadata"]["namespace"] = "nowhere".into();
    let (status, refused) = put(&client, "POST", "/api/v1/namespaces/nowhere/configmaps", &map).await;
    assert_eq!((status, &refused["message"]), (404, &json!("namespaces \"nowhere\" not found")));
}

#[tokio::test]
async fn an_update_with_an_outdated_version_is_a_conflict_and_writes_nothing() {
    let (server, client) = plain().await;
    let (_, first) = put(&client, "POST", MAPS, &mk_config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    let next = with_version(mk_config_map("a", "2"), version(&first));
    let (status, second) = put(&client, "PUT", &path, &next).await;
    assert_eq!((status, &second["data"]["value"]), (200, &json!("2")));
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    let before = server.revision();
    let (status, conflict) = put(&client, "PUT", &path, &next).await;
    assert_eq!(status, 409);
    assert_eq!(
        conflict["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    assert_eq!(server.revision(), before);
    let (status, _) = put(&client, "PUT", &path, &mk_config_map("a", "3")).await;
    assert_eq!(status, 200, "a ConfigMap may be updated whatever its version");
}

#[tokio::test]
async fn a_custom_object_counts_changes_of_its_spec_and_not_of_labels_or_status() {
    let (_server, client) = with_widgets().await;
    let (_, created) = put(&client, "POST", WIDGETS, &mk_widget("v1", "w", 1)).await;
    assert_eq!(created["metadata"]["generation"], 1);
    let merge = |body: Value, path: &str| {
        let (client, path) = (client.clone(), format!("{WIDGETS}/w{path}"));
        async move { send(&client, "PATCH", &path, "application/merge-patch+json", &body.to_string()).await.1 }
    };
    assert_eq!(merge(json!({"metadata": {"labels": {"a": "b"}}}), "").await["metadata"]["generation"], 1);
    assert_eq!(merge(json!({"spec": {"size": 2}}), "").await["metadata"]["generation"], 2);
    let with_status = merge(json!({"status": {"ready": true}, "spec": {"size": 9}}), "/status").await;
    assert_eq!((&with_status["status"]["ready"], &with_status["spec"]["size"]), (&json!(true), &json!(2)));
    assert_eq!(with_status["metadata"]["generation"], 2);
    let ignored = merge(json!({"status": {"ready": false}}), "").await;
    assert_eq!(ignored["status"]["ready"], true, "the main resource does not write the status");

    let (status, refused) = put(&client, "PUT", &format!("{WIDGETS}/w"), &mk_widget("v1", "w", 3)).await;
    assert_eq!((status, &refused["reason"]), (422, &json!("Invalid")));
    assert!(refused["message"].as_str().unwrap().ends_with("must be specified for an update"));
}

#[tokio::test]
async fn json_patches_apply_in_order_and_a_test_that_fails_refuses_them() {
    let (_server, client) = plain().await;
    put(&client, "POST", MAPS, &mk_config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    let patch = |body: Value| {
        let (client, path) = (client.clone(), path.clone());
        async move { send(&client, "PATCH", &path, "application/json-patch+json", &body.to_string()).await }
    };
    let (_, changed) = patch(json!([{"op": "replace", "path": "/data/value", "value": "2"}])).await;
    assert_eq!(changed["data"]["value"], "2");
    let (status, _) = patch(json!([{"op": "test", "path": "/data/value", "value": "1"}])).await;
    assert_eq!(status, 422);
    let (status, refused) = send(&client, "PATCH", &path, "application/x", "{}").await;
    assert_eq!((status, &refused["reason"]), (415, &json!("UnsupportedMediaType")));
}

#[tokio::test]
async fn apply_on_the_status_keeps_others_fields_and_takes_back_its_own() {
    let (_server, client) = with_widgets().await;
    put(&client, "POST", WIDGETS, &mk_widget("v1", "w", 1)).await;
    let apply = |manager: &str, force: bool, status: Value| {
        let path = format!("{WIDGETS}/w/status?fieldManager={manager}&force={force}");
        let body = json!({
            "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "status": status,
        });
        let client = client.clone();
        async move { send(&client, "PATCH", &path, "application/apply-patch+yaml", &body.to_string()).await }
    };
    let (status, first) = apply("a", false, json!({"x": 1, "y": 1})).await;
    assert_eq!((status, &first["status"]), (200, &json!({"x": 1, "y": 1})));
    apply("b", false, json!({"z": 1})).await;
    let (_, third) = apply("a", false, json!({"x": 2})).await;
    assert_eq!(third["status"], json!({"x": 2, "z": 1}));
    assert_eq!(third["spec"]["size"], 1);
    let managers = third["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 2);
    assert_eq!(managers[0]["subresource"], "status");

    let (status, conflict) = apply("b", false, json!({"x": 3, "z": 1})).await;
    assert_eq!(status, 409);
    assert_eq!(conflict["message"], "Apply failed with 1 conflict: conflict with \"a\": .status.x");
    let (status, forced) = apply("b", true, json!({"x": 3, "z": 1})).await;
    assert_eq!((status, &forced["status"]["x"]), (200, &json!(3)));
    let (_, same) = apply("b", true, json!({"x": 3, "z": 1})).await;
    assert_eq!(version(&same), version(&forced), "applying the same again writes nothing");
}

#[tokio::test]
async fn finalizers_hold_a_delete_until_they_are_gone() {
    let (server, client) = plain().await;
    let mut map = mk_config_map("a", "1");
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    put(&client, "POST", MAPS, &map).await;
    let path = format!("{MAPS}/a");
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={}", server.revision())).await;
    let (status, held) = send(&client, "DELETE", &path, "", "").await;
    assert_eq!((status, &held["kind"]), (200, &json!("ConfigMap")));
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(watch.event().await["type"], "MODIFIED");
    let body = json!({"metadata": {"finalizers": null}}).to_string();
    let (status, _) = send(&client, "PATCH", &path, "application/merge-patch+json", &body).await;
    assert_eq!(status, 200);
    assert_eq!(watch.event().await["type"], "DELETED");
    assert_eq!(get(&client, &path).await.0, 404);
}

#[tokio::test]
async fn a_delete_answers_with_a_status_and_keeps_its_preconditions() {
    let (_server, client) = plain().await;
    let (_, created) = put(&client, "POST", MAPS, &mk_config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    let (status, refused) = put(&client, "DELETE", &path, &json!({"preconditions": {"uid": "another"}})).await;
    assert_eq!((status, &refused["reason"]), (409, &json!("Conflict")));
    let (status, gone) = send(&client, "DELETE", &path, "", "").await;
    assert_eq!((status, &gone["status"]), (200, &json!("Success")));
    assert_eq!(gone["details"]["uid"], created["metadata"]["uid"]);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let (server, client) = plain().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        server.put(&crate::rig::labelled(mk_config_map(name, "1"), json!({"app": app}))).unwrap();
    }
    let (status, _) = send(&client, "DELETE", &format!("{MAPS}?labelSelector=app%3Dx"), "", "").await;
    assert_eq!(status, 200);
    assert_eq!(server.list_raw("configmaps").unwrap().into_keys().collect::<Vec<_>>(), ["default/b"]);
}

#[tokio::test]
async fn a_namespace_takes_its_content_with_it() {
    let (server, client) = plain().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    put(&client, "POST", "/api/v1/namespaces", &namespace).await;
    let mut map = mk_config_map("a", "1");
    map["metadata"]["namespace"] = "n".into();
    let (status, _) = put(&client, "POST", "/api/v1/namespaces/n/configmaps", &map).await;
    assert_eq!(status, 201);
    send(&client, "DELETE", "/api/v1/namespaces/n", "", "").await;
    assert!(server.list_raw("configmaps").unwrap().is_empty());
    assert_eq!(get(&client, "/api/v1/namespaces/n").await.0, 404);
}
