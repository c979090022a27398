//! The whole service in one process, without a proxy: a directory in, a model and xDS out.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{Config, Directory, Loader, Registry, Section, SourceConfig};
use tidegate_actors::env::Env;

/// A config for tests: free ports, everything below one folder.
fn mk_config(folder: &Path) -> Config {
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    let section = Section::new(Directory::new(manifests));
    let mut config = Config { data_dir: folder.join("data"), ..Config::default() };
    config.sources = vec![SourceConfig { name: "demo".into(), kind: "directory".into(), section }];
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);
    config
}

fn copy_demo(folder: &Path) {
    std::fs::create_dir_all(folder.join("manifests")).unwrap();
    for (name, text) in tidegate::demo::MANIFESTS {
        std::fs::write(folder.join("manifests").join(name), text).unwrap();
    }
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_becomes_a_model_and_an_edit_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let config = mk_config(folder.path());
    let app = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    wait_until("the model has listeners", || !app.model.get().listeners.is_empty()).await;
    let problems = app.problems.list();
    assert!(problems.is_empty(), "{problems:#?}");
    let model = app.model.get();
    assert_eq!(model.listeners.len(), 2);
    assert!(model.endpoints.values().all(|endpoints| !endpoints.endpoints.is_empty()), "{:#?}", model.endpoints);

    let routes = folder.path().join("manifests/routes.yaml");
    let text = std::fs::read_to_string(&routes).unwrap();
    std::fs::write(&routes, text.replace("demo.local", "other.local")).unwrap();
    wait_until("the new host is there", || {
        app.model.get().virtual_hosts.keys().any(|id| id.domain.contains("other.local"))
    })
    .await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_adds_a_source_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let more = folder.path().join("more");
    std::fs::create_dir_all(&more).unwrap();
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: extra, namespace: demo}\n\
                 spec: {parentRefs: [{name: demo}], hostnames: [extra.local], rules: [{backendRefs: [{name: echo-a, port: 80}]}]}\n";
    std::fs::write(more.join("extra.yaml"), route).unwrap();
    let file = folder.path().join("tidegate.yaml");
    let base = "admin: {address: 127.0.0.1:0}\nxds: {address: 127.0.0.1:0}\nsources:\n- {name: demo, kind: directory, path: manifests}\n";
    std::fs::write(&file, base).unwrap();
    let tidegate = Tidegate::builder();
    let loader = Loader::new(Registry::default());
    let config = Arc::new(loader.load(&file).unwrap());
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    let hooks = Hooks::default();
    let follow = app.follow(&tidegate, &config, &file, &loader, &hooks);
    let hosts = || app.model.get().virtual_hosts.keys().map(|id| id.domain.to_string()).collect::<Vec<_>>();
    let script = async {
        wait_until("the first model", || !hosts().is_empty()).await;
        let before = hosts();
        std::fs::write(&file, format!("{base}sourcez: []\n")).unwrap();
        wait_until("the bad config is reported", || app.problems.list().iter().any(|(scope, _)| scope == "config"))
            .await;
        assert_eq!(hosts(), before);

        std::fs::write(&file, format!("{base}- {{name: more, kind: directory, path: more}}\n")).unwrap();
        wait_until("the new source's host", || hosts().iter().any(|host| host == "extra.local")).await;
        assert!(before.iter().all(|host| hosts().contains(host)));

        std::fs::write(&file, base).unwrap();
        wait_until("the source is gone again", || hosts() == before).await;
    };
    tokio::select! {
        followed = follow => panic!("following ended: {followed:?}"),
        () = script => {}
    }
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
