//! A directory: away at the start, changed meanwhile, broken meanwhile.

use tidegate_actors::problem::{Problem, Serving};

use super::rig::{copy_demo, http, replace, wait_until};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_away_at_the_start_is_served_from_the_snapshot_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    copy_demo(folder.path());
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    let before = model(&app);
    kill(app).await;

    let (manifests, away) = (folder.path().join("manifests"), folder.path().join("away"));
    std::fs::rename(&manifests, &away).unwrap();
    let app = start(&config).await;
    published(&app).await;
    assert_eq!(model(&app), before);
    let answer = http::get(app.admin, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &Value::Bool(true)), "{}", answer.body);
    let concerns = answer.json()["concerns"].to_string();
    assert!(concerns.contains("restored from a snapshot") && concerns.contains("s ago"), "{concerns}");
    // The first look at the directory may have come before anybody had asked for what was restored.
    wait_until("that the directory is away is said, and what is served meanwhile", || {
        let away =
            |problem: &Problem| problem.reason.contains("does not exist") && problem.serving == Serving::LastGood;
        app.problems.list().iter().any(|(_, problem)| away(problem))
    })
    .await;

    let routes = std::fs::read_to_string(away.join("routes.yaml")).unwrap();
    replace(&away.join("routes.yaml"), &routes.replace("demo.local", "changed.local"));
    std::fs::rename(&away, &manifests).unwrap();
    wait_until("the change is published", || model(&app).to_string().contains("changed.local")).await;
    wait_until("nothing is degraded", || app.factory.slots().iter().all(|slot| slot.sync.reason().is_none())).await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_nobody_looked_is_gone_after_the_first_list() {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    copy_demo(folder.path());
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    kill(app).await;
    std::fs::remove_file(folder.path().join("manifests/routes.yaml")).unwrap();
    let app = start(&config).await;
    published(&app).await;
    let routes = || app.factory.slots().into_iter().find(|slot| slot.resource_type.kind() == "HTTPRoute").unwrap();
    wait_until("the routes are gone", || routes().objects == 0).await;
    app.supervisor.shutdown(Duration::from_secs(5)).await;
}

/// What is broken stays as it last was, over a restart too, and says so; mended it is taken in at once.
async fn broken_meanwhile(breaks: impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    copy_demo(folder.path());
    let app = start(&config).await;
    published(&app).await;
    kept(&app).await;
    let before = model(&app);
    kill(app).await;

    let path = folder.path().join("manifests/routes.yaml");
    let good = std::fs::read_to_string(&path).unwrap();
    replace(&path, &breaks(&good));
    // Twice: what the second restart finds was kept by the first.
    for round in 0..2 {
        let app = start(&config).await;
        published(&app).await;
        wait_until("it is read", || app.factory.slots().iter().all(|slot| slot.sync.reason().is_none())).await;
        assert_eq!(model(&app), before, "round {round}: {:?}", app.problems.list());
        let problems = app.problems.list();
        let of_file = problems.iter().filter(|(_, problem)| problem.place.starts_with("routes.yaml"));
        let serving: Vec<Serving> = of_file.map(|(_, problem)| problem.serving).collect();
        assert!(!serving.is_empty() && serving.iter().all(|serving| *serving == Serving::LastGood), "{problems:?}");
        kept(&app).await;
        if round == 1 {
            // The last rule of it is mended, and nothing of it is wanted any more.
            replace(&path, "# empty\n");
            let routes = |app: &App| {
                app.factory.slots().into_iter().find(|slot| slot.resource_type.kind() == "HTTPRoute").unwrap().objects
            };
            wait_until("what was kept is gone", || routes(&app) == 0).await;
        }
        kill(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_can_read_any_more_keeps_what_it_held_before_the_restart() {
    broken_meanwhile(|good| format!("{good}\n---\n{{{{ not yaml")).await;
    broken_meanwhile(|_| "{{{{ not yaml".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_wrong_now_keeps_its_last_good_version_over_a_restart() {
    broken_meanwhile(|good| good.replace("hostnames:", "hostnamez: 7\n  hostnames: 7 #")).await;
}
