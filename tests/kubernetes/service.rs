//! The whole service on a cluster: `kind: kubernetes` in the config, a gateway's objects in, a model out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{Config, Loader, Registry};
use tidegate::resource;
use tidegate::source::directory::{Options, load};
use tidegate::source::schema::Catalogue;
use tidegate_actors::env::Env;
use tidegate_actors::id::Scope;

use crate::rig::{PATIENCE, Rig};
use crate::server::{Objects, thing};
use crate::types::mk_definition;

/// The demo's objects as a cluster has them, by plural.
fn demo() -> Objects {
    let catalogue = resource::kinds()
        .into_iter()
        .rev()
        .fold(Catalogue::new(), |catalogue, kind| catalogue.with_unchecked(kind.resource_type));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
    let loaded = load(Options::new("files", path), &Env::system(), catalogue).unwrap();
    let mut objects: Objects =
        resource::kinds().iter().map(|kind| (kind.resource_type.plural().to_owned(), Vec::new())).collect();
    for (resource_type, of_type) in loaded.objects {
        for object in of_type {
            let mut value: Value = serde_json::from_slice(object.raw()).unwrap();
            value["metadata"]["resourceVersion"] = json!("3");
            if resource_type.scope() == Scope::Namespaced {
                value["metadata"]["namespace"] = json!(object.key().namespace_or_empty());
            }
            objects.get_mut(resource_type.plural()).unwrap().push(value.to_string());
        }
    }
    objects
}

fn mk_config(rig: &Rig) -> Config {
    let text = mk_text(rig, "");
    let mut config = Loader::new(Registry::default()).parse(&text, &rig.folder.path().join("t.yaml")).unwrap();
    config.data_dir = rig.folder.path().join("data");
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);
    config
}

/// A config file's text; `keys` are further ones of the source.
fn mk_text(rig: &Rig, keys: &str) -> String {
    let folder = rig.folder.path();
    format!(
        "data_dir: '{}'\nadmin: {{address: 127.0.0.1:0}}\nxds: {{address: 127.0.0.1:0}}\n\
         gateway: {{allow_backends: [loopback]}}\nsources: [{{name: c, kind: kubernetes, kubeconfig: '{}'{keys}}}]\n",
        folder.join("data").display(),
        folder.join("kubeconfig").display()
    )
}

async fn published(app: &App) {
    let listeners = async {
        while app.model.get().listeners.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let published = tokio::time::timeout(PATIENCE, listeners).await;
    assert!(published.is_ok(), "no model: {:#?}", app.problems.list());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_in_a_cluster_becomes_a_model() {
    let rig = Rig::new().await;
    rig.server.have(demo());
    let tidegate = Tidegate::builder();
    let app = App::start(&tidegate, &mk_config(&rig), &Hooks::default(), Env::system()).await.unwrap();
    published(&app).await;
    let model = app.model.get();
    assert_eq!(model.listeners.len(), 2);
    assert!(!model.virtual_hosts.is_empty() && !model.endpoints.is_empty());
    assert_eq!(app.problems.list(), Vec::new());
    assert_eq!(tidegate.clusters().list().len(), 1);
    let cluster = tidegate.clusters().get("c").unwrap();
    cluster.client_for_writes().await.unwrap();
    drop(cluster);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_api_that_lacks_a_kind_does_not_stop_the_rest() {
    let rig = Rig::new().await;
    let mut objects = demo();
    objects.remove("referencegrants");
    rig.server.have(objects);
    let app = App::start(&Tidegate::builder(), &mk_config(&rig), &Hooks::default(), Env::system()).await.unwrap();
    published(&app).await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_in_the_config_watches_types_and_one_taken_out_of_it_ends_that() {
    let rig = Rig::new().await;
    rig.server.have(demo());
    rig.server.set("customresourcedefinitions", Some(vec![mk_definition("widgets", "Widget", &["v1"])]));
    rig.server.set("widgets", Some(vec![thing("a", "3")]));
    let file = rig.folder.path().join("tidegate.yaml");
    std::fs::write(&file, mk_text(&rig, ", discover: ['*.example.com']")).unwrap();
    let (tidegate, loader, hooks) = (Tidegate::builder(), Loader::new(Registry::default()), Hooks::default());
    let config = Arc::new(loader.load(&file).unwrap());
    let app = App::start(&tidegate, &config, &hooks, Env::system()).await.unwrap();
    let widgets = || app.factory.slots().into_iter().find(|slot| slot.resource_type.plural() == "widgets");
    let script = async {
        until("the type is watched", || widgets().is_some_and(|slot| slot.objects == 1)).await;
        published(&app).await;
        let fresh = rig.folder.path().join("fresh.yaml");
        std::fs::write(&fresh, mk_text(&rig, "")).unwrap();
        std::fs::rename(&fresh, &file).unwrap();
        until("it is watched no more", || widgets().is_none()).await;
        until("the rest is", || app.factory.slots().iter().any(|slot| slot.resource_type.plural() == "gateways")).await;
    };
    tokio::select! {
        followed = app.follow(&tidegate, &config, &file, &loader, &hooks) => panic!("following ended: {followed:?}"),
        () = script => {}
    }
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let all = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "not in time: {what}");
}
