//! Credentials that are refused, replaced, or cannot be read; and what is never said.

use std::time::Duration;

use tidegate_actors::source::SourceError;

use crate::rig::{PATIENCE, Rig, TOKEN, write_kubeconfig};
use crate::server::{Reply, bookmark, event, status, thing};

#[tokio::test]
async fn refused_credentials_are_read_again() {
    let rig = Rig::new().await;
    // Somebody has used the first ones before they were replaced.
    rig.source.cluster().client_for_lists().await.unwrap();
    write_kubeconfig(&rig.folder, &rig.server, "second-secret-token");
    rig.server.then(Reply::new(401, status(401, "Unauthorized", "Unauthorized")));
    let (_, error) = rig.open(None).end().await;
    assert!(matches!(error, SourceError::Retry { .. }), "{error}");
    assert!(!format!("{error:?}").contains("secret-token"), "{error:?}");
    rig.server.then_list("7", &[]);
    rig.open(None).next(2).await;
    assert_eq!(rig.server.tokens(), [format!("Bearer {TOKEN}"), "Bearer second-secret-token".to_owned()]);
}

#[tokio::test]
async fn replaced_credentials_are_used_by_new_requests_while_old_watches_go_on() {
    let rig = Rig::with(|options| {
        options.streaming_lists = false;
        options.credentials_interval = Duration::from_millis(10);
    })
    .await;
    rig.server.then_list("7", &[]);
    let watch = rig.server.then_watch();
    let mut old = rig.open(None);
    assert_eq!(old.next(2).await, ["Init", "Done 7"]);
    watch.say(bookmark("8"));
    old.next(1).await;
    write_kubeconfig(&rig.folder, &rig.server, "second-secret-token");
    let follower = rig.source.clone();
    let task = tokio::spawn(async move { follower.follow_credentials(std::future::pending()).await });
    let replaced = async {
        loop {
            let reply = rig.server.then_watch();
            reply.say(bookmark("9"));
            rig.open(Some("8")).next(1).await;
            if rig.server.tokens().last().unwrap() == "Bearer second-secret-token" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, replaced).await.expect("the new credentials are not used");
    watch.say(event("ADDED", &thing("a", "10")));
    assert_eq!(old.next(2).await, ["+a", "@10"], "the old watch misses nothing");
    assert_eq!(rig.server.tokens()[0], format!("Bearer {TOKEN}"));
    task.abort();
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named_and_tried_again_without_its_content() {
    let rig = Rig::new().await;
    let path = rig.folder.path().join("kubeconfig");
    let broken = "users: [{name: u, user: {token: TOPSECRET, }}\n  : [\n";
    std::fs::write(&path, broken).unwrap();
    let (_, error) = rig.open(None).end().await;
    let text = format!("{error} {error:?}");
    assert!(matches!(error, SourceError::Retry { .. }) && text.contains("not a kubeconfig"), "{text}");
    assert!(!text.contains("TOPSECRET"), "{text}");

    let exec = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
                users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
                command: sh, args: ['-c', 'echo TOPSECRET; exit 3']}}}]\n\
                contexts: [{name: c, context: {cluster: c, user: u}}]\n";
    std::fs::write(&path, exec).unwrap();
    let (_, error) = rig.open(None).end().await;
    let text = format!("{error} {error:?}");
    assert!(text.contains("auth exec command failed with exit status: 3") && !text.contains("TOPSECRET"), "{text}");

    write_kubeconfig(&rig.folder, &rig.server, TOKEN);
    rig.server.then_list("7", &[]);
    let _watch = rig.server.then_watch();
    assert_eq!(rig.open(None).next(2).await, ["Init", "Done 7"]);
}

#[tokio::test]
async fn writes_and_lists_have_clients_of_their_own() {
    let rig = Rig::new().await;
    let cluster = rig.source.cluster();
    assert_eq!(&**cluster.name(), "c");
    rig.server
        .then(Reply::new(200, r#"{"kind":"Lease"}"#))
        .then(Reply::new(503, status(503, "ServiceUnavailable", "no")));
    let request = || http::Request::get("/apis/x").body(Vec::new()).unwrap();
    let text = cluster.client_for_writes().await.unwrap().request_text(request()).await.unwrap();
    assert_eq!(text, r#"{"kind":"Lease"}"#);
    let error = cluster.client_for_lists().await.unwrap().request_text(request()).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 503));
    assert_eq!(rig.server.asked().len(), 2, "nothing is retried behind the caller's back");
    assert_eq!(rig.server.tokens(), vec![format!("Bearer {TOKEN}"); 2]);
}
