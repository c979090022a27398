//! The whole service in one process, without a proxy: a directory in, a model and xDS out.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use tidegate::app::{App, RunOptions};
use tidegate::builder::Tidegate;
use tidegate::config::{Config, Directory, Section, SourceConfig};
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
    let app = App::start(&Tidegate::builder(), &config, &RunOptions::default(), Env::system()).await.unwrap();
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
