//! The config file changes while Tidegate runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::app::App;
use tidegate::builder::Tidegate;
use tidegate::config::{Loader, Registry, SectionType};
use tidegate::correlate::Outputs;
use tidegate::publish::state::ModelState;
use tidegate::publish::step::{Steps, model_taps};
use tidegate_actors::correlation::OutputBatch;
use tidegate_actors::publisher::{PublishError, Publisher};

use crate::rig::*;

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
    following(&Tidegate::builder(), mk_loader(), &file, BASE, async |app| {
        let hosts = || app.model.get().virtual_hosts.keys().map(|id| id.domain.to_string()).collect::<Vec<_>>();
        wait_until("the first model", || !hosts().is_empty()).await;
        let before = hosts();
        std::fs::write(&file, format!("{BASE}sourcez: []\n")).unwrap();
        wait_until("the bad config is reported", || app.problems.list().iter().any(|(scope, _)| scope == "config"))
            .await;
        assert_eq!(hosts(), before);

        std::fs::write(&file, format!("{BASE}- {{name: more, kind: directory, path: more}}\n")).unwrap();
        wait_until("the new source's host", || hosts().iter().any(|host| host == "extra.local")).await;
        assert!(before.iter().all(|host| hosts().contains(host)));

        std::fs::write(&file, BASE).unwrap();
        wait_until("the source is gone again", || hosts() == before).await;
    })
    .await;
}

/// Keeps what was published, step by step.
#[derive(Clone, Default)]
struct Recorder {
    steps: Arc<Mutex<Steps>>,
    model: Arc<Mutex<ModelState>>,
    /// The identities that each step led to.
    history: Arc<Mutex<Vec<BTreeSet<String>>>>,
}

struct Recording(Recorder, Outputs);

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoKeys {}

impl SectionType for NoKeys {}

impl Publisher for Recording {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        let Self(recorder, outputs) = self;
        let update = recorder.steps.lock().step(batch, outputs);
        let mut model = recorder.model.lock();
        model.apply(&update);
        let mut seen: BTreeSet<String> = model.listeners.keys().map(|id| format!("listener {id}")).collect();
        seen.extend(model.virtual_hosts.keys().map(|id| format!("host {id}")));
        seen.extend(model.clusters.keys().map(|id| format!("cluster {id}")));
        recorder.history.lock().push(seen);
        Ok(())
    }
}

impl Recorder {
    fn last(&self) -> BTreeSet<String> {
        self.history.lock().last().cloned().unwrap_or_default()
    }
}

/// A world with a Gateway of each of two controllers.
const TWO_CONTROLLERS: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: one}, spec: {controllerName: example.com/one}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: two}, spec: {controllerName: example.com/two}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: one, namespace: app}
spec: {gatewayClassName: one, listeners: [{name: http, protocol: HTTP, port: 8081}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: two, namespace: app}
spec: {gatewayClassName: two, listeners: [{name: http, protocol: HTTP, port: 8082}]}
---
{apiVersion: v1, kind: Service, metadata: {name: echo, namespace: app}, spec: {ports: [{port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: app}
spec:
  parentRefs: [{name: one}, {name: two}]
  hostnames: [a.local, b.local]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
";

#[tokio::test(flavor = "multi_thread")]
async fn another_controller_and_another_address_are_live_in_one_step_each_with_nothing_emptier_between() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("manifests")).unwrap();
    std::fs::write(folder.path().join("manifests/all.yaml"), TWO_CONTROLLERS).unwrap();
    let recorder = Recorder::default();
    let recorded = recorder.clone();
    let tidegate = Tidegate::builder()
        .publisher::<NoKeys, _>("recorder", model_taps, move |_, outputs| Recording(recorded.clone(), *outputs));
    let file = folder.path().join("tidegate.yaml");
    let text = |controller: &str, bind: &str| {
        format!(
            "admin: {{address: 127.0.0.1:0}}\nxds: {{address: 127.0.0.1:0}}\npublish: {{recorder: {{}}}}\n\
             gateway: {{controller_name: example.com/{controller}}}\nproxy: {{bind: {bind}}}\n\
             sources:\n- {{name: demo, kind: directory, path: manifests}}\n"
        )
    };
    let loader = Loader::new(Registry::default().publisher::<NoKeys>("recorder"));
    following(&tidegate, loader, &file, &text("one", "127.0.0.1"), async |app| {
        let steps = [
            ("one", "127.0.0.1", "127.0.0.1:8081"),
            ("two", "127.0.0.1", "127.0.0.1:8082"),
            ("two", "127.0.0.2", "127.0.0.2:8082"),
            ("one", "127.0.0.1", "127.0.0.1:8081"),
        ];
        let mut wholes: Vec<BTreeSet<String>> = Vec::new();
        for (controller, bind, socket) in steps {
            replace(&file, &text(controller, bind));
            let listener = format!("listener {socket}");
            wait_until(socket, || recorder.last().contains(&listener)).await;
            let whole = recorder.last();
            // A listener, its bare host and two of the route's, and the cluster.
            assert_eq!(whole.len(), 5, "{whole:?}");
            wholes.push(whole);
        }
        let mut history = recorder.history.lock().clone();
        history.dedup();
        assert_eq!(history, wholes);
        assert!(app.problems.list().is_empty(), "{:?}", app.problems.list());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_with_its_file_takes_its_conflicts_along() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let more = folder.path().join("more");
    std::fs::create_dir_all(&more).unwrap();
    std::fs::copy(folder.path().join("manifests/routes.yaml"), more.join("routes.yaml")).unwrap();
    let file = folder.path().join("tidegate.yaml");
    let both = format!("{BASE}- {{name: more, kind: directory, path: more}}\n");
    following(&Tidegate::builder(), mk_loader(), &file, &both, async |app| {
        let conflicts = || app.problems.list().into_iter().filter(|(scope, _)| scope.contains("conflicts")).count();
        wait_until("both are told of every route", || conflicts() > 2 && conflicts().is_multiple_of(2)).await;
        wait_until("the first model", || !hosts(app).is_empty()).await;
        let before = hosts(app);
        replace(&file, BASE);
        wait_until("nothing is in conflict", || conflicts() == 0).await;
        assert_eq!(hosts(app), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_while_the_json_publisher_was_replaced_is_gone_from_the_model() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let file = folder.path().join("tidegate.yaml");
    following(&Tidegate::builder(), mk_loader(), &file, BASE, async |app| {
        wait_until("the first model", || !app.model.get().secrets.is_empty()).await;
        app.supervisor.pause("json").await.unwrap();
        std::fs::remove_file(folder.path().join("manifests/certificate.yaml")).unwrap();
        wait_until("the xDS publisher is past it", || app.correlation.version() > app.model.get().version).await;
        replace(&file, &format!("{BASE}publish: {{json: {{path: model.json}}}}\n"));
        wait_until("the certificate is gone", || app.model.get().secrets.is_empty()).await;
        wait_until("the file is there", || folder.path().join("model.json").exists()).await;
    })
    .await;
}

fn hosts(app: &App) -> Vec<String> {
    app.model.get().virtual_hosts.keys().map(ToString::to_string).collect()
}
