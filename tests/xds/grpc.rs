//! The protocol over the network.

use std::time::Duration;

use tidegate::publish::xds::{Kind, Options};
use tonic::Code;

use crate::Server;
use crate::client::{DEADLINE, DeltaClient, SotwClient, added, connect, mk_node};
use crate::model::*;

const A: &str = "test/apps/a/80";
const B: &str = "test/apps/b/80";

fn mk_a(version: u64) -> Update {
    Update::to(version)
        .service("a", &["10.0.0.1:80".parse().unwrap()])
        .listener(mk_http_listener(8080, &["public"]))
        .host(mk_host(&mk_table(8080), "a.example.com", [mk_route_to("a")]))
}

#[tokio::test]
async fn a_delta_client_is_told_everything_in_order_and_then_small_changes() {
    let server = Server::start().await;
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Cluster, &[]).await;
    client.subscribe(Kind::Listener, &[]).await;
    server.until("it is connected", |server| server.publisher.clients().len() == 1).await;
    assert!(!server.publisher.is_ready());
    server.apply(mk_a(1));
    server.publisher.ready().await;
    let [clusters, listeners] = [client.step(|_| false).await, client.step(|_| false).await];
    assert_eq!((clusters.type_url.as_str(), added(&clusters)), (Kind::Cluster.type_url(), vec![A]));
    assert_eq!((listeners.type_url.as_str(), added(&listeners)), (Kind::Listener.type_url(), vec!["127.0.0.1:8080"]));
    client.subscribe(Kind::Endpoints, &[A]).await;
    assert_eq!(added(&client.step(|_| false).await), [A]);
    client.subscribe(Kind::RouteConfig, &["http/127.0.0.1:8080"]).await;
    client.step(|_| false).await;
    client.subscribe(Kind::VirtualHost, &[]).await;
    assert_eq!(added(&client.step(|_| false).await).len(), 2, "the host and the sentinel");
    server.until("it confirms", |server| server.publisher.clients()[0].live_version == 1).await;
    server.apply(Update::to(2).host(mk_host(&mk_table(8080), "b.example.com", [mk_route_to("a")])));
    let change = client.step(|_| false).await;
    assert_eq!(added(&change), ["http/127.0.0.1:8080/b.example.com"]);
    server.until("it confirms", |server| server.publisher.clients()[0].live_version == 2).await;
}

#[tokio::test]
async fn a_rejected_resource_is_found_told_on_its_object_and_harms_no_other_client() {
    let server = Server::start().await;
    server.apply((0..12).fold(Update::to(1), |update, n| update.service(&format!("s{n}"), &[])));
    let bad = |name: &str| name == "test/apps/s5/80";
    let mut picky = DeltaClient::start(server.address, mk_node("picky", None)).await;
    let mut easy = DeltaClient::start(server.address, mk_node("easy", None)).await;
    easy.subscribe(Kind::Cluster, &[]).await;
    assert_eq!(easy.step(|_| false).await.resources.len(), 12);
    picky.subscribe(Kind::Cluster, &[]).await;
    while picky.names(Kind::Cluster).len() < 11 || server.problems().is_empty() {
        picky.step(bad).await;
        server
            .until("it is answered", |server| {
                let clients = server.publisher.clients();
                let state = &clients.iter().find(|client| client.node == "picky").unwrap().types[0];
                state.in_flight || !state.held_back.is_empty()
            })
            .await;
    }
    let problems = server.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].0.as_str(), problems[0].1.as_str()), ("xds/picky", "s5"));
    assert!(problems[0].2.contains("it is bad"), "{problems:?}");
    let mut mended = mk_cluster("s5");
    mended.connect_timeout = Duration::from_secs(7);
    server.apply(Update::to(2).cluster(mended));
    loop {
        let names = picky.step(|_| false).await;
        if added(&names) == ["test/apps/s5/80"] {
            break;
        }
    }
    server.until("the problem is gone", |server| server.problems().is_empty()).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_problems_with_it() {
    let server = Server::start().await;
    server.apply(Update::to(1).service("a", &[]));
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Cluster, &[]).await;
    client.step(|_| true).await;
    server.until("it is told", |server| server.problems().len() == 1).await;
    drop(client);
    server.until("it is gone", |server| server.problems().is_empty() && server.publisher.clients().is_empty()).await;
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_the_difference() {
    let server = Server::start().await;
    server.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Endpoints, &[A, B]).await;
    client.step(|_| false).await;
    let has = std::mem::take(&mut client.has);
    drop(client);
    server.apply(Update::to(2).no_service("a").service("c", &[]));
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.resume(Kind::Endpoints, &[A, B, "test/apps/c/80"], &has).await;
    let response = client.next().await;
    assert_eq!(added(&response), ["test/apps/c/80"]);
    assert_eq!(response.removed_resources, [A]);
}

