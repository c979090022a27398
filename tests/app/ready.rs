//! When the whole service says that it is ready, over its real admin server.

use std::time::Duration;

use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate::app::{App, Hooks};
use tidegate::builder::{SourceParts, Tidegate};
use tidegate::config::{Directory, Section, SectionType};
use tidegate_actors::correlation::{Collection, Json, OutputBatch, Taps};
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};
use tidegate_actors::publisher::{PublishError, Publisher};
use tidegate_actors::source::{Cursor, Source, SourceStream};
use tidegate_actors::supervisor::{ChildSpec, State, TaskContext};
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_before_a_type_that_the_config_requires_has_synced() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let mut config = mk_config(folder.path());
    // The second is nobody's, so that what is known of the first must not be enough.
    let required = ["httproutes.gateway.networking.k8s.io", "widgets.example.com"];
    config.gateway.required_types = required.map(str::to_owned).into();
    let app = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.unwrap();
    wait_until("the routes are read", || {
        app.factory.informers().iter().all(|informer| informer.status().sync.is_settled())
    })
    .await;
    app.correlation.check_gate();
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, app.xds.version()), (503, 0), "{}", answer.body);
    let names: Vec<_> = answer.json()["missing"].as_array().unwrap().iter().map(|lack| lack["name"].clone()).collect();
    assert_eq!(names, ["widgets.example.com", "model"]);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_from_the_moment_it_is_told_to_stop_while_it_still_drains() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let (let_go, go) = watch::channel(false);
    let tidegate = Tidegate::builder().actor(move |_| {
        let go = go.clone();
        ChildSpec::task("draining", move |context: TaskContext| {
            let mut go = go.clone();
            async move {
                context.stop.stopped().await;
                let _ = go.wait_for(|go| *go).await;
                Ok(())
            }
        })
    });
    let app = App::start(&tidegate, &mk_config(folder.path()), &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    assert_eq!(http::get(app.admin, "/readyz").await.status, 200);

    let supervisor = app.supervisor.clone();
    let stopping = tokio::spawn(async move { supervisor.shutdown(Duration::from_secs(10)).await });
    wait_until("it stops", || app.supervisor.tree().state == State::Stopping).await;
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, answer.json()["ready"].as_bool()), (503, Some(false)), "{}", answer.body);
    assert_eq!(answer.json()["message"], "not ready: actor tidegate: is stopping");
    assert_eq!(http::get(app.admin, "/livez").await.status, 200, "it must not be killed for it");
    let_go.send(true).unwrap();
    stopping.await.unwrap();
}

/// The section `correlate.cards`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Cards {}

impl SectionType for Cards {}

struct Forget;

impl Publisher for Forget {
    async fn publish(&mut self, _: &OutputBatch) -> Result<(), PublishError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_a_correlation_of_ones_own_reads_and_no_source_serves_is_named() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let mut config = mk_config(folder.path());
    config.correlate.insert("cards".into(), Section::new(Cards {}));
    type Services = Collection<ObjectKey, Json<Service>>;
    #[derive(PartialEq, Deserialize)]
    struct Service {}
    let tidegate = Tidegate::builder().correlation::<Cards, Services, Forget>(
        "cards",
        |_, graph| {
            graph.source::<Json<Service>>(&ResourceType::new("", "v2", "Service", "services", Scope::Namespaced))
        },
        |_| Taps::default(),
        |_, _| Forget,
    );
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let reason = "`cards` reads it and no source serves it; sources serve version v1";
    assert_eq!(answer.json()["missing"], json!([{ "what": "type", "name": "services/v2", "reason": reason }]));

    // Where the config says what is required, it is not that.
    app.supervisor.shutdown(Duration::from_secs(5)).await;
    config.gateway.required_types = vec!["httproutes.gateway.networking.k8s.io".to_owned()];
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    let answer = http::get(app.admin, "/readyz").await;
    let concerns = answer.json()["concerns"].as_array().unwrap().clone();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(concerns.iter().any(|lack| lack["name"] == "services/v2"), "{}", answer.body);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}
