//! Certificates are replaced while streams live.

use std::sync::Arc;

use rustls::ClientConfig;
use tidegate::publish::xds::{Kind, METHODS};

use crate::caller::{Call, SERVER, connect, mk_node};
use crate::model::{Update, mk_cluster};
use crate::pki::{Authority, Certificate, mk_client, mk_server, write_files};
use crate::server::Server;

const NAME: &str = "proxy.example";

/// A stream that has been told of the first cluster.
async fn stream(server: &Server, tls: Arc<ClientConfig>) -> Result<Call, String> {
    claiming(server, tls, None).await
}

/// The same of a client that claims some Gateways.
pub async fn claiming(server: &Server, tls: Arc<ClientConfig>, claim: Option<&[&str]>) -> Result<Call, String> {
    let channel = connect(server.address, Some(tls)).await?;
    let mut call = Call::open(channel, METHODS[0]).await.map_err(|status| status.to_string())?;
    call.ask(Some(mk_node(claim)), Kind::Cluster, &[]).await;
    let (version, nonce, _) = call.next().await.map_err(|status| status.to_string())?;
    call.accept(Kind::Cluster, &version, &nonce).await;
    Ok(call)
}

/// Asserts that a stream is told of a change.
pub async fn assert_lives(server: &Server, call: &mut Call, version: u64) {
    let mut cluster = mk_cluster("a");
    cluster.connect_timeout = std::time::Duration::from_secs(version);
    server.apply(&Update::to(version).cluster(cluster));
    let (version, nonce, resources) = call.next().await.unwrap();
    assert_eq!(resources.len(), 1);
    call.accept(Kind::Cluster, &version, &nonce).await;
}

/// Waits until a new stream is, or is not, to be had.
async fn until_new_streams(server: &Server, tls: &Arc<ClientConfig>, wanted: bool) {
    let deadline = tokio::time::Instant::now() + crate::caller::PATIENCE;
    while stream(server, tls.clone()).await.is_ok() != wanted {
        assert!(tokio::time::Instant::now() < deadline, "a new stream is to be had: {}", !wanted);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn mk_server_certificate(authority: &Authority) -> Certificate {
    authority.issue(&mk_server(SERVER))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_authorities_are_replaced_and_no_stream_ends() {
    let server = Server::start(&[(NAME, &["*"])]).await;
    server.apply(&Update::to(1).cluster(mk_cluster("a")));
    let (old_server, old_clients) = (&server.own, &server.clients);
    let certificate = old_clients.issue(&mk_client(NAME));
    let old = old_server.client(Some(&certificate));
    let mut first = stream(&server, old.clone()).await.unwrap();

    // The server's certificate, by another authority.
    let new_server = Authority::new();
    let shown = mk_server_certificate(&new_server);
    write_files(server.folder.path(), &shown, &old_clients.pem());
    let sees_new = new_server.client(Some(&certificate));
    until_new_streams(&server, &sees_new, true).await;
    until_new_streams(&server, &old, false).await;
    assert_lives(&server, &mut first, 2).await;

    // The clients' authority, step by step: both, then the new one alone.
    let new_clients = Authority::new();
    let fresh = new_server.client(Some(&new_clients.issue(&mk_client(NAME))));
    until_new_streams(&server, &fresh, false).await;
    write_files(server.folder.path(), &shown, &(old_clients.pem() + &new_clients.pem()));
    until_new_streams(&server, &fresh, true).await;
    until_new_streams(&server, &sees_new, true).await;
    let mut second = stream(&server, fresh.clone()).await.unwrap();
    assert_lives(&server, &mut second, 3).await;
    first.next().await.map(drop).unwrap();
    write_files(server.folder.path(), &shown, &new_clients.pem());
    until_new_streams(&server, &sees_new, false).await;
    until_new_streams(&server, &fresh, true).await;
    assert_lives(&server, &mut second, 4).await;
    assert!(server.problems.list().is_empty(), "{:?}", server.problems.list());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_do_not_go_together_are_told_and_change_nothing_until_they_are_mended() {
    let server = Server::start(&[(NAME, &["*"])]).await;
    server.apply(&Update::to(1).cluster(mk_cluster("a")));
    let good = server.own.client(Some(&server.clients.issue(&mk_client(NAME))));
    let shown = mk_server_certificate(&server.own);
    let secret = "bm90IGEga2V5LCBidXQgc2VjcmV0IGVub3VnaA";
    let broken = [
        (Certificate { key: mk_server_certificate(&server.own).key, ..shown.clone() }, "cannot be used together"),
        (Certificate { key: format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END\n"), ..shown.clone() }, "tls.key"),
        (Certificate { chain: String::new(), ..shown.clone() }, "holds no PEM certificate"),
    ];
    for (bad, word) in broken {
        write_files(server.folder.path(), &bad, &server.clients.pem());
        let told = |server: &Server| server.problems.list().iter().any(|(_, of)| of.reason.contains(word));
        server.until(word, told).await;
        let said = format!("{:?}", server.problems.list());
        assert!(said.contains("certificates that were good last") && !said.contains(&secret[..8]), "{said}");
        stream(&server, good.clone()).await.unwrap();
        write_files(server.folder.path(), &shown, &server.clients.pem());
        server.until("it is mended", |server| server.problems.list().is_empty()).await;
    }
    std::fs::remove_file(server.folder.path().join("ca.crt")).unwrap();
    server.until("ca.crt", |server| server.problems.list().iter().any(|(_, of)| of.reason.contains("ca.crt"))).await;
    stream(&server, good).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shakes_hands_with_nobody_holds_nobody_up() {
    let server = Server::start(&[(NAME, &["*"])]).await;
    server.apply(&Update::to(1).cluster(mk_cluster("a")));
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tokio::net::TcpStream::connect(server.address).await.unwrap());
    }
    let good = server.own.client(Some(&server.clients.issue(&mk_client(NAME))));
    let began = std::time::Instant::now();
    stream(&server, good).await.unwrap();
    // Far less than a handshake may take; who waited for one would wait for that long.
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
}