#[tokio::test]
async fn unsubscribing_ends_and_subscribing_again_resends() {
    let server = Server::start().await;
    server.apply(Update::to(1).service("a", &[]).service("b", &[]));
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Endpoints, &[A, B]).await;
    client.step(|_| false).await;
    client.unsubscribe(Kind::Endpoints, &[A]).await;
    server.until("it is unsubscribed", |server| server.publisher.clients()[0].types[0].subscribed == 1).await;
    let change = |version| {
        let address = format!("10.0.0.1:{version}").parse().unwrap();
        Update::to(version).service("a", &[address]).service("b", &[address])
    };
    server.apply(change(2));
    assert_eq!(added(&client.step(|_| false).await), [B]);
    client.subscribe(Kind::Endpoints, &[A]).await;
    assert_eq!(added(&client.step(|_| false).await), [A]);
}

#[tokio::test]
async fn a_client_that_stalls_costs_bounded_memory_and_nobody_elses_time() {
    let server = Server::start().await;
    server.apply(Update::to(1).service("a", &[]));
    let mut stalled = DeltaClient::start(server.address, mk_node("stalled", None)).await;
    let mut other = DeltaClient::start(server.address, mk_node("other", None)).await;
    for client in [&mut stalled, &mut other] {
        client.subscribe(Kind::Endpoints, &[A]).await;
    }
    other.step(|_| false).await;
    for version in 2..300_u16 {
        let address = format!("10.0.0.1:{version}").parse().unwrap();
        server.apply(Update::to(version.into()).service("a", &[address]));
        other.step(|_| false).await;
    }
    let clients = server.publisher.clients();
    let stalled = clients.iter().find(|client| client.node == "stalled").unwrap();
    assert!(stalled.types[0].in_flight && stalled.types[0].pending <= 1, "{stalled:?}");
    assert!(stalled.live_version < 2);
}

#[tokio::test]
async fn a_client_with_a_scope_is_sent_its_gateways_alone() {
    let server = Server::start().await;
    let mut other = mk_cluster("b");
    other.gateways = [mk_gateway("other")].into();
    server.apply(Update::to(1).service("a", &[]).cluster(other));
    let mut client = DeltaClient::start(server.address, mk_node("one", Some(&["infra/other"]))).await;
    client.subscribe(Kind::Cluster, &[]).await;
    assert_eq!(added(&client.next().await), [B]);
    assert_eq!(server.publisher.clients()[0].gateways, Some(vec!["infra/other".to_owned()]));
}

#[tokio::test]
async fn a_client_without_a_scope_is_refused_where_that_is_not_allowed() {
    let server = Server::with(Options { allow_all: false, ..Options::default() }).await;
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Cluster, &[]).await;
    let status = client.try_next().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("tidegate.gateways"), "{status}");
}

#[tokio::test]
async fn limits_are_kept_and_say_which_they_are() {
    let options = Options { max_clients: 1, max_subscriptions: 2, max_request_bytes: 1_000, ..Options::default() };
    let server = Server::with(options).await;
    server.apply(Update::to(1));
    let mut first = DeltaClient::start(server.address, mk_node("one", None)).await;
    let mut refused = connect(server.address).await;
    let status = refused.delta_aggregated_resources(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("xds.max_clients"), "{status}");
    first.subscribe(Kind::Endpoints, &["a", "b", "c"]).await;
    let status = first.try_next().await.unwrap_err();
    assert!(status.message().contains("xds.max_subscriptions"), "{status}");
    server.until("there is room again", |server| server.publisher.clients().is_empty()).await;
    let mut second = DeltaClient::start(server.address, mk_node(&"x".repeat(2_000), None)).await;
    second.subscribe(Kind::Cluster, &[]).await;
    let status = second.try_next().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("xds.max_request_size"), "{status}");
    server.until("there is room again", |server| server.publisher.clients().is_empty()).await;
    // The same in the middle of a stream, where nothing is lost but that stream.
    let mut third = DeltaClient::start(server.address, mk_node("one", None)).await;
    third.subscribe(Kind::Endpoints, &["a"]).await;
    third.step(|_| false).await;
    third.subscribe(Kind::Endpoints, &[&"x".repeat(2_000)]).await;
    let status = third.try_next().await.unwrap_err();
    assert!(status.message().contains("xds.max_request_size"), "{status}");
}

