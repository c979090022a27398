//! Connections: how many, and over what.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tidegate::source::kubernetes::{Access, KubernetesSource};
use tidegate::source::schema::Catalogue;
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::problem::Problems;
use tidegate_actors::source::Source as _;
use tidegate_apiserver::{ApiServer, Options};

use crate::rig::{PATIENCE, Rig, TOKEN, Told};
use crate::server::{Server, bookmark, thing};

/// More than one connection takes, and less than two do.
const WATCHES: usize = 100;

#[tokio::test]
async fn watches_share_connections_and_lists_have_their_own() {
    let rig = Rig::on(Server::start_tls(&["h2", "http/1.1"]).await, |options| options.streaming_lists = false);
    let mut open = Vec::new();
    for at in 0..WATCHES {
        let watch = rig.server.then_watch();
        watch.say(bookmark(&(at + 10).to_string()));
        let mut told = rig.open(Some("5"));
        assert_eq!(told.next(1).await, [format!("@{}", at + 10)]);
        open.push((watch, told));
    }
    assert_eq!(rig.server.accepted.load(Ordering::SeqCst), 2, "80 watches fit on one connection");
    rig.server.then_list("7", &[&thing("a", "3")]);
    rig.open(None).next(3).await;
    assert_eq!(rig.server.accepted.load(Ordering::SeqCst), 3);

    // Those that end make room.
    for (watch, told) in open.drain(..50) {
        drop(told);
        tokio::time::timeout(PATIENCE, watch.closed()).await.expect("the watch goes on at the server");
    }
    for _ in 0..50 {
        let watch = rig.server.then_watch();
        watch.say(bookmark("11"));
        let mut told = rig.open(Some("5"));
        told.next(1).await;
        open.push((watch, told));
    }
    assert_eq!(rig.server.accepted.load(Ordering::SeqCst), 3);
    assert!(rig.server.tokens().iter().all(|token| *token == format!("Bearer {TOKEN}")));
}

/// What one stream is told before it was told of an object.
async fn until_told(told: &mut Told, object: &str) {
    while told.next(1).await[0] != object {}
}

#[tokio::test]
async fn a_server_that_takes_few_requests_at_a_time_gets_more_connections_and_every_watch_is_told() {
    let api = ApiServer::start(Options { tls: true, max_streams: 7, ..Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let access = Access { kubeconfig: Some(kubeconfig), context: None };
    let options = tidegate::source::kubernetes::Options::new("c", access);
    let source = KubernetesSource::new(options, Env::system(), Problems::default(), Catalogue::new());
    let maps = ResourceType::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced);
    // All at once, so that none knows the limit when it takes its place.
    let mut open: Vec<Told> = (0..30).map(|_| Told::of(source.open(&maps, None))).collect();
    join_all(open.iter_mut().map(|told| told.next(2))).await;

    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "demo"}});
    api.put(&object).unwrap();

    join_all(open.iter_mut().map(|told| until_told(told, "+a"))).await;
    assert_eq!(api.connections(), 5, "thirty watches, seven on each");
    // Those that end make room.
    drop(open.split_off(20));
    let mut more = Told::of(source.open(&maps, None));
    until_told(&mut more, "=a").await;
    assert_eq!(api.connections_opened(), 5);
}

#[tokio::test]
async fn many_that_begin_at_once_make_one_connection() {
    let rig = Rig::on(Server::start_tls(&["h2"]).await, |_| {});
    let watches: Vec<_> = (0..50).map(|_| rig.server.then_watch()).collect();
    watches.iter().for_each(|watch| {
        watch.say(bookmark("11"));
    });
    let all = (0..50).map(|_| async {
        let mut told = rig.open(Some("5"));
        told.next(1).await;
        told
    });
    let open = futures::future::join_all(all).await;
    assert_eq!((open.len(), rig.server.accepted.load(Ordering::SeqCst)), (50, 1));
}

#[tokio::test]
async fn a_server_without_http2_is_talked_to_all_the_same() {
    for protocols in [&["http/1.1"][..], &[]] {
        let rig = Rig::on(Server::start_tls(protocols).await, |options| options.streaming_lists = false);
        rig.server.then_list("7", &[&thing("a", "3")]);
        let watch = rig.server.then_watch();
        watch.say(bookmark("8"));
        assert_eq!(rig.open(None).next(4).await, ["Init", "=a", "Done 7", "@8"]);
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_in_time_is_given_up() {
    // It accepts, and then says nothing: no TLS begins.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::start_tls(&["h2"]).await;
    server.address = silent.local_addr().unwrap();
    let rig = Rig::on(server, |options| options.connect_timeout = Duration::from_millis(50));
    let (_, error) = rig.open(Some("5")).end().await;
    assert!(error.to_string().contains("after 50ms"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let mut server = Server::start_tls(&["h2"]).await;
    server.authority = Server::start_tls(&["h2"]).await.authority;
    let rig = Rig::on(server, |_| {});
    let (_, error) = rig.open(Some("5")).end().await;
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(rig.server.asked(), Vec::<String>::new());
}
