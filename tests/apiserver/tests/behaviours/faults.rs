//! Faults by script: each is done to a request that is meant, and to no other.

use serde_json::{Value, json};
use tidegate_apiserver::{Act, ApiServer, Denial, Fault, Status, Then, When};

use crate::rig::{Watch, client, get, mk_config_map, names, plain, put, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with two ConfigMaps, and a watch that suffers something after some lines.
async fn struck(after: usize, then: Then) -> (ApiServer, Watch) {
    let (server, client) = plain().await;
    let from = server.revision();
    server.put(&mk_config_map("a", "1")).unwrap();
    server.put(&mk_config_map("b", "1")).unwrap();
    server.faults().add(Fault::once(When::of("watch", "configmaps"), Act::Stream { after, then }));
    let watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    (server, watch)
}

#[tokio::test]
async fn a_watch_is_closed_in_mid_stream() {
    let (_server, mut watch) = struck(1, Then::Close).await;
    assert!(watch.short().await.starts_with("ADDED a@"));
    assert!(watch.ends().await);
}

#[tokio::test]
async fn a_watch_is_cut_in_the_middle_of_a_line() {
    let (server, mut watch) = struck(1, Then::Cut).await;
    assert!(watch.short().await.starts_with("ADDED a@"));
    // What was read of the line may be lost with the connection; the error is not.
    let mut last = watch.line().await;
    if let Some(Ok(half)) = &last {
        assert!(serde_json::from_str::<Value>(half).is_err(), "{half}");
        last = watch.line().await;
    }
    assert!(last.expect("no proper end").is_err());
    let client = client(&server.kubeconfig()).await;
    assert_eq!(get(&client, MAPS).await.0, 200, "the next request is not meant");
}

#[tokio::test]
async fn a_watch_ends_properly_in_the_middle_of_a_line() {
    let (_server, mut watch) = struck(0, Then::Truncate).await;
    let half = watch.line().await.unwrap().unwrap();
    assert!(half.starts_with("{\"type\":\"ADDED\"") && serde_json::from_str::<Value>(&half).is_err());
    assert!(watch.ends().await);
}

#[tokio::test]
async fn a_watch_goes_silent_and_stays_open() {
    let (server, mut watch) = struck(1, Then::Silent).await;
    assert!(watch.short().await.starts_with("ADDED a@"));
    server.put(&mk_config_map("c", "1")).unwrap();
    assert!(watch.is_silent().await);
}

#[tokio::test]
async fn lines_that_are_no_events_are_written_as_they_are() {
    let (_server, mut watch) = struck(0, Then::Write { text: "{\"type\":\n\"ADDED\"}\nrubbish\n".to_owned() }).await;
    assert_eq!(watch.line().await.unwrap().unwrap(), "{\"type\":");
    assert_eq!(watch.line().await.unwrap().unwrap(), "\"ADDED\"}");
    assert_eq!(watch.line().await.unwrap().unwrap(), "rubbish");
    assert!(watch.short().await.starts_with("ADDED a@"), "and the watch goes on");
}

#[tokio::test]
async fn an_error_event_carries_any_status() {
    let status = Status::failure(500, "InternalError", "etcdserver: no leader");
    let (_server, mut watch) = struck(1, Then::Error { status }).await;
    watch.short().await;
    let error = watch.event().await;
    assert_eq!((&error["type"], &error["object"]["message"]), (&json!("ERROR"), &json!("etcdserver: no leader")));
    assert!(watch.ends().await);
}

#[tokio::test]
async fn older_events_come_again_and_every_event_twice() {
    let (server, mut watch) = struck(2, Then::Replay { events: 2 }).await;
    let first = watch.shorts(2).await;
    assert_eq!(watch.shorts(2).await, first);
    assert_eq!(server.strike_watches("configmaps", &Then::Duplicate), 1);
    assert_eq!(server.strike_watches("services", &Then::Duplicate), 0);
    // The order is carried out before the next event is sent, or with it.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    server.put(&mk_config_map("c", "1")).unwrap();
    assert_eq!(watch.short().await, watch.short().await);
}

#[tokio::test]
async fn the_nth_request_gets_a_status_with_retry_after_as_often_as_it_says() {
    let (server, client) = plain().await;
    let act = Act::Status { status: Status::too_many_requests(7) };
    let id = server.faults().add(Fault::times(When::of("list", "configmaps").after(1), 2, act));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let request = http::Request::get(MAPS).body(kube::client::Body::empty()).unwrap();
        let answer = client.send(request).await.unwrap();
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        seen.push((answer.status().as_u16(), wait));
    }
    let busy = (429, Some("7".to_owned()));
    assert_eq!(seen, [(200, None), busy.clone(), busy, (200, None)]);
    assert_eq!(server.faults().hits(id), 2);
    assert_eq!(get(&client, "/api/v1/services").await.0, 200);
}

