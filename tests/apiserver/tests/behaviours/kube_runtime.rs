//! kube's own watcher and typed API against the server: what works with the real one works with this one.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;

use crate::rig::{mk_config_map, plain};

async fn seen(stream: impl futures::Stream<Item = watcher::Result<Event<ConfigMap>>>, count: usize) -> Vec<String> {
    let stream = std::pin::pin!(stream);
    let events = stream.take(count).map_ok(|event| match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(map) => format!("init {}", map.metadata.name.unwrap()),
        Event::InitDone => "done".to_owned(),
        Event::Apply(map) => format!("apply {}", map.metadata.name.unwrap()),
        Event::Delete(map) => format!("delete {}", map.metadata.name.unwrap()),
    });
    tokio::time::timeout(crate::rig::PATIENCE, events.try_collect()).await.unwrap().unwrap()
}

#[tokio::test]
async fn kubes_watcher_lists_in_pages_or_as_a_stream_and_follows() {
    let (server, client) = plain().await;
    for name in ["a", "b", "c"] {
        server.put(&mk_config_map(name, "1")).unwrap();
    }
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    for config in [watcher::Config::default().page_size(2), watcher::Config::default().streaming_lists()] {
        let stream = watcher(api.clone(), config);
        let writer = server.clone();
        let stream = stream.inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                writer.put(&mk_config_map("b", &writer.revision().to_string())).unwrap();
                writer.delete("configmaps", "default", "c").unwrap();
            }
        });
        let all = seen(stream, 7).await;
        assert_eq!(all, ["init", "init a", "init b", "init c", "done", "apply b", "delete c"]);
        server.put(&mk_config_map("c", "1")).unwrap();
    }
}

#[tokio::test]
async fn the_typed_api_creates_patches_replaces_and_deletes() {
    let (_server, client) = plain().await;
    let api: Api<Service> = Api::namespaced(client, "default");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]},
    }))
    .unwrap();
    let created = api.create(&PostParams::default(), &service).await.unwrap();
    assert!(created.metadata.uid.is_some());
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = api.patch("s", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.metadata.labels.as_ref().unwrap()["a"], "b");
    let stale = api.replace("s", &PostParams::default(), &created).await.unwrap_err();
    assert!(matches!(&stale, kube::Error::Api(status) if status.is_conflict()), "{stale}");
    api.replace("s", &PostParams::default(), &patched).await.unwrap();
    let deleted = api.delete("s", &Default::default()).await.unwrap();
    assert!(deleted.right().is_some_and(|status| status.is_success()));
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}
