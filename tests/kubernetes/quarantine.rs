//! Objects that cannot be read, among good ones.

use crate::rig::{Rig, grants};
use crate::server::{Reply, bookmark, event, initial_end, page, thing};

/// Has a label that is no text, and something that nobody may see.
fn broken(name: &str, version: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"demo","resourceVersion":"{version}","labels":{{"a":1}}}},"data":"SECRET"}}"#
    )
}

fn huge(name: &str, version: &str) -> String {
    thing(name, version).replace(r#""a":1"#, &format!(r#""a":"{}""#, "x".repeat(4000)))
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_quarantined_alone_and_named() {
    let rig = Rig::new().await;
    let first = page("7", "t", &[&thing("a", "3"), &broken("b", "4")]);
    rig.server.then(Reply::new(200, first)).then_list("7", &[&thing("c", "5")]);
    let watch = rig.server.then_watch();
    let mut told = rig.open(None);
    assert_eq!(told.next(5).await, ["Init", "=a", "keep b", "=c", "Done 7"]);
    let problems = rig.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("source/c c/demo/b: Thing c:demo/b: metadata.labels.a: must be"), "{problems:?}");
    assert!(problems[0].ends_with("Nothing") && !problems[0].contains("SECRET"), "{problems:?}");

    watch.say(event("MODIFIED", &broken("a", "8")));
    assert_eq!(told.next(1).await, ["@8"], "the cursor moves over it, what is held stays");
    assert!(rig.problems()[0].contains("c/demo/a") && rig.problems()[0].ends_with("LastGood"));
    watch.say(event("MODIFIED", &thing("a", "9"))).say(event("DELETED", &broken("b", "10")));
    assert_eq!(told.next(4).await, ["+a", "@9", "-b", "@10"]);
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_that_is_too_large_is_skipped_where_it_stands() {
    let rig = Rig::with(|options| (options.streaming_lists, options.max_object) = (false, 1000)).await;
    rig.server.then_list("7", &[&thing("a", "3"), &huge("b", "4"), &thing("c", "5")]);
    let watch = rig.server.then_watch();
    let mut told = rig.open(None);
    assert_eq!(told.next(5).await, ["Init", "=a", "keep b", "=c", "Done 7"]);
    watch.say(event("MODIFIED", &huge("c", "8"))).say(event("ADDED", &thing("d", "9")));
    assert_eq!(told.next(3).await, ["@8", "+d", "@9"], "and the watch goes on behind it");
    let problems = rig.problems();
    assert!(problems[0].contains("c/demo/b") && problems[1].contains("c/demo/c"), "{problems:?}");
    assert!(problems[0].contains("no object may have more than 1000"), "{problems:?}");
}

#[tokio::test]
async fn what_grants_something_is_taken_back_when_it_cannot_be_read() {
    let rig = Rig::new().await;
    rig.server.then_list("7", &[&broken("a", "3"), &thing("b", "3")]);
    let watch = rig.server.then_watch();
    let mut told = rig.open_type(&grants(), None);
    assert_eq!(told.next(3).await, ["Init", "=b", "Done 7"], "nothing of it is kept");
    watch.say(event("MODIFIED", &broken("b", "8")));
    assert_eq!(told.next(2).await, ["-b", "@8"]);
    assert!(rig.problems().iter().all(|problem| problem.ends_with("Nothing")), "{:?}", rig.problems());
}

#[tokio::test]
async fn a_list_that_no_longer_names_a_broken_object_takes_its_problem_back() {
    let rig = Rig::with(|_| {}).await;
    for (items, count) in [(vec![broken("a", "3"), broken("b", "3")], 2), (vec![broken("b", "3")], 1), (vec![], 0)] {
        let stream = rig.server.then_watch();
        for item in &items {
            stream.say(event("ADDED", item));
        }
        stream.say(initial_end("7"));
        let mut told = rig.open(None);
        while !told.next(1).await[0].starts_with("Done") {}
        assert_eq!(rig.problems().len(), count);
    }
}

#[tokio::test]
async fn text_that_is_no_text_spoils_one_object_and_not_the_stream() {
    let rig = Rig::new().await;
    let (reply, live) = Reply::live();
    rig.server.then(reply);
    let mut told = rig.open(Some("5"));
    let line = event("MODIFIED", &thing("a", "6").replace("\"a\":1", "\"a\":\"?\""));
    let at = line.find('?').unwrap();
    live.say(&line[..at]).say_bytes(b"\xff").say(&line[at + 1..]).say(bookmark("7"));
    assert_eq!(told.next(2).await, ["@6", "@7"]);
    assert!(rig.problems()[0].contains("invalid UTF-8"), "{:?}", rig.problems());
}

#[tokio::test]
async fn with_the_source_goes_what_it_said() {
    let rig = Rig::new().await;
    rig.server.then_list("7", &[&broken("a", "3")]);
    let _watch = rig.server.then_watch();
    let mut told = rig.open(None);
    told.next(3).await;
    assert_eq!(rig.problems().len(), 1);
    let Rig { source, problems, .. } = rig;
    drop((told, source));
    assert!(problems.list().is_empty());
}
