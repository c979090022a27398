//! What `/metrics` says of proxies: a known change, then the values.

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use metrics_exporter_prometheus::PrometheusHandle;
use prost::Message as _;
use tidegate::admin::metrics::{recorder, render};
use tidegate::publish::xds::{Kind, Options};
use tidegate_actors::problem::{Problem, Problems, Serving};
use tokio::time::Instant;

use crate::Server;
use crate::client::{DEADLINE, DeltaClient, connect, mk_node};
use crate::model::*;

/// The value of a metric with its labels; 0 if it was never recorded.
fn value(metrics: &PrometheusHandle, name: &str) -> f64 {
    let text = render(metrics);
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(found, _)| *found == name).map_or(0.0, |(_, value)| value.parse().unwrap())
}

fn size(response: &DeltaDiscoveryResponse) -> f64 {
    response.encoded_len() as f64
}

// One thread: what is recorded on it goes to the recorder of this test alone.
#[tokio::test]
async fn pushes_answers_clients_and_the_time_to_an_ack_are_counted() {
    let recorder = recorder().unwrap();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let now = |name: &str| value(&metrics, name);
    let server = Server::start().await;

    // A change that has been under way for two seconds when it is published.
    let mut first = Update::to(1).service("a", &[]).service("b", &[]);
    first.0.since = Some(Instant::now() - Duration::from_secs(2));
    let mut one = DeltaClient::start(server.address, mk_node("one", None)).await;
    one.subscribe(Kind::Cluster, &[]).await;
    server
        .until("it has subscribed", |server| {
            server.publisher.clients().first().is_some_and(|client| client.types.len() == 1)
        })
        .await;
    assert_eq!(now("tidegate_xds_clients"), 1.0);
    assert_eq!(now("tidegate_xds_pushes_total{type=\"cds\"}"), 0.0, "nothing is there to be pushed");
    server.apply(first);
    let pushed = one.next().await;
    assert_eq!(now("tidegate_xds_pushes_total{type=\"cds\"}"), 1.0);
    assert_eq!(now("tidegate_xds_bytes_total{type=\"cds\"}"), size(&pushed));
    assert_eq!(now("tidegate_xds_acks_total{type=\"cds\"}"), 0.0, "it has not answered");
    one.ack(&pushed).await;
    server.until("it has accepted", |_| now("tidegate_xds_acks_total{type=\"cds\"}") == 1.0).await;
    assert_eq!(now("tidegate_xds_event_to_ack_seconds_count{type=\"cds\"}"), 1.0);
    let took = now("tidegate_xds_event_to_ack_seconds_sum{type=\"cds\"}");
    assert!((2.0..30.0).contains(&took), "{took} s from the change to its ACK");
    assert_eq!(now("tidegate_xds_event_to_ack_seconds_bucket{type=\"cds\",le=\"1\"}"), 0.0);
    assert_eq!(now("tidegate_xds_event_to_ack_seconds_bucket{type=\"cds\",le=\"+Inf\"}"), 1.0);

    // What is rejected is no ACK, and has no time to one.
    let mut worse = mk_cluster("b");
    worse.connect_timeout = Duration::from_secs(7);
    server.apply(Update::to(2).cluster(worse));
    let rejected = one.step(|_| true).await;
    server.until("it has rejected", |_| now("tidegate_xds_nacks_total{type=\"cds\"}") == 1.0).await;
    assert_eq!(now("tidegate_xds_held_back"), 1.0);
    assert_eq!(now("tidegate_xds_acks_total{type=\"cds\"}"), 1.0);
    assert_eq!(now("tidegate_xds_event_to_ack_seconds_count{type=\"cds\"}"), 1.0);
    assert_eq!(now("tidegate_xds_bytes_total{type=\"cds\"}"), size(&pushed) + size(&rejected));

    server.apply(Update::to(3).cluster(mk_cluster("b")));
    one.step(|_| false).await;
    server.until("it is mended", |_| now("tidegate_xds_held_back") == 0.0).await;
    assert_eq!(now("tidegate_xds_pushes_total{type=\"cds\"}"), 3.0);
    assert_eq!(now("tidegate_xds_acks_total{type=\"cds\"}"), 2.0);

    // Another client's are added to them, and it is counted for as long as it is there.
    let mut two = DeltaClient::start(server.address, mk_node("two", None)).await;
    two.subscribe(Kind::Cluster, &[]).await;
    two.step(|_| false).await;
    server.until("both have accepted", |_| now("tidegate_xds_acks_total{type=\"cds\"}") == 3.0).await;
    assert_eq!(now("tidegate_xds_clients"), 2.0);
    assert_eq!(now("tidegate_xds_event_to_ack_seconds_count{type=\"cds\"}"), 1.0, "what was there is no change");
    drop((one, two));
    server.until("both are gone", |_| now("tidegate_xds_clients") == 0.0).await;
    assert_eq!(now("tidegate_xds_pushes_total{type=\"eds\"}"), 0.0, "nobody asked for endpoints");
}

