//! The whole service in one process, without a proxy: a directory in, a model and xDS out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/xds_caller.rs"]
mod caller;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/app_rig.rs"]
mod rig;

#[path = "app/clients.rs"]
mod clients;
#[path = "app/failures.rs"]
mod failures;
#[path = "app/file.rs"]
mod file;
#[path = "app/proxy.rs"]
mod proxy;
#[path = "app/ready.rs"]
mod ready;
#[path = "app/reload.rs"]
mod reload;
#[path = "app/watches.rs"]
mod watches;

use std::time::Duration;

use rig::*;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate_actors::env::Env;

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
