//! Many clients at once: what one of them costs the others, and what a reconnect of all of them costs.

use std::collections::BTreeMap;

use futures::future::join_all;
use tidegate::publish::xds::Kind;

use crate::Server;
use crate::client::{DeltaClient, added, mk_node};
use crate::model::*;

const CLIENTS: usize = 200;
const SERVICES: usize = 20;
const TABLE: &str = "http/127.0.0.1:8080";
/// By type URL and name: versions.
type Has = BTreeMap<(String, String), String>;

fn mk_service_name(n: usize) -> String {
    format!("test/apps/s{n}/80")
}

fn mk_address(version: u64) -> std::net::SocketAddr {
    format!("10.0.0.1:{version}").parse().unwrap()
}

/// A listener, and Services with a host each.
fn mk_world() -> Update {
    let update = Update::to(1).listener(mk_http_listener(8080, &["public"]));
    (0..SERVICES).fold(update, |update, n| {
        let name = format!("s{n}");
        let host = mk_host(&mk_table(8080), &format!("{name}.example.com"), [mk_route_to(&name)]);
        update.service(&name, &[mk_address(1)]).host(host)
    })
}

/// Asks for everything, as a proxy does, with what it has from an earlier stream.
async fn ask(client: &mut DeltaClient, has: &Has) {
    let services: Vec<String> = (0..SERVICES).map(mk_service_name).collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    for (kind, names) in [
        (Kind::Cluster, &[][..]),
        (Kind::Endpoints, &services),
        (Kind::Listener, &[]),
        (Kind::RouteConfig, &[TABLE]),
        (Kind::VirtualHost, &[]),
    ] {
        client.resume(kind, names, has).await;
    }
}

async fn start(server: &Server, n: usize) -> DeltaClient {
    DeltaClient::start(server.address, mk_node(&format!("client-{n}"), None)).await
}

/// Clients that have everything, a cluster, its endpoints and its host for each Service.
async fn mk_settled(server: &Server) -> Vec<DeltaClient> {
    let all = 3 * SERVICES + "listener, table, sentinel".split(' ').count();
    let settled = (0..CLIENTS).map(|n| async move {
        let mut client = start(server, n).await;
        ask(&mut client, &Has::new()).await;
        while client.has.len() < all {
            client.step(|_| false).await;
        }
        client
    });
    join_all(settled).await
}

#[tokio::test]
async fn clients_that_reconnect_all_at_once_are_sent_what_changed_and_nothing_else() {
    let server = Server::start().await;
    server.apply(mk_world());
    let clients = mk_settled(&server).await;
    let all: Vec<Has> = clients.into_iter().map(|client| client.has).collect();
    let gone = format!("{TABLE}/s5.example.com");
    let changes = Update::to(2).endpoints(mk_endpoints("s3", &[mk_address(2)]));
    server.apply(changes.no_host(&mk_table(8080), "s5.example.com"));

    let server = &server;
    let back = all.iter().enumerate().map(|(n, has)| async move {
        let mut client = start(server, n).await;
        ask(&mut client, has).await;
        // What everything was asked of is answered even if there is nothing to say.
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(client.step(|_| false).await);
        }
        (client, told)
    });
    let mut back = join_all(back).await;
    for (client, told) in &back {
        let resources: Vec<&str> = told.iter().flat_map(added).collect();
        assert_eq!(resources, [mk_service_name(3)], "{:?}", client.has);
        let removed: Vec<&String> = told.iter().flat_map(|response| &response.removed_resources).collect();
        assert_eq!(removed, [&gone]);
    }

    // Whatever else it had been sent would come before this.
    server.apply(Update::to(3).host(mk_host(&mk_table(8080), "s7.example.com", [])));
    for (client, _) in &mut back {
        let next = client.step(|_| false).await;
        assert_eq!((added(&next), next.removed_resources.len()), (vec![&*format!("{TABLE}/s7.example.com")], 0));
    }
    server
        .until("all are live", |server| server.publisher.clients().iter().all(|client| client.live_version == 3))
        .await;
}

#[tokio::test]
async fn a_tenth_of_the_clients_may_stall_and_costs_an_entry_a_name_and_nobodys_time() {
    const LAST: u64 = 12;
    let server = Server::start().await;
    server.apply(mk_world());
    let mut clients = mk_settled(&server).await;
    let mut stalled = clients.split_off(CLIENTS - CLIENTS / 10);
    server
        .until("all are live", |server| server.publisher.clients().iter().all(|client| client.live_version == 1))
        .await;
    for version in 2..=LAST {
        let update = (0..SERVICES)
            .fold(Update::to(version), |all, n| all.endpoints(mk_endpoints(&format!("s{n}"), &[mk_address(version)])));
        server.apply(update);
        // Each of the others has this version, and each of its changes once, before there is another.
        let steps = clients.iter_mut().map(|client| client.step(|_| false));
        for change in join_all(steps).await {
            assert_eq!(added(&change).len(), SERVICES);
        }
    }
    let names: Vec<String> = (CLIENTS - CLIENTS / 10..CLIENTS).map(|n| format!("client-{n}")).collect();
    for status in server.publisher.clients().iter().filter(|status| names.contains(&status.node)) {
        let endpoints = status.types.iter().find(|state| state.kind == "eds").unwrap();
        assert!(endpoints.in_flight && endpoints.pending <= SERVICES, "{endpoints:?}");
        assert_eq!(status.live_version, 1);
    }
    // When it goes on it has two things to read: what it was sent long ago, and how things are now.
    for client in &mut stalled {
        client.step(|_| false).await;
        client.step(|_| false).await;
        assert_eq!(client.has, clients[0].has);
    }
    server
        .until("all are live", |server| server.publisher.clients().iter().all(|client| client.live_version == LAST))
        .await;
}
