//! Watches: how they go on, end and are resumed.

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::object::Decoder;
use tidegate_actors::source::{Source as _, SourceError};

use crate::rig::{Rig, things};
use crate::server::{Reply, bookmark, event, page, status, thing};

fn assert_retry(error: &SourceError, part: &str) {
    assert!(matches!(error, SourceError::Retry { .. }) && error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn with_a_cursor_the_watch_is_resumed_without_a_list() {
    let rig = Rig::new().await;
    let watch = rig.server.then_watch();
    watch.say(event("ADDED", &thing("a", "6")));
    assert_eq!(rig.open(Some("5")).next(2).await, ["+a", "@6"]);
    let asked = rig.server.asked();
    assert!(asked.len() == 1 && asked[0].ends_with("&resourceVersion=5"), "{asked:?}");
}

#[tokio::test]
async fn a_watch_that_ends_or_is_cut_asks_to_resume() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(200, event("ADDED", &thing("a", "6"))));
    let (words, error) = rig.open(Some("5")).end().await;
    assert_eq!(words, ["+a", "@6"]);
    assert_retry(&error, "the watch ended");

    let watch = rig.server.then_watch();
    watch.say(event("ADDED", &thing("b", "7")));
    let mut told = rig.open(Some("6"));
    assert_eq!(told.next(2).await, ["+b", "@7"]);
    watch.cut();
    let (words, error) = told.end().await;
    assert_eq!(words, Vec::<String>::new());
    assert_retry(&error, "");
}

#[tokio::test]
async fn a_frame_that_is_truncated_or_spread_over_lines_moves_no_cursor() {
    let whole = event("ADDED", &thing("a", "6"));
    let pretty = whole.replace(":{", ":\n{");
    for broken in [&whole[..whole.len() - 10], &pretty, "null\n", "[]\n", "{\"type\":\"ADDED\"}x\n", "what?\n"] {
        let rig = Rig::new().await;
        rig.server.then(Reply::new(200, format!("{}{broken}", event("ADDED", &thing("b", "5")))));
        let (words, error) = rig.open(Some("4")).end().await;
        assert_eq!(words, ["+b", "@5"], "{broken}");
        assert_retry(&error, "watch event");
    }
}

#[tokio::test]
async fn a_watch_that_is_silent_beyond_its_timeout_counts_as_broken() {
    let rig = Rig::with(|options| {
        options.watch_timeout = Duration::from_millis(20);
        options.silence_grace = Duration::from_millis(30);
    })
    .await;
    let _watch = rig.server.then_watch();
    let (_, error) = rig.open(Some("4")).end().await;
    assert_retry(&error, "silent for too long");
}

