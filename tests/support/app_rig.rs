//! A whole Tidegate in the test's own process, below one folder.

#![allow(dead_code)]

#[path = "http.rs"]
pub mod http;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::{BackendRange, Config, Directory, Loader, Registry, Section, SourceConfig};
use tidegate_actors::env::Env;

/// A config for tests: free ports, everything below one folder.
pub fn mk_config(folder: &Path) -> Config {
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    let mut config = Config { data_dir: folder.join("data"), ..Config::default() };
    config.sources = vec![mk_source("demo", "directory", &manifests)];
    config.gateway.allow_backends = vec![BackendRange::Loopback];
    config.admin.address.set_port(0);
    config.xds.address.set_port(0);
    config
}

pub fn mk_source(name: &str, kind: &str, path: &Path) -> SourceConfig {
    SourceConfig { name: name.into(), kind: kind.into(), section: Section::new(Directory::new(path)) }
}

pub fn copy_demo(folder: &Path) {
    std::fs::create_dir_all(folder.join("manifests")).unwrap();
    for (name, text) in tidegate::demo::MANIFESTS {
        std::fs::write(folder.join("manifests").join(name), text).unwrap();
    }
}

/// Replaces a file as editors do: readers see the old text or the new one.
pub fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

pub async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The text of a config file: free ports, and the directory `manifests`. More sources may follow.
pub const BASE: &str = "admin: {address: 127.0.0.1:0}\nxds: {address: 127.0.0.1:0}\n\
                        gateway: {allow_backends: [loopback]}\nsources:\n\
                        - {name: demo, kind: directory, path: manifests}\n";

/// What reads a config file without anything that is another binary's.
pub fn mk_loader() -> Loader {
    Loader::new(Registry::default())
}

/// Runs a script beside a Tidegate that follows a config file; the script may replace the file.
pub async fn following(tidegate: &Tidegate, loader: Loader, file: &Path, text: &str, script: impl AsyncFnOnce(&App)) {
    replace(file, text);
    let hooks = Hooks::default();
    let config = Arc::new(loader.load(file).unwrap());
    let app = App::start(tidegate, &config, &hooks, Env::system()).await.unwrap();
    tokio::select! {
        followed = app.follow(tidegate, &config, file, &loader, &hooks) => panic!("following ended: {followed:?}"),
        () = script(&app) => {}
    }
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
