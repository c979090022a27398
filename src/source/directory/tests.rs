//! The scanner with a disk and a watching of the test's own, in virtual time.

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use tidegate_actors::env::Disk as _;
use tidegate_actors::source::SourceEvent;
use tokio::time::Instant;

use self::rig::{Rig, TestWatching, mk_type, route};
use super::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_up_at_once_and_what_follows_it_together() {
    let (a, b) = (route("a", 1), route("b", 1));
    let rig = Rig::started(&[("/m/a.yaml", &a), ("/m/sub/b.yaml", &b), ("/m/notes.txt", "x: [")]).await;
    let mut watch = rig.open();
    assert_eq!(watch.next().await, "init +a=1 +b=1 done");
    tokio::time::sleep(100 * MS).await;

    let start = Instant::now();
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.tell("/m/a.yaml", Signal::Ready);
    assert_eq!(watch.next().await, "+a=2");
    assert_eq!(start.elapsed(), Duration::ZERO);

    rig.disk.write("/m/a.yaml", &route("a", 3));
    rig.tell("/m/a.yaml", Signal::Ready);
    rig.disk.write("/m/c.yaml", &route("c", 1));
    rig.tell("/m/c.yaml", Signal::Ready);
    assert_eq!(watch.next().await, "+a=3 +c=1");
    assert!(start.elapsed() <= 5 * MS, "{:?}", start.elapsed());
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_file_caught_in_the_middle_of_being_written_is_not_reported() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    for half in ["", "---\napiVersion: test.io/v1\nkind: [Rou"] {
        rig.disk.write("/m/a.yaml", half);
        rig.tell("/m/a.yaml", Signal::Ready);
        assert!(watch.is_quiet(10 * MS).await);
        assert_eq!(rig.problems(), Vec::<String>::new());
    }
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.tell("/m/a.yaml", Signal::Ready);
    assert_eq!(watch.next().await, "+a=2");

    // What stays as it is, is believed.
    rig.disk.write("/m/a.yaml", "kind: [Rou");
    rig.tell("/m/a.yaml", Signal::Ready);
    assert!(watch.is_quiet(100 * MS).await, "the last good version stays");
    assert_eq!(rig.problems().len(), 1);
    rig.disk.write("/m/a.yaml", "");
    rig.tell("/m/a.yaml", Signal::Ready);
    assert_eq!(watch.next().await, "-a");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_still_being_written_is_waited_for() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    let start = Instant::now();
    // Half of it is good YAML, too, and must not be taken for the whole.
    for value in 2..6 {
        rig.disk.write("/m/a.yaml", &route("a", value));
        rig.tell("/m/a.yaml", Signal::Unfinished);
        assert!(watch.is_quiet(15 * MS).await);
    }
    assert_eq!(watch.next().await, "+a=5");
    assert!(start.elapsed() >= 60 * MS);
    // Nobody waits for ever.
    let start = Instant::now();
    let mut value = 6;
    while watch.is_quiet(15 * MS).await {
        value += 1;
        rig.disk.write("/m/a.yaml", &route("a", value));
        rig.tell("/m/a.yaml", Signal::Unfinished);
        assert!(start.elapsed() < Duration::from_secs(2), "the file is never read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_emptied_and_not_closed_yet_is_waited_for() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    for value in [2, 3] {
        // The disk is busy between the two.
        rig.disk.write("/m/a.yaml", "");
        rig.tell("/m/a.yaml", Signal::Unfinished);
        assert!(watch.is_quiet(500 * MS).await);
        rig.disk.write("/m/a.yaml", &route("a", value));
        rig.tell("/m/a.yaml", Signal::Ready);
        assert_eq!(watch.next().await, format!("+a={value}"));
    }
    let start = Instant::now();
    rig.disk.write("/m/a.yaml", "");
    rig.tell("/m/a.yaml", Signal::Unfinished);
    assert_eq!(watch.next().await, "-a", "nobody waits for ever");
    assert!(start.elapsed() <= 1100 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_missing_file_is_believed_once_it_stays_away() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1)), ("/m/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    // An editor moves the old file away and writes a new one.
    rig.disk.remove(Path::new("/m/a.yaml")).unwrap();
    rig.tell("/m/a.yaml", Signal::Unfinished);
    assert!(watch.is_quiet(80 * MS).await);
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.tell("/m/a.yaml", Signal::Ready);
    assert_eq!(watch.next().await, "+a=2");
    rig.disk.remove(Path::new("/m/a.yaml")).unwrap();
    rig.tell("/m/a.yaml", Signal::Unfinished);
    assert_eq!(watch.next().await, "-a");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_not_there_is_not_an_empty_one() {
    let mut rig = Rig::new();
    rig.start();
    let mut watch = rig.open();
    assert!(watch.is_quiet(Duration::from_secs(60)).await, "no list before there is one");
    assert_eq!(rig.problems(), ["the directory /m does not exist; waiting for it"]);

    rig.disk.write("/m/a.yaml", &route("a", 1));
    let mut watch = rig.open();
    assert_eq!(watch.next().await, "init +a=1 done", "found by looking, since nobody told");
    assert_eq!(rig.problems(), Vec::<String>::new());

    rig.disk.remove(Path::new("/m")).unwrap();
    rig.tell("/m/a.yaml", Signal::Unfinished);
    rig.tell("/m", Signal::Unfinished);
    assert!(watch.is_quiet(Duration::from_secs(60)).await);
    assert_eq!(rig.problems(), ["the directory /m does not exist; what it held last is kept until it is back"]);

    rig.disk.write("/m/b.yaml", &route("b", 1));
    assert_eq!(watch.next().await, "+b=1");
    assert_eq!(watch.next().await, "-a");
    rig.disk.make("/m", (1, 7));
    rig.disk.remove(Path::new("/m/b.yaml")).unwrap();
    assert_eq!(watch.next().await, "-b", "an empty directory is empty");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_empty_mount_point_is_not_an_empty_directory() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    rig.disk.remove(Path::new("/m/a.yaml")).unwrap();
    rig.disk.make("/m", (2, 1));
    rig.tell("/m/a.yaml", Signal::Unfinished);
    assert!(watch.is_quiet(Duration::from_secs(60)).await);
    assert!(rig.problems()[0].contains("probably unmounted"), "{:?}", rig.problems());
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.disk.make("/m", (1, 1));
    assert_eq!(watch.next().await, "+a=2");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn where_watching_fails_the_directory_is_polled() {
    let mut rig = Rig::with(TestWatching { refuses: true, ..TestWatching::default() }, |_| {});
    rig.disk.write("/m/a.yaml", &route("a", 1));
    rig.start();
    let mut watch = rig.open();
    assert_eq!(watch.next().await, "init +a=1 done");
    assert!(rig.problems()[0].contains("changes are looked for every 1s instead"), "{:?}", rig.problems());
    let start = Instant::now();
    rig.disk.write("/m/a.yaml", &route("a", 2));
    assert_eq!(watch.next().await, "+a=2");
    assert!(start.elapsed() <= Duration::from_millis(1100), "{:?}", start.elapsed());
    let reads = *rig.disk.reads.lock();
    assert!(watch.is_quiet(Duration::from_secs(100)).await);
    assert_eq!(*rig.disk.reads.lock(), reads, "what did not change is not read");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_got_lost_is_made_up_for() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1)), ("/m/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.disk.remove(Path::new("/m/b.yaml")).unwrap();
    let start = Instant::now();
    assert_eq!(watch.next().await, "+a=2");
    assert_eq!(watch.next().await, "-b");
    assert!(start.elapsed() <= Duration::from_millis(15_100), "{:?}", start.elapsed());
    // Other signals, however many, do not put it off.
    rig.disk.write("/m/a.yaml", &route("a", 3));
    let start = Instant::now();
    while watch.is_quiet(200 * MS).await {
        rig.tell("/m/none.yaml", Signal::Ready);
        assert!(start.elapsed() < Duration::from_secs(20), "never looked at");
    }
}

#[tokio::test(start_paused = true)]
async fn a_swap_of_a_mounted_volume_is_taken_up_at_once() {
    let rig = Rig::started(&[("/m/sub/a.yaml", &route("a", 1)), ("/m/sub/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    tokio::time::sleep(100 * MS).await;
    let start = Instant::now();
    rig.disk.write("/m/sub/a.yaml", &route("a", 2));
    rig.disk.write("/m/sub/b.yaml", &route("b", 2));
    rig.tell("/m/sub/..data", Signal::Ready);
    assert_eq!(watch.next().await, "+a=2 +b=2");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_resumes_from_its_cursor() {
    let mut rig = Rig::started(&[("/m/a.yaml", &route("a", 1)), ("/m/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    let cursor = watch.cursor.take();
    drop(watch);
    rig.disk.write("/m/a.yaml", &route("a", 2));
    rig.disk.remove(Path::new("/m/b.yaml")).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let kind = mk_type("Route", "v1");
    assert_eq!(rig.open_as(&kind, cursor.clone()).next().await, "+a=2 -b");
    for other in ["", "x", "x@1", "@0"] {
        let told = rig.open_as(&kind, Some(Cursor(other.into()))).next().await;
        assert_eq!(told, "init +a=2 done", "{other}: not a place in this history");
    }

    // A scanner that starts again tells differences only.
    rig.stop().await;
    rig.disk.write("/m/c.yaml", &route("c", 1));
    rig.disk.remove(Path::new("/m/a.yaml")).unwrap();
    let mut watch = rig.open_as(&kind, cursor);
    assert_eq!(watch.next().await, "+a=2 -b");
    rig.start();
    assert_eq!(watch.next().await, "+c=1");
    assert_eq!(watch.next().await, "-a", "once it stayed away");
}

#[tokio::test(start_paused = true)]
async fn types_that_nobody_knew_can_be_asked_for() {
    let text = route("a", 1).replace("Route", "Gadget") + &route("r", 1);
    let rig = Rig::started(&[("/m/a.yaml", &text)]).await;
    assert_eq!(rig.open_as(&mk_type("Gadget", "v1"), None).next().await, "init +a=1 done");
    assert_eq!(rig.open_as(&mk_type("Widget", "v1"), None).next().await, "init done");
    let mut beta = rig.open_as(&mk_type("Route", "v1beta1"), None);
    let SourceEvent::Init = beta.stream.next().await.unwrap().unwrap() else { panic!() };
    let Some(Ok(SourceEvent::InitApply(object))) = beta.stream.next().await else { panic!() };
    assert_eq!(object.resource_type().version(), "v1beta1");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn limits_are_named_and_harm_what_exceeds_them_only() {
    let mut rig = Rig::with(TestWatching::default(), |options| {
        (options.max_files, options.max_depth, options.max_file_bytes) = (3, 1, 200);
    });
    let big = route("big", 1) + &"#".repeat(200);
    for (path, text) in [
        ("/m/1.yaml", route("a", 1)),
        ("/m/2.yaml", big),
        ("/m/3.yaml", route("c", 1)),
        ("/m/4.yaml", route("d", 1)),
        ("/m/x/y/5.yaml", route("e", 1)),
    ] {
        rig.disk.write(path, &text);
    }
    rig.start();
    assert_eq!(rig.open().next().await, "init +a=1 +c=1 done");
    let problems = rig.problems().join("\n");
    for expected in [
        "x/y: lies more than 1 directories deep",
        "1 files are not read: there are more than the limit of 3",
        "2.yaml:1: has 274 bytes, more than the limit of 200; split it, or raise limits.file_size",
    ] {
        assert!(problems.contains(expected), "{expected}: {problems}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_keeps_what_it_held() {
    let rig = Rig::started(&[("/m/a.yaml", &route("a", 1)), ("/m/sub/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    rig.disk.denied.lock().extend([PathBuf::from("/m/a.yaml"), PathBuf::from("/m/sub")]);
    rig.disk.write("/m/a.yaml", &route("a", 2));
    assert!(watch.is_quiet(Duration::from_secs(60)).await);
    let problems = rig.problems().join("\n");
    assert!(problems.contains("a.yaml: cannot be read: permission denied"), "{problems}");
    assert!(problems.contains("sub: cannot be listed: permission denied"), "{problems}");
    rig.disk.denied.lock().clear();
    assert_eq!(watch.next().await, "+a=2");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
    let mut rig = Rig::new();
    rig.disk.write("/m/a.yaml", &route("a", 1));
    rig.disk.denied.lock().push("/m".into());
    rig.start();
    let mut watch = rig.open();
    assert!(watch.is_quiet(Duration::from_secs(60)).await);
    let problem = "the directory /m cannot be listed: permission denied; waiting for it";
    assert_eq!(rig.problems(), [problem]);
    rig.disk.denied.lock().clear();
    let mut watch = rig.open();
    assert_eq!(watch.next().await, "init +a=1 done");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_scanner_that_starts_again_while_files_are_written_serves_no_less_than_before() {
    let mut rig = Rig::started(&[("/m/a.yaml", &route("a", 1)), ("/m/b.yaml", &route("b", 1))]).await;
    let mut watch = rig.open();
    watch.next().await;
    for half in ["", "---\napiVersion: test.io/v1\nkind: [Rou"] {
        rig.stop().await;
        // An editor has begun to write the one, and has moved the other out of its way.
        rig.disk.write("/m/a.yaml", half);
        rig.disk.remove(Path::new("/m/b.yaml")).unwrap();
        rig.start();
        assert!(watch.is_quiet(80 * MS).await);
        assert_eq!(rig.problems(), Vec::<String>::new());
        rig.disk.write("/m/a.yaml", &route("a", 1));
        rig.disk.write("/m/b.yaml", &route("b", 1));
    }
    assert!(watch.is_quiet(100 * MS).await, "all is as it was");
    rig.stop().await;
    rig.disk.remove(Path::new("/m/b.yaml")).unwrap();
    rig.start();
    assert_eq!(watch.next().await, "-b", "what stays away is gone");
}

#[tokio::test(start_paused = true)]
async fn the_first_look_waits_for_a_file_that_is_being_written() {
    for half in ["", "---\napiVersion: test.io/v1\nkind: [Rou"] {
        let mut rig = Rig::new();
        rig.disk.write("/m/a.yaml", half);
        rig.disk.write("/m/b.yaml", &route("b", 1));
        rig.start();
        let mut watch = rig.open();
        assert!(watch.is_quiet(500 * MS).await, "no list of which half is missing");
        rig.disk.write("/m/a.yaml", &route("a", 1));
        let mut watch = rig.open();
        assert_eq!(watch.next().await, "init +a=1 +b=1 done");
        assert_eq!(rig.problems(), Vec::<String>::new());
    }
    // What nobody is at holds nobody up.
    let mut rig = Rig::new();
    *rig.disk.at_rest.lock() = true;
    rig.disk.write("/m/a.yaml", "kind: [Rou");
    rig.disk.write("/m/b.yaml", &route("b", 1));
    let start = Instant::now();
    rig.start();
    assert_eq!(rig.open().next().await, "init +b=1 done");
    assert_eq!((rig.problems().len(), start.elapsed()), (1, Duration::ZERO));
    // What stays as it is holds nobody up for long.
    let rig = Rig::started(&[("/m/a.yaml", "kind: [Rou"), ("/m/b.yaml", &route("b", 1)), ("/m/c.yaml", "")]).await;
    assert_eq!(rig.open().next().await, "init +b=1 done");
    assert_eq!(rig.problems().len(), 1);
}
