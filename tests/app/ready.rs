//! When the whole service says that it is ready, over its real admin server.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use tidegate::app::{App, Hooks};
use tidegate::builder::{SourceParts, Tidegate};
use tidegate::config::Directory;
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::source::{Cursor, Source, SourceStream};
use tidegate_actors::testing::MemorySource;
use tokio::sync::watch;

use crate::rig::*;

/// Answers nothing until it is let go.
struct Held {
    inner: MemorySource,
    go: watch::Receiver<bool>,
}

impl Source for Held {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let (inner, resource_type, mut go) = (self.inner.clone(), resource_type.clone(), self.go.clone());
        let opened = async move {
            let _ = go.wait_for(|go| *go).await;
            inner.open(&resource_type, from)
        };
        Box::pin(futures::stream::once(opened).flatten())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_names_what_is_missing_and_ready_comes_with_the_first_configuration() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let mut config = mk_config(folder.path());
    config.sources.push(mk_source("slow", "held", folder.path()));
    let (let_go, go) = watch::channel(false);
    let tidegate = Tidegate::builder().source::<Directory>("held", move |_, context| {
        let inner = MemorySource::new(&context.name);
        Ok(SourceParts::new(Held { inner, go: go.clone() }))
    });
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();
    let missing = async || -> (u16, Vec<String>) {
        let answer = http::get(app.admin, "/readyz").await;
        let names = answer.json()["missing"].as_array().unwrap().clone();
        (answer.status, names.iter().map(|lack| lack["name"].as_str().unwrap().to_owned()).collect())
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let (status, names) = loop {
        let (status, names) = missing().await;
        if names.iter().all(|name| !name.starts_with("demo:")) {
            break (status, names);
        }
        assert!(tokio::time::Instant::now() < deadline, "the directory was not read: {names:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!(status, 503);
    assert!(names.contains(&"slow:httproutes.gateway.networking.k8s.io/v1".to_owned()), "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("model"));
    assert!(app.model.get().listeners.is_empty(), "nothing is published before every type has synced");
    assert_eq!(http::get(app.admin, "/livez").await.status, 200);

    let_go.send(true).unwrap();
    app.xds.ready().await;
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["missing"]), (200, &json!([])), "{}", answer.body);
    wait_until("the model is there", || app.model.get().listeners.len() == 2).await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
