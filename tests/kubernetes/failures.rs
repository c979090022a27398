//! Refusals: overload, absence, missing permissions, other versions.

use std::time::Duration;

use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::source::SourceError;

use crate::rig::{Rig, grants};
use crate::server::{Reply, event, page, status, thing};

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back() {
    let overloaded = |code| status(code, "TooManyRequests", "busy");
    for code in [429, 503, 504] {
        let rig = Rig::new().await;
        rig.server.then(Reply::new(code, overloaded(code)).header("retry-after", "7"));
        let (_, error) = rig.open(None).end().await;
        let SourceError::Retry { after, .. } = error else { panic!("{error}") };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }
    let rig = Rig::new().await;
    let body = r#"{"kind":"Status","code":429,"details":{"retryAfterSeconds":3}}"#;
    rig.server.then(Reply::new(200, event("ERROR", body)));
    let (_, error) = rig.open(Some("5")).end().await;
    assert!(matches!(error, SourceError::Retry { after: Some(after), .. } if after.as_secs() == 3), "{error}");
}

#[tokio::test]
async fn a_missing_permission_is_named_as_the_rule_that_gives_it() {
    let forbidden = status(403, "Forbidden", "things.example.com is forbidden: User u cannot list resource");
    let rig = Rig::new().await;
    rig.server.then(Reply::new(403, forbidden.clone()));
    let (_, error) = rig.open(None).end().await;
    assert!(matches!(error, SourceError::NotPermitted { .. }), "{error}");
    let rule = r#"a ClusterRole: {apiGroups: ["example.com"], resources: ["things"], verbs: ["list", "watch"]}"#;
    assert!(error.to_string().contains(rule) && error.to_string().contains("User u cannot list"), "{error}");

    let rig = Rig::with(|options| options.namespaces = vec!["demo".into()]).await;
    rig.server.then(Reply::new(403, forbidden));
    let secrets = ResourceType::new("", "v1", "Secret", "secrets", Scope::Namespaced);
    let (_, error) = rig.open_type(&secrets, Some("demo=5")).end().await;
    let rule = r#"a Role in the namespace demo: {apiGroups: [""], resources: ["secrets"], verbs: ["watch"]}"#;
    assert!(error.to_string().contains(rule), "{error}");
}

#[tokio::test]
async fn a_type_that_the_server_does_not_have_is_absent_and_not_empty() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(404, "404 page not found\n"));
    rig.server.then(Reply::new(404, "404 page not found\n"));
    let (words, error) = rig.open(None).end().await;
    assert_eq!(words, Vec::<String>::new());
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    assert!(error.to_string().contains("install its CustomResourceDefinition"), "{error}");
    assert_eq!(rig.server.asked()[1], "/apis/example.com");
}

fn group(rig: &Rig, versions: &[(&str, &[&str])]) {
    let names: Vec<String> = versions.iter().map(|(version, _)| format!(r#"{{"version":"{version}"}}"#)).collect();
    rig.server.then(Reply::new(200, format!(r#"{{"kind":"APIGroup","versions":[{}]}}"#, names.join(","))));
    for (_, plurals) in versions {
        let names: Vec<String> = plurals.iter().map(|plural| format!(r#"{{"name":"{plural}"}}"#)).collect();
        rig.server.then(Reply::new(200, format!(r#"{{"resources":[{}]}}"#, names.join(","))));
    }
}

#[tokio::test]
async fn a_known_kind_is_read_in_the_version_that_the_server_has() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(404, ""));
    group(&rig, &[("v1", &["others"]), ("v1beta1", &["grants", "grants/status"])]);
    let (_, error) = rig.open_type(&grants(), None).end().await;
    assert!(matches!(error, SourceError::Retry { .. }) && error.to_string().contains("v1beta1"), "{error}");
    rig.server.then(Reply::new(200, page("7", "", &[&thing("a", "3")])));
    let _watch = rig.server.then_watch();
    assert_eq!(rig.open_type(&grants(), None).next(3).await, ["Init", "=a", "Done 7"]);
    assert!(rig.server.asked().iter().any(|asked| asked.starts_with("/apis/example.com/v1beta1/grants?limit")));
}

#[tokio::test]
async fn an_unknown_kind_is_not_read_in_a_version_that_nobody_asked_for() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(404, ""));
    group(&rig, &[("v2", &["things"])]);
    let (_, error) = rig.open(None).end().await;
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    assert!(error.to_string().contains("the API server has it as v2"), "{error}");
}
