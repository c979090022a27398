//! What is kept on disk, with the whole service: it is killed, its sources are away, its disk is harmed, and it serves
//! the last good configuration all the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/app_rig.rs"]
mod rig;

#[allow(dead_code)]
mod support;

#[path = "snapshot/cluster.rs"]
mod cluster;

#[path = "snapshot/directory.rs"]
mod directory;

#[path = "snapshot/disks.rs"]
mod disks;

#[path = "snapshot/killed.rs"]
mod killed;

#[path = "snapshot/secrets.rs"]
mod secrets;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::Config;
use tidegate_actors::env::Env;

/// 32 bytes that are good enough for a test.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

/// A config with a key, below a folder.
fn mk_config(folder: &Path) -> Config {
    std::fs::write(folder.join("key"), KEY).unwrap();
    let mut config = rig::mk_config(folder);
    config.snapshot.key_file = Some(folder.join("key"));
    config
}

async fn start(config: &Config) -> App {
    App::start(&Tidegate::builder(), config, &Hooks::default(), Env::system()).await.unwrap()
}

/// The published model without its version.
fn model(app: &App) -> Value {
    let mut model = serde_json::to_value(&*app.model.get()).unwrap();
    model["version"] = Value::Null;
    model
}

/// Waits until everything that is held is on disk.
async fn kept(app: &App) {
    let persistence = app.persistence.clone().unwrap();
    rig::wait_until("everything is on disk", || {
        let status = persistence.status();
        assert_eq!(status.failing, Vec::<String>::new());
        persistence.is_current()
    })
    .await;
}

/// Waits for the first configuration.
async fn published(app: &App) {
    rig::wait_until("a model is published", || app.model.get().version > 0).await;
    app.xds.ready().await;
}

/// Ends it as if it had been killed: nothing is written any more.
async fn kill(app: App) {
    app.supervisor.remove("snapshot").await.unwrap();
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
