//! The server as a whole: away, paused, restarted, back in time, with a stale replica, over TLS and HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tidegate_apiserver::Options;
use tokio::net::TcpStream;

use crate::rig::{PATIENCE, Watch, client, get, mk_config_map, names, plain, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_stopped_server_refuses_connections_and_comes_back_on_its_port() {
    let (server, client) = plain().await;
    let from = server.put(&mk_config_map("a", "1")).unwrap();
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    let url = server.url();
    server.stop().await;
    assert!(watch.line().await.is_none_or(|line| line.is_err()));
    let address = url.strip_prefix("http://").unwrap();
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    server.start_again().await.unwrap();
    assert_eq!(server.url(), url);
    let (_, list) = get(&client, MAPS).await;
    assert_eq!(names(&list), ["a"]);
}

#[tokio::test]
async fn after_a_restart_no_watch_starts_in_the_past() {
    let (server, client) = plain().await;
    let from = server.put(&mk_config_map("a", "1")).unwrap();
    let last = server.put(&mk_config_map("a", "2")).unwrap();
    server.restart().await.unwrap();
    let mut late = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    assert_eq!(late.event().await["object"]["code"], 410);
    let mut fresh = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={last}")).await;
    assert!(fresh.is_silent().await);
}

#[tokio::test]
async fn a_paused_server_says_nothing_and_ends_nothing() {
    let (server, client) = plain().await;
    let from = server.put(&mk_config_map("a", "1")).unwrap();
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    server.pause();
    let second = server.put(&mk_config_map("a", "2")).unwrap();
    assert!(watch.is_silent().await);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { get(&client, MAPS).await.0 }
    });
    server.resume();
    assert_eq!(watch.short().await, format!("MODIFIED a@{second}"));
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_restored_snapshot_is_the_state_and_the_counter_of_then() {
    let (server, client) = plain().await;
    server.put(&mk_config_map("a", "1")).unwrap();
    let snapshot = server.snapshot();
    let later = server.put(&mk_config_map("b", "1")).unwrap();
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={later}")).await;
    server.restore(&snapshot);
    assert!(watch.ends().await);
    assert_eq!(server.revision(), snapshot.revision());
    let (_, list) = get(&client, MAPS).await;
    assert_eq!(names(&list), ["a"]);
    assert_eq!(list["metadata"]["resourceVersion"], snapshot.revision().to_string());
    let again = server.put(&mk_config_map("c", "1")).unwrap();
    assert_eq!(again, later, "versions are given out a second time");
}

#[tokio::test]
async fn a_frozen_replica_shows_the_past_and_catches_up() {
    let replica = Some("127.0.0.1:0".parse().unwrap());
    let (server, _) = start(Options { replica, ..Options::default() }).await;
    assert_ne!(server.url(), server.replica_url());
    let stale = client(&server.replica_kubeconfig()).await;
    let first = server.put(&mk_config_map("a", "1")).unwrap();
    server.freeze();
    let second = server.put(&mk_config_map("a", "2")).unwrap();
    let (_, cached) = get(&stale, &format!("{MAPS}?resourceVersion=0")).await;
    assert_eq!(cached["items"][0]["data"]["value"], "1");
    assert_eq!(cached["metadata"]["resourceVersion"], first.to_string());
    let (_, consistent) = get(&stale, MAPS).await;
    assert_eq!(consistent["items"][0]["data"]["value"], "2", "the storage is not stale");
    assert_eq!(get(&stale, &format!("{MAPS}?resourceVersion={second}")).await.0, 504);
    let mut watch = Watch::open(&stale, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    assert!(watch.is_silent().await);
    server.thaw();
    assert_eq!(watch.short().await, format!("MODIFIED a@{second}"));

    server.freeze_without_storage();
    server.put(&mk_config_map("a", "3")).unwrap();
    assert_eq!(get(&stale, MAPS).await.0, 504);
}

/// Over HTTP/2: the body of a GET, and whether a watch on the same connection sees the write that follows.
async fn converse(
    stream: impl tidegate_actors::env::Connection + 'static,
    authority: &str,
    server: &tidegate_apiserver::ApiServer,
) {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |path: String| {
        let request = http::Request::get(format!("http://{authority}{path}")).body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap()
    };
    let from = server.revision();
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(ask(format!("{MAPS}?watch=true&resourceVersion={from}")).await.into_body());
    }
    let list = ask(MAPS.to_owned()).await.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["kind"], "ConfigMapList");
    server.put(&mk_config_map("h2", "1")).unwrap();
    for watch in &mut watches {
        let frame = tokio::time::timeout(PATIENCE, watch.frame()).await.unwrap().unwrap().unwrap();
        assert!(frame.into_data().unwrap().starts_with(b"{\"type\":\"ADDED\""));
    }
    assert_eq!(server.connections(), 1);
    assert!(server.requests().iter().all(|request| request.http2 && request.connection == 1));
}

#[tokio::test]
async fn one_connection_of_http2_carries_many_watches_in_plain_text() {
    let (server, _) = plain().await;
    let authority = server.url().strip_prefix("http://").unwrap().to_owned();
    converse(TcpStream::connect(&authority).await.unwrap(), &authority, &server).await;
}

#[tokio::test]
async fn http2_is_agreed_on_over_tls() {
    let (server, _) = start(Options { tls: true, ..Options::default() }).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority().unwrap().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let authority = server.url().strip_prefix("https://").unwrap().to_owned();
    let stream = TcpStream::connect(&authority).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    converse(stream, &authority, &server).await;
}

#[tokio::test]
async fn kubes_client_speaks_tls_with_the_kubeconfigs_authority() {
    let (server, client) = start(Options { tls: true, ..Options::default() }).await;
    server.put(&mk_config_map("a", "1")).unwrap();
    assert_eq!(names(&get(&client, MAPS).await.1), ["a"]);
}

#[tokio::test]
async fn the_log_says_who_asked_for_what_and_what_they_got() {
    let (server, client) = plain().await;
    get(&client, &format!("{MAPS}?limit=1")).await;
    get(&client, &format!("{MAPS}/none")).await;
    let requests = server.requests();
    let seen: Vec<(&str, &str, &str, u16)> = requests
        .iter()
        .map(|request| (request.verb.as_str(), request.path.as_str(), request.query.as_str(), request.status))
        .collect();
    assert_eq!(seen, [("list", MAPS, "limit=1", 200), ("get", &format!("{MAPS}/none"), "", 404)]);
    assert_eq!(server.connections_opened(), 1, "the second goes over the first's connection");
    server.forget_requests();
    assert!(server.requests().is_empty());
}
