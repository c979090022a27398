//! A real Envoy that shows a certificate, and is led through rotations of everybody's.

use std::path::Path;
use std::time::Duration;

use tidegate::demo::echo::EchoBackend;
use tidegate::model::PathMatch;
use tidegate::proxy::bootstrap::{TlsOptions, XdsAddress};

use crate::envoy::{PATIENCE, TestEnvoy, eventually, get, loopback};
use crate::model::*;
use crate::pki::{Authority, Certificate, mk_client, mk_server, write_files};
use crate::ports::free_port;
use crate::server::Server;

const NAME: &str = "spiffe://cluster.local/ns/proxies/sa/envoy";

/// Writes what an Envoy shows, and whom it trusts.
fn write_tls(folder: &Path, shown: &Certificate, trusted: &str) -> TlsOptions {
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    TlsOptions {
        certificate: file("tls.crt", &shown.chain),
        key: file("tls.key", &shown.key),
        ca: file("ca.crt", trusted),
        san: None,
    }
}

/// An Envoy that asks a server with a certificate, and takes the server only by its address or another name.
fn mk_envoy(server: &Server, folder: &Path, shown: &Certificate, san: Option<&str>, gateways: &[&str]) -> TestEnvoy {
    let tls = write_tls(folder, shown, &server.own.pem());
    let xds = XdsAddress::Tcp { host: server.address.ip().to_string(), port: server.address.port() };
    TestEnvoy::start(xds, |options| {
        options.tls = Some(TlsOptions { san: san.map(str::to_owned), ..tls });
        options.gateways = gateways.iter().map(ToString::to_string).collect();
    })
}

/// The routes of the one listener: all paths, and one that says which version it is.
fn mk_routes(port: u16, version: u64) -> crate::model::Update {
    let path = PathMatch::Exact(format!("/v{version}").into());
    let routes = [mk_route("versioned", path, mk_forward("a"))];
    Update::to(version).host(mk_host(&mk_table(port), "a.example.com", routes))
}

/// Waits until a version is live.
async fn until_live(port: u16, version: u64, envoy: &TestEnvoy) {
    let attempt = || async {
        match get(loopback(port), "a.example.com", &format!("/v{version}")).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}\n{}", envoy.log())),
        }
    };
    eventually(&format!("version {version} is live"), PATIENCE, attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_envoy_with_a_certificate_is_served_through_every_rotation_over_one_stream() {
    let server = Server::start(&[(NAME, &["infra/public"])]).await;
    let by_address = |authority: &Authority| authority.issue(&mk_server("127.0.0.1"));
    write_files(server.folder.path(), &by_address(&server.own), &server.clients.pem());
    let backend = EchoBackend::start("a", loopback(0)).await.unwrap();
    let port = free_port();
    let first = mk_routes(port, 1).listener(mk_http_listener(port, &["public"])).service("a", &[backend.address()]);
    server.apply(&first);
    let folder = tempfile::tempdir().unwrap();
    // The server may still show the certificate that it was started with; Envoy tries again until it does not.
    let envoy = mk_envoy(&server, folder.path(), &server.clients.issue(&mk_client(NAME)), None, &["infra/public"]);
    envoy.wait_live().await;
    until_live(port, 1, &envoy).await;
    let [client] = &server.publisher.clients()[..] else { panic!("one client") };
    assert_eq!((client.identity.as_deref(), &client.gateways), (Some(NAME), &Some(vec!["infra/public".to_owned()])));
    let stream = client.id;

    // Another certificate of the server's; another authority of the clients'; and nobody has to come again for it.
    let other = Authority::new();
    let rotations = [
        (by_address(&server.own), server.clients.pem()),
        (by_address(&server.own), server.clients.pem() + &other.pem()),
        (by_address(&server.own), other.pem()),
    ];
    for ((shown, authorities), version) in rotations.iter().zip(2..) {
        write_files(server.folder.path(), shown, authorities);
        // Past the moment at which the files are looked at.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.apply(&mk_routes(port, version));
        until_live(port, version, &envoy).await;
        let clients: Vec<u64> = server.publisher.clients().iter().map(|client| client.id).collect();
        assert_eq!(clients, [stream], "the stream is the same");
    }
    assert!(server.problems.list().is_empty(), "{:?}", server.problems.list());

    // Only now that the old authority is gone, who comes new with its certificate is refused, and with the new one not.
    let late = tempfile::tempdir().unwrap();
    let old = mk_envoy(&server, late.path(), &server.clients.issue(&mk_client(NAME)), None, &[]);
    old.wait_started().await;
    let refused = || async {
        let failed = old.stat("cluster.tidegate-xds.upstream_cx_connect_fail").await
            + old.stat("cluster.tidegate-xds.ssl.connection_error").await
            + old.stat("cluster.tidegate-xds.upstream_cx_destroy_remote").await;
        if failed > 0 { Ok(()) } else { Err(old.log()) }
    };
    eventually("the old certificate is refused", PATIENCE, refused).await;
    assert_eq!(server.publisher.clients().len(), 1);
    let fresh = tempfile::tempdir().unwrap();
    let new = mk_envoy(&server, fresh.path(), &other.issue(&mk_client(NAME)), None, &[]);
    server.until("the new certificate is taken", |server| server.publisher.clients().len() == 2).await;
    drop((old, new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn an_envoy_trusts_no_server_by_another_name_and_gets_no_gateway_of_anothers() {
    let server = Server::start(&[(NAME, &["infra/public"])]).await;
    let shown = server.own.issue(&mk_server("127.0.0.1"));
    write_files(server.folder.path(), &shown, &server.clients.pem());
    server.apply(&Update::to(1).service("a", &[]));
    let certificate = server.clients.issue(&mk_client(NAME));
    let [doubtful, greedy] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let doubtful = mk_envoy(&server, doubtful.path(), &certificate, Some("another.example"), &[]);
    let greedy = mk_envoy(&server, greedy.path(), &certificate, None, &["infra/private"]);
    for envoy in [&doubtful, &greedy] {
        envoy.wait_started().await;
    }
    let doubts = || async {
        let log = doubtful.log();
        if log.contains("CERTIFICATE_VERIFY_FAILED") { Ok(()) } else { Err(log) }
    };
    eventually("a server by another name is not trusted", PATIENCE, doubts).await;
    let told = || async {
        // As gRPC writes a message.
        let log = greedy.log().replace("%20", " ");
        if log.contains("may not see the Gateway infra/private") { Ok(()) } else { Err(log) }
    };
    eventually("a claim of another Gateway is refused, and Envoy says so", PATIENCE, told).await;
    assert_eq!(greedy.stat("cluster_manager.cds.update_success").await, 0);
    assert_eq!(doubtful.stat("cluster_manager.cds.update_success").await, 0);
}
