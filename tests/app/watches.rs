//! Kinds that nobody knew at start, watched because somebody asked for it.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::config::Config;
use tidegate_actors::env::Env;

use crate::rig::*;

fn mk_widget(name: &str) -> String {
    format!(
        "{{apiVersion: example.com/v1, kind: Widget, metadata: {{name: {name}, namespace: a}}, spec: {{size: 7}}}}\n"
    )
}

async fn start(config: &Config) -> App {
    let app = App::start(&Tidegate::builder(), config, &Hooks::default(), Env::system()).await.unwrap();
    app.xds.ready().await;
    app
}

/// The names of the widgets that the API lists, as soon as there are as many.
async fn widgets(app: &App, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let answer = http::get(app.admin, "/api/v1/resources/widgets.example.com").await;
        if answer.status == 200 {
            let listed = answer.json()["items"].as_array().unwrap().clone();
            let name = |item: &Value| item["object"]["metadata"]["name"].as_str().unwrap().to_owned();
            let names: Vec<String> = listed.iter().map(name).collect();
            if names.len() == count {
                return names;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "not {count} widgets: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn watch(app: &App, resource: &str, kind: &str) -> http::Answer {
    let body = json!({ "resource": resource, "kind": kind });
    http::send(app.admin, "POST", "/api/v1/watches", Some(app.token.reveal()), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_listed_once_it_is_asked_for_and_still_is_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    std::fs::write(folder.path().join("manifests/one.yaml"), mk_widget("one")).unwrap();
    let mut config = mk_config(folder.path());
    config.watches.allow = vec!["*.example.com".to_owned()];
    let app = start(&config).await;
    assert_eq!(http::get(app.admin, "/api/v1/resources/widgets.example.com").await.status, 404);

    let refused = watch(&app, "gadgets.elsewhere.org/v1", "Gadget").await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].as_str().unwrap().contains("watches.allow"), "{}", refused.body);
    let unauthorised = http::send(
        app.admin,
        "POST",
        "/api/v1/watches",
        None,
        Some(json!({"resource": "widgets.example.com/v1", "kind": "Widget"})),
    )
    .await;
    assert_eq!(unauthorised.status, 401);
    assert_eq!(http::get(app.admin, "/api/v1/resources/widgets.example.com").await.status, 404);

    assert_eq!(watch(&app, "widgets.example.com/v1", "Widget").await.status, 201);
    assert_eq!(widgets(&app, 1).await, ["one"]);
    std::fs::write(folder.path().join("manifests/two.yaml"), mk_widget("two")).unwrap();
    assert_eq!(widgets(&app, 2).await, ["one", "two"]);
    assert_eq!(http::get(app.admin, "/readyz").await.status, 200);
    app.supervisor.shutdown(Duration::from_secs(5)).await;

    std::fs::remove_file(folder.path().join("manifests/one.yaml")).unwrap();
    let again = start(&config).await;
    assert_eq!(widgets(&again, 1).await, ["two"]);
    assert_eq!(http::get(again.admin, "/api/v1/resources/gadgets.elsewhere.org").await.status, 404);
    again.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_watch_that_the_config_allows_no_more_is_not_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = mk_config(folder.path());
    config.watches.allow = vec!["*.example.com".to_owned()];
    let app = start(&config).await;
    assert_eq!(watch(&app, "widgets.example.com/v1", "Widget").await.status, 201);
    app.supervisor.shutdown(Duration::from_secs(5)).await;
    config.watches.allow.clear();
    let again = start(&config).await;
    assert_eq!(http::get(again.admin, "/api/v1/resources/widgets.example.com").await.status, 404);
    let problems = again.problems.list();
    assert!(problems.iter().any(|(_, problem)| problem.reason.contains("widgets.example.com/v1")), "{problems:?}");
    again.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_comes_later_is_asked_for_the_kind_too() {
    let folder = tempfile::tempdir().unwrap();
    for (source, widget) in [("manifests", "one"), ("more", "two")] {
        std::fs::create_dir_all(folder.path().join(source)).unwrap();
        std::fs::write(folder.path().join(source).join("widget.yaml"), mk_widget(widget)).unwrap();
    }
    let file = folder.path().join("tidegate.yaml");
    let base = "admin: {address: 127.0.0.1:0}\nxds: {address: 127.0.0.1:0}\nwatches: {allow: ['*.example.com']}\n\
                sources:\n- {name: demo, kind: directory, path: manifests}\n";
    following(&Tidegate::builder(), mk_loader(), &file, base, async |app| {
        assert_eq!(watch(app, "widgets.example.com/v1", "Widget").await.status, 201);
        assert_eq!(widgets(app, 1).await, ["one"]);
        replace(&file, &format!("{base}- {{name: more, kind: directory, path: more}}\n"));
        assert_eq!(widgets(app, 2).await, ["one", "two"]);
        replace(&file, base);
        assert_eq!(widgets(app, 1).await, ["one"]);
    })
    .await;
}
