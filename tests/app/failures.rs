//! What goes wrong beside the files: a source that lacks a type or refuses it, a core actor that keeps failing.

use std::time::Duration;

use serde_json::Value;
use tidegate::app::{App, Hooks};
use tidegate::builder::{SourceParts, Tidegate};
use tidegate::config::Directory;
use tidegate_actors::env::{Env, Fault};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::supervisor::Exit;
use tidegate_actors::testing::{FaultPlan, FaultRule, MemorySource};

use crate::rig::*;

fn mk_services() -> ResourceType {
    ResourceType::new("", "v1", "Service", "services", Scope::Namespaced)
}

/// Names and reasons of what `/readyz` lists under a key, as soon as they are as wanted.
async fn until_listed(app: &App, key: &str, wanted: impl Fn(&[(String, String)]) -> bool) -> Vec<(String, String)> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let text = |lack: &Value, field: &str| lack[field].as_str().unwrap().to_owned();
    loop {
        let answer = http::get(app.admin, "/readyz").await.json();
        let lacks = answer[key].as_array().unwrap();
        let lacks: Vec<_> = lacks.iter().map(|lack| (text(lack, "name"), text(lack, "reason"))).collect();
        if wanted(&lacks) {
            return lacks;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:#}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_a_source_lacks_is_waited_for_and_one_that_it_refuses_is_named_while_the_rest_runs() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let mut config = mk_config(folder.path());
    config.sources.push(mk_source("cloud", "memory", folder.path()));
    // It has Services alone, and does not show them.
    let cloud = MemorySource::new("cloud");
    cloud.set_forbidden(&mk_services(), true);
    let source = cloud.clone();
    let tidegate = Tidegate::builder().source::<Directory>("memory", move |_, _| Ok(SourceParts::new(source.clone())));
    let app = App::start(&tidegate, &config, &Hooks::default(), Env::system()).await.unwrap();

    let refused = |lacks: &[(String, String)]| lacks.len() == 2 && lacks[0].1.contains("not permitted");
    let missing = until_listed(&app, "missing", refused).await;
    assert_eq!([&*missing[0].0, &*missing[1].0], ["cloud:services/v1", "model"], "what is absent holds nothing up");
    let routes = http::get(app.admin, "/api/v1/resources/httproutes.gateway.networking.k8s.io").await.json();
    assert!(routes["items"].as_array().unwrap().len() > 3, "the rest is read: {routes}");

    // It is allowed now; who does not want to wait for the next look asks for it.
    cloud.set_forbidden(&mk_services(), false);
    app.supervisor.restart("sources/cloud/services").await.unwrap();
    wait_until("the model is there", || app.model.get().listeners.len() == 2).await;
    app.xds.ready().await;
    until_listed(&app, "concerns", <[_]>::is_empty).await;

    // A permission that is lost costs nothing that was there.
    let before = app.model.get().clusters.len();
    cloud.set_forbidden(&mk_services(), true);
    app.supervisor.restart("sources/cloud/services").await.unwrap();
    let lost = |(name, why): &(String, String)| name == "cloud:services/v1" && why.contains("not permitted");
    until_listed(&app, "concerns", |lacks| lacks.iter().any(lost)).await;
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((app.model.get().listeners.len(), app.model.get().clusters.len()), (2, before));
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlation_that_cannot_be_kept_running_ends_everything_with_a_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let plan = FaultPlan::new(1);
    plan.add(FaultRule::always("port/gateway/*/receive", Fault::Panic("injected".to_owned())));
    let mut env = Env::system();
    env.faults = Some(std::sync::Arc::new(plan.clone()));
    let app = App::start(&Tidegate::builder(), &mk_config(folder.path()), &Hooks::default(), env).await.unwrap();

    let exit = tokio::time::timeout(Duration::from_secs(30), app.supervisor.ended()).await.expect("an end");

    let Exit::Escalated { child, .. } = &exit else { panic!("{exit}") };
    assert_eq!(&**child, "gateway");
    assert!(exit.to_string().contains("cannot be kept running") && exit.to_string().contains("injected"), "{exit}");
    assert!(plan.struck().len() > 5, "it was tried again first: {:?}", plan.struck());
    assert_eq!(app.xds.version(), 0, "nothing half done was published");
}
