//! Streams that were let in and may not go on: what their clients may see has changed, or a certificate has expired.

use std::time::Duration;

use tidegate::publish::xds::ClientRule;
use tonic::Code;

use crate::caller::Call;
use crate::model::{Update, mk_cluster};
use crate::pki::{expiring, mk_client};
use crate::rotation::{assert_lives, claiming};
use crate::server::{Server, mk_rules};

/// How a stream ends that was told of everything.
async fn end(mut call: Call) -> (Code, String) {
    let status = call.next().await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_see_something_else_reconnects_who_may_see_nothing_is_refused_and_all_others_go_on() {
    let names = ["kept.example", "narrow.example", "wider.example", "gone.example"];
    let rules = names.map(|name| (name, &["infra/public"][..]));
    let server = Server::start(&rules).await;
    server.apply(&Update::to(1).cluster(mk_cluster("a")));
    let tls = names.map(|name| server.own.client(Some(&server.clients.issue(&mk_client(name)))));
    let mut kept = claiming(&server, tls[0].clone(), None).await.unwrap();
    let mut narrow = claiming(&server, tls[1].clone(), Some(&["infra/public"])).await.unwrap();
    let wider = claiming(&server, tls[2].clone(), None).await.unwrap();
    let gone = claiming(&server, tls[3].clone(), None).await.unwrap();

    let more = &["infra/public", "infra/more"][..];
    server.publisher.set_clients(mk_rules(&[(names[0], rules[0].1), (names[1], more), (names[2], more)]));

    let (code, reason) = end(wider).await;
    assert!(code == Code::Unavailable && reason.contains("please reconnect"), "{code:?} {reason}");
    let (code, reason) = end(gone).await;
    assert!(code == Code::PermissionDenied && reason.contains("no entry of xds.clients is for gone"), "{reason}");
    assert_lives(&server, &mut kept, 2).await;
    // It claimed no more than it had, and has it still.
    narrow.next().await.unwrap();
    claiming(&server, tls[2].clone(), Some(&["infra/more"])).await.unwrap();
    let refused = claiming(&server, tls[3].clone(), None).await.err().unwrap();
    assert!(refused.contains("no entry of xds.clients"), "{refused}");
    // What is said again changes nothing.
    server.publisher.set_clients(mk_rules(&[(names[0], rules[0].1), (names[1], more)]));
    assert_lives(&server, &mut kept, 3).await;
    assert_eq!(server.publisher.clients().len(), 2, "{:?}", server.publisher.clients());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_ends_its_stream_and_no_other() {
    let rule = |identity: &str| ClientRule::new(identity, &["*".to_owned()]).unwrap();
    let server = Server::start(&[]).await;
    server.publisher.set_clients(["short.example", "long.example"].map(rule).to_vec());
    server.apply(&Update::to(1).cluster(mk_cluster("a")));
    let issue = |name, valid| server.clients.issue(&expiring(mk_client(name), Duration::from_secs(valid)));
    let [short, long] =
        [("short.example", 6), ("long.example", 600)].map(|(name, valid)| server.own.client(Some(&issue(name, valid))));
    let expires = claiming(&server, short.clone(), None).await.unwrap();
    let mut goes_on = claiming(&server, long, None).await.unwrap();

    let (code, reason) = end(expires).await;

    assert_eq!(code, Code::Unauthenticated, "{reason}");
    assert!(reason.contains("short.example has expired") && reason.contains("reconnect"), "{reason}");
    assert_lives(&server, &mut goes_on, 2).await;
    assert!(claiming(&server, short, None).await.is_err(), "it cannot come back with it");
}
