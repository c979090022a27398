//! Lists: pages, streams, fallbacks, selectors, namespaces.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tidegate::source::kubernetes::TypeOptions;
use tidegate_actors::object::Object;
use tidegate_actors::source::{Source as _, SourceError, SourceEvent};

use crate::rig::{Rig, things};
use crate::server::{Reply, bookmark, event, initial_end, page, status, thing, thing_in};

const PATH: &str = "/apis/example.com/v1/things";

#[tokio::test]
async fn a_list_is_asked_for_in_consistent_pages_and_the_watch_goes_on_from_it() {
    let rig = Rig::with(|options| (options.streaming_lists, options.page_size) = (false, 2)).await;
    rig.server.then(Reply::new(200, page("7", "t 1", &[&thing("a", "3"), &thing("b", "5")])));
    rig.server.then(Reply::new(200, page("7", "", &[&thing("c", "1")])));
    let watch = rig.server.then_watch();
    let mut told = rig.open(None);
    assert_eq!(told.next(5).await, ["Init", "=a", "=b", "=c", "Done 7"]);
    watch.say(event("MODIFIED", &thing("b", "8"))).say(event("DELETED", &thing("a", "9"))).say(bookmark("12"));
    assert_eq!(told.next(5).await, ["+b", "@8", "-a", "@9", "@12"]);
    let asked = rig.server.asked();
    assert_eq!(asked[..2], [format!("{PATH}?limit=2"), format!("{PATH}?limit=2&continue=t%201")]);
    let (watch, timeout) = asked[2].split_once("timeoutSeconds=").unwrap();
    assert_eq!(watch, format!("{PATH}?watch=true&allowWatchBookmarks=true&"));
    let (timeout, version) = timeout.split_once('&').unwrap();
    assert!((300..600).contains(&timeout.parse::<u32>().unwrap()), "{timeout}");
    assert_eq!(version, "resourceVersion=7");
    assert!(asked.iter().all(|asked| !asked.contains("resourceVersion=0")));
}

#[tokio::test]
async fn a_continue_token_that_expired_restarts_the_list_as_a_consistent_whole() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(200, page("7", "t1", &[&thing("a", "3")])));
    rig.server.then(Reply::new(410, status(410, "Expired", "The provided continue parameter is too old")));
    rig.server.then_list("9", &[&thing("b", "8")]);
    let _watch = rig.server.then_watch();
    assert_eq!(rig.open(None).next(5).await, ["Init", "=a", "Init", "=b", "Done 9"]);
    assert_eq!(rig.server.asked()[2], PATH, "neither a limit nor a token nor a version");
}

#[tokio::test]
async fn a_list_may_come_as_a_stream_that_goes_on_as_the_watch() {
    let rig = Rig::with(|_| {}).await;
    let stream = rig.server.then_watch();
    stream.say(event("ADDED", &thing("a", "3"))).say(event("ADDED", &thing("b", "4"))).say(initial_end("7"));
    let mut told = rig.open(None);
    assert_eq!(told.next(4).await, ["Init", "=a", "=b", "Done 7"]);
    stream.say(event("ADDED", &thing("c", "8")));
    assert_eq!(told.next(2).await, ["+c", "@8"]);
    let asked = rig.server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].ends_with("&resourceVersion=&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
}

#[tokio::test]
async fn a_server_without_streaming_lists_is_asked_once() {
    let rig = Rig::with(|_| {}).await;
    for _ in 0..2 {
        if rig.server.asked().is_empty() {
            let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            rig.server.then(Reply::new(422, status(422, "Invalid", message)));
        }
        rig.server.then_list("7", &[]);
        assert_eq!(rig.open(None).next(2).await, ["Init", "Done 7"]);
    }
    let streams = rig.server.asked().iter().filter(|asked| asked.contains("sendInitialEvents")).count();
    assert_eq!(streams, 1);
}

#[tokio::test]
async fn a_closing_bookmark_that_never_comes_ends_in_a_plain_list() {
    let rig = Rig::with(|options| options.bookmark_deadline = Duration::from_millis(50)).await;
    let stream = rig.server.then_watch();
    stream.say(event("ADDED", &thing("a", "3")));
    rig.server.then_list("7", &[&thing("b", "3")]);
    let _watch = rig.server.then_watch();
    assert_eq!(rig.open(None).next(5).await, ["Init", "=a", "Init", "=b", "Done 7"]);
    tokio::time::timeout(crate::rig::PATIENCE, stream.closed()).await.expect("the stream is still read");
}