#[tokio::test]
async fn who_is_refused_is_counted_with_the_reason() {
    let recorder = recorder().unwrap();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let first_request = Duration::from_millis(20);
    let server = Server::with(Options { max_clients: 1, first_request, allow_all: false, ..Options::default() }).await;
    let refused = |reason: &str| value(&metrics, &format!("tidegate_xds_refused_total{{reason=\"{reason}\"}}"));

    let mut silent = connect(server.address).await;
    let answer = silent.delta_aggregated_resources(tokio_stream::pending()).await.unwrap();
    assert!(connect(server.address).await.delta_aggregated_resources(tokio_stream::pending()).await.is_err());
    assert_eq!((refused("clients"), refused("silent")), (1.0, 0.0));
    let mut answer = answer.into_inner();
    tokio::time::timeout(DEADLINE, answer.message()).await.expect("an end").unwrap_err();
    assert_eq!((refused("silent"), refused("scope")), (1.0, 0.0));
    server.until("its seat is free", |server| server.publisher.clients().is_empty()).await;
    let mut unscoped = DeltaClient::start(server.address, mk_node("one", None)).await;
    unscoped.subscribe(Kind::Cluster, &[]).await;
    unscoped.try_next().await.unwrap_err();
    assert_eq!(refused("scope"), 1.0);

    let options = Options { max_subscriptions: 1, max_request_bytes: 1_000, ..Options::default() };
    let server = Server::with(options).await;
    server.apply(Update::to(1));
    for (reason, names) in [("subscriptions", vec!["a", "b"]), ("request_size", vec![&*"x".repeat(2_000)])] {
        let mut greedy = DeltaClient::start(server.address, mk_node("one", None)).await;
        greedy.subscribe(Kind::Endpoints, &names).await;
        greedy.try_next().await.unwrap_err();
        assert_eq!(refused(reason), 1.0, "{reason}");
    }
}

#[test]
fn problems_are_counted_by_what_found_them() {
    let recorder = recorder().unwrap();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let problems = Problems::default();
    let problem = |reason: &str| Problem {
        place: String::new(),
        object: None,
        field: String::new(),
        reason: reason.to_owned(),
        serving: Serving::Nothing,
    };
    for (scope, id) in [("source/a", "1"), ("source/a", "2"), ("source/b", "1"), ("sources", "1"), ("xds/one", "1")] {
        problems.set(scope, id, problem("it is too large"));
    }
    let count = |by: &str| value(&metrics, &format!("tidegate_problems{{by=\"{by}\"}}"));
    assert_eq!((count("source"), count("sources"), count("xds")), (3.0, 1.0, 1.0));
    problems.clear("source/a", "2");
    problems.replace("xds/one", []);
    assert_eq!((count("source"), count("xds")), (2.0, 0.0));
}