#[tokio::test]
async fn a_response_that_does_not_begin_or_go_on_counts_as_broken() {
    let rig = Rig::with(|options| {
        options.streaming_lists = false;
        options.response_timeout = Duration::from_millis(50);
    })
    .await;
    rig.server.then(Reply::never());
    let (_, error) = rig.open(Some("4")).end().await;
    assert_retry(&error, "did not answer within 50ms");
    let list = rig.server.then_watch();
    list.say(&page("7", "", &[])[..20]);
    let (words, error) = rig.open(None).end().await;
    assert_eq!(words, Vec::<String>::new());
    assert_retry(&error, "the response stopped for 50ms");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_tried_again() {
    let rig = Rig::with(|_| {}).await;
    let text = std::fs::read_to_string(rig.folder.path().join("kubeconfig")).unwrap();
    // Nobody listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = text.replace(&rig.server.address.to_string(), &free.to_string());
    std::fs::write(rig.folder.path().join("kubeconfig"), text).unwrap();
    let (_, error) = rig.open(None).end().await;
    assert_retry(&error, "refused");
}

#[tokio::test]
async fn a_server_that_went_back_in_time_is_listed_anew() {
    let rig = Rig::with(|options| options.settle = Duration::from_millis(20)).await;
    let watch = rig.server.then_watch();
    rig.server.then(Reply::new(200, page("40", "more", &[&thing("a", "3")])));
    let (words, error) = rig.open(Some("50")).end().await;
    assert_eq!(words, Vec::<String>::new());
    let went_back = |error: &SourceError| {
        let relist = matches!(error, SourceError::Relist { .. });
        assert!(relist && error.to_string().contains("went back in time"), "{error}");
    };
    went_back(&error);
    assert!(rig.server.asked()[1].ends_with("things?limit=1"), "{:?}", rig.server.asked());
    drop(watch);

    let watch = rig.server.then_watch();
    watch.say(event("ADDED", &thing("a", "41")));
    let (words, error) = rig.open(Some("50")).end().await;
    assert_eq!(words, Vec::<String>::new(), "nothing older is told");
    went_back(&error);
}

/// When a watch is looked at, if nothing has to be done before, and if something has.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(1);

/// One that has told of a change, and whose watch has ended since.
async fn mk_changed(change: &str, settle: Duration) -> Rig {
    let rig = Rig::with(|options| (options.streaming_lists, options.settle) = (false, settle)).await;
    rig.server.then_list("10", &[&thing("a", "3"), &thing("b", "5")]);
    rig.server.then(Reply::new(200, event(change, &thing("b", "12"))));
    rig.open(None).end().await;
    rig
}

#[tokio::test]
async fn a_restored_server_that_has_come_past_the_cursor_is_known_by_the_newest_object() {
    for (change, was) in [("MODIFIED", "had been"), ("DELETED", "was deleted")] {
        let rig = mk_changed(change, SOON).await;
        let watch = rig.server.then_watch();
        watch.say(event("ADDED", &thing("c", "40")));
        rig.server.then_list("41", &[&thing("b", "5")]);
        let (words, error) = rig.open(Some("12")).end().await;
        assert_eq!(words, ["+c", "@40"], "it looks like any other that has gone on");
        let reason = format!("the API server went back in time: it has c:demo/b at 5, which {was} at 12");
        assert!(matches!(error, SourceError::Relist { .. }) && error.to_string().contains(&reason), "{error}");
        let asked = rig.server.asked().pop().unwrap();
        assert!(asked.ends_with("/namespaces/demo/things?fieldSelector=metadata.name%3Db"), "{asked}");
    }
}

#[tokio::test]
async fn a_missing_object_is_waited_for_to_be_told_deleted_and_then_is_the_sign_of_a_restored_server() {
    let rig = mk_changed("MODIFIED", SOON).await;
    let watch = rig.server.then_watch();
    rig.server.then_list("41", &[]);
    let (words, error) = rig.open(Some("12")).end().await;
    assert_eq!(words, ["@12"]);
    assert!(error.to_string().contains("c:demo/b, which was there, is missing"), "{error}");
    drop(watch);

    let rig = mk_changed("MODIFIED", LATE).await;
    let watch = rig.server.then_watch();
    rig.server.then_list("41", &[]);
    let mut told = rig.open(Some("12"));
    assert_eq!(told.next(1).await, ["@12"]);
    watch.say(event("DELETED", &thing("b", "30")));
    assert_eq!(told.next(2).await, ["-b", "@30"]);
    tokio::time::sleep(2 * LATE).await;
    watch.say(event("ADDED", &thing("c", "42")));
    assert_eq!(told.next(2).await, ["+c", "@42"], "nothing is missing");
}

#[tokio::test]
async fn watches_that_end_early_each_look_once() {
    let rig = mk_changed("MODIFIED", LATE).await;
    let watch = rig.server.then_watch();
    rig.server.then_list("41", &[]);
    let mut told = rig.open(Some("12"));
    assert_eq!(told.next(1).await, ["@12"]);
    // What it tells before it ends may be of the other history.
    watch.say(event("ADDED", &thing("c", "40")));
    assert_eq!(told.next(2).await, ["+c", "@40"]);
    watch.cut();
    told.end().await;
    let _watch = rig.server.then_watch();
    rig.server.then_list("41", &[]);
    let (_, error) = rig.open(Some("40")).end().await;
    assert!(error.to_string().contains("c:demo/b, which was there, is missing"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_select_by_name_is_asked_where_it_is() {
    let rig = mk_changed("MODIFIED", SOON).await;
    let _watch = rig.server.then_watch();
    rig.server.then(Reply::new(400, status(400, "BadRequest", "field label not supported: metadata.name")));
    rig.server.then_list("60", &[&thing("a", "3")]);
    assert_eq!(rig.open(Some("12")).next(1).await, ["@12"]);
    assert!(rig.server.asked().pop().unwrap().ends_with("things?limit=1"));
}

#[tokio::test]
async fn the_newest_of_an_earlier_run_is_known_by_the_next() {
    let before = mk_changed("MODIFIED", SOON).await;
    let object = {
        let decoder = Decoder::new("c".into(), things());
        Arc::new(decoder.decode(thing("b", "12")).unwrap())
    };
    let rig = Rig::on(before.server, |options| options.settle = Duration::from_millis(20));
    rig.source.restored(&things(), &[object]);
    let _watch = rig.server.then_watch();
    rig.server.then_list("41", &[&thing("b", "5")]);
    let (_, error) = rig.open(Some("12")).end().await;
    assert!(error.to_string().contains("it has c:demo/b at 5, which had been at 12"), "{error}");
}

#[tokio::test]
async fn a_quiet_server_that_is_where_it_should_be_is_believed() {
    let rig = Rig::with(|options| options.settle = Duration::from_millis(20)).await;
    let watch = rig.server.then_watch();
    rig.server.then(Reply::new(200, page("60", "", &[])));
    let mut told = rig.open(Some("50"));
    assert_eq!(told.next(1).await, ["@50"]);
    assert_eq!(rig.server.asked().len(), 2, "it was asked where it is");
    // What is older than the cursor is now known to be old news.
    watch.say(event("ADDED", &thing("old", "49"))).say(event("ADDED", &thing("new", "61")));
    assert_eq!(told.next(2).await, ["+new", "@61"]);
}

#[tokio::test]
async fn an_error_in_the_stream_or_a_bare_status_means_what_the_http_status_means() {
    let gone = status(410, "Expired", "too old resource version: 5 (90)");
    let replies = [
        Reply::new(200, event("ERROR", &gone)),
        Reply::new(200, gone.clone()),
        Reply::new(200, format!("{gone}\n")),
        Reply::new(410, gone.clone()),
        Reply::new(500, status(500, "InternalError", "too old resource version: 5 (90)")),
    ];
    for reply in replies {
        let rig = Rig::new().await;
        rig.server.then(reply);
        let (words, error) = rig.open(Some("5")).end().await;
        assert_eq!(words, Vec::<String>::new());
        assert!(matches!(error, SourceError::Relist { .. }), "{error}");
    }
}

#[tokio::test]
async fn bookmarks_move_the_cursor_of_a_quiet_watch() {
    let rig = Rig::new().await;
    rig.server.then(Reply::new(200, format!("{}{}", bookmark("9"), bookmark("12"))));
    let (words, _) = rig.open(Some("5")).end().await;
    assert_eq!(words, ["@9", "@12"]);
}