#[tokio::test]
async fn selectors_and_namespaces_of_a_type_stand_in_each_request() {
    let rig = Rig::with(|options| {
        options.streaming_lists = false;
        options.namespaces = vec!["elsewhere".into()];
        let fields = Some("type=a/b".to_owned());
        let of = TypeOptions { namespaces: Some(vec!["demo".into()]), labels: Some("x in (y)".to_owned()), fields };
        options.types.insert("things.example.com".to_owned(), of);
    })
    .await;
    rig.server.then_list("7", &[]);
    let watch = rig.server.then_watch();
    let mut told = rig.open(None);
    let done = told.next(2).await;
    let cursor = done[1].strip_prefix("Done ").unwrap().to_owned();
    assert!(cursor.ends_with(":demo=7"), "{cursor}");
    watch.say(bookmark("8"));
    told.next(1).await;
    let query = "labelSelector=x%20in%20%28y%29&fieldSelector=type%3Da%2Fb&";
    for asked in rig.server.asked() {
        assert!(asked.starts_with(&format!("/apis/example.com/v1/namespaces/demo/things?{query}")), "{asked}");
    }
    drop(told);
    let _watch = rig.server.then_watch();
    let mut told = rig.open(Some(&cursor));
    _watch.say(bookmark("9"));
    told.next(1).await;
    assert!(rig.server.asked()[2].contains("resourceVersion=7"), "the cursor is of use to the same selectors");
}

#[tokio::test]
async fn several_namespaces_are_one_stream_with_one_list_and_one_cursor() {
    let rig = Rig::with(|options| {
        options.streaming_lists = false;
        options.namespaces = vec!["x".into(), "y".into()];
    })
    .await;
    let (first, x) = Reply::live();
    rig.server.then(first);
    let mut told = rig.open(None);
    // Both lists are asked for at once; the one that is answered first stays unfinished.
    let (second, y) = Reply::live();
    rig.server.then(second);
    x.say(page("7", "", &[&thing_in("x", "a", "3")]));
    let watch = rig.server.then_watch();
    drop(x);
    assert_eq!(told.next(2).await, ["Init", "=a"]);
    watch.say(event("ADDED", &thing_in("x", "b", "8")));
    assert_eq!(told.next(1).await, ["+b"], "no cursor before both lists are complete");
    let _other = rig.server.then_watch();
    y.say(page("9", "", &[&thing_in("y", "c", "3")]));
    drop(y);
    assert_eq!(told.next(2).await[0], "=c");
    watch.say(event("DELETED", &thing_in("x", "b", "12")));
    let words = told.next(2).await;
    assert_eq!(words[0], "-b");
    assert!(words[1].starts_with("@x=") && words[1].contains(",y="), "{words:?}");
    drop(told);
    // And back again.
    for _ in 0..2 {
        rig.server.then_watch().say(bookmark("20"));
    }
    let before = rig.server.asked().len();
    let words = rig.open(Some("x=12,y=9")).next(1).await;
    assert!(words[0].starts_with('@'), "{words:?}");
    let asked = &rig.server.asked()[before..];
    assert!(asked.iter().all(|asked| asked.contains("watch=true")), "{asked:?}");
}

#[tokio::test]
async fn a_cursor_of_other_namespaces_leads_to_a_list() {
    let rig = Rig::new().await;
    rig.server.then_list("9", &[]);
    let _watch = rig.server.then_watch();
    assert_eq!(rig.open(Some("x=12,y=9")).next(2).await, ["Init", "Done 9"]);
}

#[tokio::test]
async fn a_list_that_is_cut_off_or_malformed_is_not_completed() {
    let whole = page("7", "", &[&thing("a", "3"), &thing("b", "4")]);
    for body in [&whole[..whole.len() - 20], "<html>busy</html>", "{}", "{\"items\":[1]}", ""] {
        let rig = Rig::new().await;
        rig.server.then(Reply::new(200, body));
        let (words, error) = rig.open(None).end().await;
        assert!(!words.iter().any(|word| word.starts_with("Done")), "{body}: {words:?}");
        assert!(matches!(error, SourceError::Retry { .. }), "{body}: {error}");
    }
}

/// The first object that a stream lists.
async fn first(rig: &Rig) -> Arc<Object> {
    rig.server.then_list("7", &[&thing("a", "3")]);
    let mut stream = rig.source.open(&things(), None);
    while let Some(Ok(event)) = stream.next().await {
        if let SourceEvent::InitApply(object) = event {
            return object;
        }
    }
    panic!("there is none");
}

#[tokio::test]
async fn what_nobody_reads_is_cut_on_the_way_in_and_names_are_shared() {
    let rig = Rig::new().await;
    let (object, again) = (first(&rig).await, first(&rig).await);
    let namespace = |object: &Arc<Object>| object.key().namespace.clone().unwrap();
    assert!(Arc::ptr_eq(&namespace(&object), &namespace(&again)), "one decoder serves all streams of a type");
    let raw = String::from_utf8(object.raw().to_vec()).unwrap();
    assert!(!raw.contains("managedFields") && raw.contains(r#""spec":{"a":1}"#), "{raw}");
}