#[tokio::test]
async fn a_client_that_never_says_who_it_is_loses_its_seat() {
    let options = Options { max_clients: 1, first_request: Duration::from_millis(50), ..Options::default() };
    let server = Server::with(options).await;
    server.apply(Update::to(1).service("a", &[]));
    let mut silent = connect(server.address).await;
    let answer = silent.delta_aggregated_resources(tokio_stream::pending()).await.unwrap();
    assert_eq!(server.publisher.clients().len(), 1, "it has the only seat");
    let mut answer = answer.into_inner();
    let status = tokio::time::timeout(DEADLINE, answer.message()).await.expect("an end").unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("no request came within 50ms"), "{status}");
    server.until("its seat is free", |server| server.publisher.clients().is_empty()).await;

    // Who has said it may be silent for as long as it likes.
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Cluster, &[]).await;
    client.step(|_| false).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.apply(Update::to(2).service("b", &[]));
    assert_eq!(added(&client.step(|_| false).await), [B]);
}

#[tokio::test]
async fn a_state_of_the_world_client_is_sent_whole_tables() {
    let server = Server::start().await;
    server.apply(mk_a(1));
    let mut client = SotwClient::start(server.address, mk_node("one", None)).await;
    client.ask(Kind::Cluster, &[], None).await;
    let clusters = client.next().await;
    client.ask(Kind::Cluster, &[], Some(&clusters)).await;
    client.ask(Kind::Endpoints, &[A], None).await;
    let endpoints = client.next().await;
    client.ask(Kind::Endpoints, &[A], Some(&endpoints)).await;
    client.ask(Kind::RouteConfig, &["http/127.0.0.1:8080"], None).await;
    let tables = client.next().await;
    assert_eq!(tables.resources.len(), 1);
    let table = String::from_utf8_lossy(&tables.resources[0].value);
    assert!(table.contains("a.example.com"));
    client.ask(Kind::RouteConfig, &["http/127.0.0.1:8080"], Some(&tables)).await;
    server.until("it confirms", |server| server.publisher.clients()[0].live_version == 1).await;
}

#[tokio::test]
async fn a_server_that_stops_tells_its_clients_to_reconnect() {
    let mut server = Server::start().await;
    server.apply(Update::to(1));
    let mut client = DeltaClient::start(server.address, mk_node("one", None)).await;
    client.subscribe(Kind::Cluster, &[]).await;
    client.step(|_| false).await;
    server.stop.cancel();
    assert_eq!(client.try_next().await.unwrap_err().code(), Code::Unavailable);
    drop(client);
    (&mut server.run).await.unwrap().unwrap();
    assert!(server.publisher.clients().is_empty());
}

#[tokio::test]
async fn a_unix_socket_of_a_dead_process_is_taken_over_and_one_of_a_living_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xds.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options = Options { unix: Some(path.clone()), ..Options::default() };
    let mut server = Server::with(options.clone()).await;
    let publisher = tidegate::publish::xds::XdsPublisher::new(
        options,
        server.problems.clone(),
        tidegate_actors::env::Env::system(),
    );
    let error = tidegate::publish::xds::XdsServer::bind(&publisher).await.err().unwrap();
    assert!(error.to_string().contains("another process answers on it"), "{error}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    server.stop.cancel();
    (&mut server.run).await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_route_to_nowhere_and_a_missing_certificate_are_warnings_until_they_are_there() {
    let server = Server::start().await;
    let mut listener = mk_http_listener(8443, &["public"]);
    listener.chains = vec![mk_https_chain("public", "web", &[], &["cert"])];
    server.apply(mk_a(1).listener(listener).no_service("a"));
    let problems = server.problems();
    let named: Vec<_> = problems.iter().map(|(scope, name, _)| (scope.as_str(), name.as_str())).collect();
    assert_eq!(named, [("xds/check", "a"), ("xds/check", "public")], "{problems:?}");
    assert!(problems[0].2.contains(A) && problems[1].2.contains("test/apps/cert"));
    server.apply(Update::to(2).service("a", &[]).secret(mk_secret("cert", "", "")));
    assert_eq!(server.problems(), []);
}