#[tokio::test]
async fn a_later_page_is_gone_and_the_first_is_not() {
    let (server, client) = plain().await;
    server.put(&mk_config_map("a", "1")).unwrap();
    server.put(&mk_config_map("b", "1")).unwrap();
    let when = When { continued: Some(true), ..When::of("list", "configmaps") };
    server.faults().add(Fault::once(when, Act::Status { status: Status::list_expired() }));
    let (status, first) = get(&client, &format!("{MAPS}?limit=1")).await;
    assert_eq!(status, 200);
    let next = format!("{MAPS}?limit=1&continue={}", first["metadata"]["continue"].as_str().unwrap());
    assert_eq!(get(&client, &next).await.0, 410);
    assert_eq!(get(&client, &next).await.0, 200);
}

#[tokio::test]
async fn a_bare_status_comes_with_200() {
    let (server, client) = plain().await;
    let body = String::from_utf8(Status::too_old(1, 2).to_bytes().to_vec()).unwrap();
    let act = Act::Answer { code: 200, content_type: String::new(), body };
    server.faults().add(Fault::once(When::of("watch", ""), act));
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true")).await;
    assert_eq!(watch.event().await["kind"], "Status");
    assert!(watch.ends().await);
}

#[tokio::test]
async fn one_object_is_rubbish_or_huge_and_the_rest_is_not() {
    let (server, client) = plain().await;
    for name in ["a", "b", "c"] {
        server.put(&mk_config_map(name, "1")).unwrap();
    }
    let with = "{\"metadata\":{\"name\":7}}".to_owned();
    let everywhere = When { resource: "configmaps".to_owned(), ..When::default() };
    server.faults().add(Fault::always(everywhere.clone(), Act::Replace { name: "b".to_owned(), with }));
    server.faults().add(Fault::always(everywhere, Act::Oversize { name: "c".to_owned(), bytes: 100_000 }));
    let (_, list) = get(&client, MAPS).await;
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert_eq!(list["items"][1], json!({"metadata": {"name": 7}}));
    assert!(list["items"][2].to_string().len() > 100_000);
    let from = server.revision();
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    server.put(&mk_config_map("b", "2")).unwrap();
    assert_eq!(watch.event().await, json!({"type": "MODIFIED", "object": {"metadata": {"name": 7}}}));
    server.faults().clear();
    let (_, list) = get(&client, MAPS).await;
    assert_eq!(names(&list), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_bookmark_is_withheld() {
    let (server, client) = plain().await;
    server.put(&mk_config_map("a", "1")).unwrap();
    server.faults().add(Fault::once(When::of("watch", "configmaps"), Act::WithholdBookmarks));
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&client, &format!("{MAPS}?{query}")).await;
    assert!(watch.short().await.starts_with("ADDED a@"));
    assert!(watch.is_silent().await);
}

#[tokio::test]
async fn a_list_breaks_off_and_a_connection_closes_without_an_answer() {
    let (server, client) = plain().await;
    server.put(&mk_config_map("a", "1")).unwrap();
    server.faults().add(Fault::once(When::of("list", "configmaps"), Act::CutBody { after: 20 }));
    let request = || http::Request::get(MAPS).body(Vec::new()).unwrap();
    assert!(client.request_text(request()).await.is_err());
    server.faults().add(Fault::once(When::of("list", "configmaps"), Act::Disconnect));
    assert!(client.request_text(request()).await.is_err());
    assert!(client.request_text(request()).await.is_ok());
}

#[tokio::test]
async fn what_is_denied_is_403_in_the_authorizers_words() {
    let (server, client) = plain().await;
    let denial = Denial { verb: "list".to_owned(), resource: "secrets".to_owned(), namespace: None };
    server.deny(denial.clone());
    let (status, body) = get(&client, "/api/v1/secrets").await;
    assert_eq!((status, &body["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        body["message"],
        "secrets is forbidden: User \"system:admin\" cannot list resource \"secrets\" in API group \"\" at the \
         cluster scope"
    );
    let (_, body) = get(&client, "/api/v1/namespaces/default/secrets").await;
    assert!(body["message"].as_str().unwrap().ends_with("in API group \"\" in the namespace \"default\""));
    assert_eq!(get(&client, MAPS).await.0, 200);
    server.allow(&denial);
    assert_eq!(get(&client, "/api/v1/secrets").await.0, 200);
}

#[tokio::test]
async fn tokens_are_asked_for_and_can_be_changed() {
    let (server, anonymous) = plain().await;
    server.set_tokens([("first", "alice")]);
    let (status, body) = get(&anonymous, MAPS).await;
    assert_eq!((status, &body["message"]), (401, &json!("Unauthorized")));
    let alice = client(&server.kubeconfig()).await;
    assert_eq!(get(&alice, MAPS).await.0, 200);
    server.deny(Denial { resource: "secrets".to_owned(), ..Denial::default() });
    let (_, body) = get(&alice, "/api/v1/secrets").await;
    assert!(body["message"].as_str().unwrap().contains("User \"alice\""));
    server.set_tokens([("second", "alice")]);
    assert_eq!(get(&alice, MAPS).await.0, 401);
}

#[tokio::test]
async fn the_script_works_over_http_too() {
    let (server, client) = plain().await;
    let list = json!({"items": [mk_config_map("a", "1"), mk_config_map("b", "1")]});
    assert_eq!(put(&client, "POST", "/_objects", &list).await.0, 200);
    let fault =
        json!({"when": {"verb": "list"}, "times": 1, "do": {"kind": "status", "status": Status::list_expired()}});
    let (_, added) = put(&client, "POST", "/_faults", &fault).await;
    assert_eq!(get(&client, MAPS).await.0, 410);
    assert_eq!(get(&client, MAPS).await.0, 200);
    let (_, standing) = get(&client, "/_faults").await;
    assert_eq!((&standing[0]["hits"], &standing[0]["id"]), (&json!(1), &added["id"]));
    assert_eq!(send(&client, "DELETE", &format!("/_faults/{}", added["id"]), "", "").await.0, 200);
    assert!(server.faults().standing().is_empty());

    let first = server.revision();
    put(&client, "POST", "/_control", &json!({"do": "bump", "resource": "configmaps", "count": 2})).await;
    assert_eq!(server.revision(), first + 2);
    put(&client, "POST", "/_control", &json!({"do": "compact"})).await;
    let mut watch = Watch::open(&client, &format!("{MAPS}?watch=true&resourceVersion={first}")).await;
    assert_eq!(watch.event().await["object"]["code"], 410);
    let (_, requests) = get(&client, "/_requests").await;
    assert_eq!(requests[0]["verb"], "list");
    let (status, refused) = put(&client, "POST", "/_control", &json!({"do": "dance"})).await;
    assert_eq!((status, &refused["reason"]), (400, &json!("BadRequest")));
}
