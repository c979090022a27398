//! Types that come and go with their definitions, and what discovery says of them.

use http::Request;
use kube::Discovery;
use serde_json::{Value, json};

use crate::rig::{Watch, client, get, mk_crd, mk_widget, names, plain, put, send};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/widgets";

#[tokio::test]
async fn a_definition_serves_its_type_and_says_so() {
    let (_server, client) = plain().await;
    assert_eq!(get(&client, WIDGETS).await.0, 404);
    let (status, _) = put(&client, "POST", CRDS, &mk_crd(&["v1"])).await;
    assert_eq!(status, 201);
    let (_, crd) = get(&client, &format!("{CRDS}/widgets.example.com")).await;
    let established = crd["status"]["conditions"].as_array().unwrap();
    assert!(established.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"));
    let (status, list) = get(&client, WIDGETS).await;
    assert_eq!((status, &list["kind"]), (200, &json!("WidgetList")));
}

#[tokio::test]
async fn without_its_definition_a_types_objects_go_its_watches_end_and_lists_are_404() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    server.put(&mk_widget("v1", "w", 1)).unwrap();
    let mut watch = Watch::open(&client, &format!("{WIDGETS}?watch=true&resourceVersion={}", server.revision())).await;
    let (status, _) = send(&client, "DELETE", &format!("{CRDS}/widgets.example.com"), "", "").await;
    assert_eq!(status, 200);
    let last = watch.event().await;
    assert_eq!((&last["type"], &last["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("w")));
    assert!(watch.ends().await, "properly, and without an ERROR event");
    assert_eq!(get(&client, WIDGETS).await.0, 404);
    assert_eq!(get(&client, &format!("{WIDGETS}?watch=true")).await.0, 404);
}

#[tokio::test]
async fn an_object_that_finalizers_hold_holds_its_definition_and_nothing_new_is_created() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    let mut held = mk_widget("v1", "w", 1);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.put(&held).unwrap();
    server.put(&mk_widget("v1", "free", 1)).unwrap();
    send(&client, "DELETE", &format!("{CRDS}/widgets.example.com"), "", "").await;
    let (status, list) = get(&client, WIDGETS).await;
    assert_eq!((status, names(&list)), (200, vec!["w".to_owned()]));
    let namespaced = "/apis/example.com/v1/namespaces/default/widgets";
    let (status, refused) = put(&client, "POST", namespaced, &mk_widget("v1", "new", 1)).await;
    assert_eq!(status, 403);
    assert_eq!(
        refused["message"],
        "widgets.example.com \"new\" is forbidden: create not allowed while custom resource definition is terminating"
    );
    let body = json!({"metadata": {"finalizers": null}}).to_string();
    send(&client, "PATCH", &format!("{namespaced}/w"), "application/merge-patch+json", &body).await;
    assert_eq!(get(&client, &format!("{CRDS}/widgets.example.com")).await.0, 404);
    assert_eq!(get(&client, WIDGETS).await.0, 404);
}

#[tokio::test]
async fn changed_versions_change_what_is_served_and_end_the_watches() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1", "v1beta1"])).unwrap();
    let before = server.put(&mk_widget("v1", "w", 1)).unwrap();
    let (_, old) = get(&client, "/apis/example.com/v1beta1/widgets").await;
    assert_eq!(old["items"][0]["apiVersion"], "example.com/v1beta1");
    let path = "/apis/example.com/v1beta1/widgets?watch=true";
    let mut watch = Watch::open(&client, &format!("{path}&resourceVersion={before}")).await;
    server.put(&mk_widget("v1", "w", 2)).unwrap();
    assert_eq!(watch.event().await["object"]["apiVersion"], "example.com/v1beta1");

    server.put(&mk_crd(&["v2", "v1"])).unwrap();
    assert!(watch.ends().await);
    assert_eq!(get(&client, "/apis/example.com/v1beta1/widgets").await.0, 404);
    let (_, new) = get(&client, "/apis/example.com/v2/widgets").await;
    assert_eq!(new["items"][0]["apiVersion"], "example.com/v2");
    assert_eq!(new["items"][0]["spec"]["size"], 2);
    let path = format!("/apis/example.com/v2/widgets?watch=true&resourceVersion={before}");
    let mut late = Watch::open(&client, &path).await;
    assert_eq!(late.event().await["object"]["code"], 410, "the watch cache is new");
}

#[tokio::test]
async fn discovery_names_groups_versions_and_resources() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1beta1", "v1"])).unwrap();
    assert_eq!(get(&client, "/version").await.1["gitVersion"], tidegate_apiserver::VERSION);
    assert_eq!(get(&client, "/readyz").await, (200, json!("ok")));
    assert_eq!(get(&client, "/livez").await.0, 200);
    assert_eq!(get(&client, "/api").await.1["versions"], json!(["v1"]));
    let (_, groups) = get(&client, "/apis").await;
    let group = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "example.com").unwrap();
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.com/v1");
    assert_eq!(get(&client, "/apis/example.com").await.1["kind"], "APIGroup");
    let (_, resources) = get(&client, "/apis/example.com/v1").await;
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status"]);
    assert_eq!(get(&client, "/apis/none.example").await.0, 404);
    assert_eq!(get(&client, "/apis/example.com/v9").await.0, 404);
}

#[tokio::test]
async fn kubes_discovery_finds_the_types_one_by_one_and_aggregated() {
    let (server, client) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    for discovery in [
        Discovery::new(client.clone()).run().await.unwrap(),
        Discovery::new(client.clone()).run_aggregated().await.unwrap(),
    ] {
        let group = discovery.get("example.com").expect("the group");
        let (resource, capabilities) = group.recommended_kind("Widget").expect("the kind");
        assert_eq!((resource.plural.as_str(), resource.version.as_str()), ("widgets", "v1"));
        assert!(capabilities.supports_operation("watch"));
        assert!(discovery.get("").is_some(), "the core group");
    }
}

#[tokio::test]
async fn a_stale_group_is_marked_and_says_nothing_of_its_resources() {
    let (server, _) = plain().await;
    server.put(&mk_crd(&["v1"])).unwrap();
    server.set_stale("example.com/v1", true);
    let client = client(&server.kubeconfig()).await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let request = Request::get("/apis").header("accept", accept).body(Vec::new()).unwrap();
    let list: Value = client.request(request).await.unwrap();
    let groups = list["items"].as_array().unwrap();
    let group = groups.iter().find(|group| group["metadata"]["name"] == "example.com").unwrap();
    assert_eq!(group["versions"], json!([{"version": "v1", "freshness": "Stale", "resources": []}]));
    server.set_stale("example.com/v1", false);
}
