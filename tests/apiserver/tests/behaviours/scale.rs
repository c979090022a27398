//! Many objects: 100,000 of them, many watchers, and a slow one.

use std::time::Duration;

use serde_json::json;
use tidegate_apiserver::Options;

use crate::rig::{Watch, get, mk_config_map, plain, start};

#[tokio::test]
async fn a_hundred_thousand_objects_are_listed_in_pages_and_none_is_missed() {
    let (server, client) = plain().await;
    let mut map = mk_config_map("m", "1");
    map["data"] = json!({"value": "x".repeat(100)});
    server.fill(&map, 100_000).unwrap();
    let path = "/api/v1/configmaps?limit=20000";
    let (mut seen, mut token) = (0, String::new());
    loop {
        let page =
            client.request_text(http::Request::get(format!("{path}&continue={token}")).body(Vec::new()).unwrap());
        let page = page.await.unwrap();
        seen += page.matches("\"name\":\"m-").count();
        // The body's head is enough.
        let head = page.split("\"items\"").next().unwrap();
        let Some((_, rest)) = head.split_once("\"continue\":\"") else { break };
        token = rest.split('"').next().unwrap().to_owned();
    }
    assert_eq!(seen, 100_000);
}

#[tokio::test]
async fn every_one_of_many_watchers_sees_every_one_of_many_writes() {
    let (server, client) = plain().await;
    let from = server.fill(&mk_config_map("m", "1"), 200).unwrap();
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(Watch::open(&client, &format!("/api/v1/configmaps?watch=true&resourceVersion={from}")).await);
    }
    assert_eq!(server.watches().len(), 20);
    server.bump("configmaps", 200).unwrap();
    for watch in &mut watches {
        for at in 0..200 {
            assert_eq!(watch.short().await, format!("MODIFIED m-{at:05}@{}", from + 1 + at));
        }
    }
}

#[tokio::test]
async fn a_watcher_that_falls_too_far_behind_is_cut_off() {
    let (server, client) = start(Options { window: 50, history: 50, ..Options::default() }).await;
    let mut big = mk_config_map("m", "1");
    big["data"] = json!({"value": "x".repeat(200_000)});
    let from = server.fill(&big, 1).unwrap();
    let mut slow = Watch::open(&client, &format!("/api/v1/configmaps?watch=true&resourceVersion={from}")).await;
    for _ in 0..20 {
        server.bump("configmaps", 50).unwrap();
        // It is the watch's turn; it gets no further than its client reads.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut last = from;
    while let Some(line) = slow.line().await {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let version = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert_eq!(last + 1, version, "nothing is left out before the end");
        last = version;
    }
    assert!(last < server.revision());
    assert_eq!(get(&client, "/api/v1/configmaps").await.0, 200);
}
