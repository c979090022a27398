//! The transitions, one by one.

use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::object::Decoder;

use super::*;

fn mk_object(name: &str) -> Arc<Object> {
    let things = ResourceType::new("", "v1", "Thing", "things", Scope::Cluster);
    Arc::new(Decoder::new("c".into(), things).decode(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#)).unwrap())
}

fn object(name: &str, version: &str) -> Event {
    Event::Object { object: mk_object(name), version: Some(version.into()) }
}

fn deleted(name: &str, version: &str) -> Event {
    Event::Deleted { key: ObjectKey::cluster("c", name), version: Some(version.into()) }
}

fn unreadable(name: &str, version: Option<&str>) -> Event {
    Event::Unreadable { key: Some(ObjectKey::cluster("c", name)), version: version.map(Name::from) }
}

fn page_end(version: &str, next: &str) -> Event {
    Event::PageEnd { version: Some(version.into()), next: Some(next.to_owned()) }
}

fn bookmark(version: &str, initial_end: bool) -> Event {
    Event::Bookmark { version: Some(version.into()), initial_end }
}

fn failed(code: u16) -> Event {
    Event::Failed(Failure { code, message: "no".to_owned(), ..Failure::default() })
}

/// Runs events through the machine and spells all actions.
fn run(streaming: bool, from: Option<&str>, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let open = Event::Open { from: from.map(Name::from), streaming };
    let (mut state, mut spelled) = (State::Closed, Vec::new());
    for event in [open].into_iter().chain(events) {
        let (next, actions) = step(state, event);
        state = next;
        spelled.extend(actions.iter().map(spell));
    }
    spelled
}

fn spell(action: &Action) -> String {
    match action {
        Action::RequestPage { next: Some(next), limited: true } => format!("page {next}"),
        Action::RequestPage { next: None, limited: true } => "page".to_owned(),
        Action::RequestPage { next: None, limited: false } => "whole list".to_owned(),
        Action::RequestPage { next: Some(_), limited: false } => panic!("a token without a limit"),
        Action::OpenStreaming => "stream".to_owned(),
        Action::OpenWatch { from } => format!("watch {from}"),
        Action::Probe => "probe".to_owned(),
        Action::RememberPaged => "no streams".to_owned(),
        Action::Emit(event) => match event {
            SourceEvent::Init => "Init".to_owned(),
            SourceEvent::InitApply(object) => format!("={}", object.key().name),
            SourceEvent::InitKeep(key) => format!("keep {}", key.name),
            SourceEvent::InitDone(Cursor(at)) => format!("Done {at}"),
            SourceEvent::Apply(object) => format!("+{}", object.key().name),
            SourceEvent::Delete(key) => format!("-{}", key.name),
            SourceEvent::Bookmark(Cursor(at)) => format!("@{at}"),
        },
        Action::End(ending) => match ending {
            Ending::Retry { .. } => "retry".to_owned(),
            Ending::Relist { .. } => "relist".to_owned(),
            Ending::Absent { .. } => "absent".to_owned(),
            Ending::Unauthorized { .. } => "unauthorized".to_owned(),
            Ending::Forbidden { .. } => "forbidden".to_owned(),
        },
    }
}

#[test]
fn a_list_comes_in_pages_and_the_watch_goes_on_from_the_first_ones_version() {
    let events = [object("a", "3"), page_end("7", "t1"), object("b", "4"), page_end("9", ""), object("b", "8")];
    let told = run(false, None, events);
    assert_eq!(told, ["page", "Init", "=a", "page t1", "=b", "Done 7", "watch 7", "+b", "@8"]);
}

#[test]
fn an_empty_list_is_a_list() {
    assert_eq!(run(false, None, [page_end("7", "")]), ["page", "Init", "Done 7", "watch 7"]);
}

#[test]
fn an_expired_page_restarts_the_list_as_a_whole_and_what_was_told_of_it_is_dropped() {
    let events = [object("a", "3"), page_end("7", "t1"), failed(410), object("b", "9"), page_end("11", "")];
    let told = run(false, None, events);
    assert_eq!(told, ["page", "Init", "=a", "page t1", "whole list", "Init", "=b", "Done 11", "watch 11"]);
}

#[test]
fn a_first_page_that_is_gone_and_a_whole_list_that_expires_end_in_another_list() {
    assert_eq!(run(false, None, [failed(410)]), ["page", "relist"]);
    let told = run(false, None, [page_end("7", "t1"), failed(410), failed(410)]);
    assert_eq!(told, ["page", "Init", "page t1", "whole list", "relist"]);
}

#[test]
fn a_list_without_a_version_to_go_on_from_is_not_believed() {
    for version in ["0", ""] {
        assert_eq!(run(false, None, [page_end(version, "")]), ["page", "retry"]);
        assert_eq!(run(true, None, [bookmark(version, true)]), ["stream", "retry"]);
    }
}

#[test]
fn a_list_that_breaks_off_is_never_completed() {
    for event in [Event::Broken("cut".to_owned()), Event::BodyEnd, Event::Silence, failed(500)] {
        assert_eq!(run(false, None, [object("a", "1"), event]), ["page", "Init", "=a", "retry"]);
    }
}

#[test]
fn each_status_ends_a_list_or_a_watch_in_its_own_way() {
    for (code, ending) in
        [(401, "unauthorized"), (403, "forbidden"), (404, "absent"), (429, "retry"), (503, "retry"), (410, "relist")]
    {
        assert_eq!(run(false, None, [failed(code)]), ["page", ending]);
        assert_eq!(run(false, Some("5"), [failed(code)]), ["watch 5", ending]);
        assert_eq!(run(true, None, [failed(code)]), ["stream", ending]);
    }
}

#[test]
fn a_streaming_list_ends_with_its_bookmark_and_goes_on_as_the_watch() {
    let events = [object("a", "3"), bookmark("5", false), object("b", "2"), bookmark("7", true), deleted("a", "8")];
    assert_eq!(run(true, None, events), ["stream", "Init", "=a", "=b", "Done 7", "-a", "@8"]);
}

#[test]
fn a_deletion_in_the_middle_of_a_streaming_list_counts() {
    let events = [object("a", "3"), deleted("a", "4"), bookmark("7", true)];
    assert_eq!(run(true, None, events), ["stream", "Init", "=a", "-a", "Done 7"]);
}

#[test]
fn a_server_without_streaming_lists_is_asked_for_pages_and_that_is_remembered() {
    for code in [400, 405, 422, 501] {
        let told = run(true, None, [failed(code), page_end("7", "")]);
        assert_eq!(told, ["stream", "no streams", "page", "Init", "Done 7", "watch 7"]);
    }
}

#[test]
fn a_bookmark_that_never_comes_ends_in_a_plain_list() {
    for event in [Event::BookmarkOverdue, Event::BodyEnd] {
        let told = run(true, None, [object("a", "3"), event, object("b", "1"), page_end("7", "")]);
        assert_eq!(told, ["stream", "Init", "=a", "no streams", "page", "Init", "=b", "Done 7", "watch 7"]);
    }
}

#[test]
fn a_streaming_list_that_is_cut_is_tried_again() {
    assert_eq!(run(true, None, [Event::Broken("cut".to_owned())]), ["stream", "retry"]);
    assert_eq!(run(true, None, [Event::Silence]), ["stream", "retry"]);
}

#[test]
fn with_a_cursor_there_is_no_list() {
    let events = [object("a", "6"), deleted("b", "7"), bookmark("9", false)];
    assert_eq!(run(true, Some("5"), events), ["watch 5", "+a", "@6", "-b", "@7", "@9"]);
}

#[test]
fn a_cursor_from_which_nobody_may_go_on_is_as_good_as_none() {
    assert_eq!(run(false, Some("0"), []), ["page"]);
    assert_eq!(run(true, Some(""), []), ["stream"]);
}

#[test]
fn a_cursor_that_the_server_does_not_understand_is_forgotten() {
    assert_eq!(run(false, Some("x"), [failed(400)]), ["watch x", "relist"]);
    assert_eq!(run(false, None, [page_end("7", ""), failed(400)]), ["page", "Init", "Done 7", "watch 7", "retry"]);
}

#[test]
fn the_end_of_a_watch_in_whatever_way_asks_to_resume_and_moves_no_cursor() {
    for event in [Event::BodyEnd, Event::Broken("garbage".to_owned()), Event::Silence] {
        assert_eq!(run(false, Some("5"), [object("a", "6"), event]), ["watch 5", "+a", "@6", "retry"]);
    }
}

#[test]
fn old_news_is_not_told_once_the_server_is_known_to_be_where_we_are() {
    let events = [bookmark("6", false), object("a", "4"), bookmark("3", false), deleted("b", "5"), object("c", "7")];
    assert_eq!(run(false, Some("5"), events), ["watch 5", "@6", "+c", "@7"]);
    let told = run(false, None, [page_end("7", ""), object("a", "4")]);
    assert_eq!(told, ["page", "Init", "Done 7", "watch 7"]);
}

#[test]
fn a_resumed_watch_that_tells_older_things_is_of_a_server_that_went_back() {
    for event in [object("a", "4"), deleted("a", "4"), bookmark("4", false), Event::Probed(Some("4".into()))] {
        assert_eq!(run(false, Some("5"), [event]), ["watch 5", "relist"]);
    }
}

#[test]
fn whoever_resumes_a_watch_asks_once_where_the_server_is() {
    let events = [Event::Settled, Event::Probed(Some("5".into())), object("a", "4"), Event::Settled];
    assert_eq!(
        run(false, Some("5"), events),
        ["watch 5", "probe", "@5"],
        "proven by the answer, so the old event is old news"
    );
    assert_eq!(run(false, Some("5"), [Event::Settled, Event::Probed(None)]), ["watch 5", "probe"]);
    assert_eq!(
        run(false, Some("5"), [object("a", "6"), Event::Settled, object("a", "9"), Event::Probed(Some("8".into()))]),
        ["watch 5", "+a", "@6", "probe", "+a", "@9"],
        "it was where it is said to be when it was asked"
    );
    let own = [page_end("7", ""), Event::Settled];
    assert_eq!(run(false, None, own), ["page", "Init", "Done 7", "watch 7"], "a list says it as well");
}

#[test]
fn a_server_that_has_lost_what_it_told_is_listed_anew() {
    let lost = || Event::Lost("a is missing".to_owned());
    assert_eq!(run(false, Some("5"), [object("a", "6"), lost()]), ["watch 5", "+a", "@6", "relist"]);
    assert_eq!(run(false, None, [lost(), page_end("7", "")]), ["page", "Init", "Done 7", "watch 7"]);
}

#[test]
fn versions_that_are_no_numbers_are_taken_as_they_come() {
    let events = [object("a", "def"), object("b", "abc"), Event::Probed(Some("aaa".into()))];
    assert_eq!(run(false, Some("xyz"), events), ["watch xyz", "+a", "@def", "+b", "@abc"]);
}

#[test]
fn an_event_without_a_version_is_told_and_moves_nothing() {
    let event = Event::Object { object: mk_object("a"), version: None };
    assert_eq!(run(false, Some("5"), [event]), ["watch 5", "+a"]);
}

#[test]
fn an_unreadable_object_keeps_its_place_in_a_list_and_moves_the_cursor_of_a_watch() {
    let nameless = Event::Unreadable { key: None, version: None };
    let events =
        [unreadable("a", Some("3")), nameless.clone(), page_end("7", ""), unreadable("b", Some("8")), nameless];
    assert_eq!(run(false, None, events), ["page", "Init", "keep a", "Done 7", "watch 7", "@8"]);
    let told = run(true, None, [unreadable("a", None), bookmark("7", true)]);
    assert_eq!(told, ["stream", "Init", "keep a", "Done 7"]);
}

#[test]
fn nothing_is_done_before_the_beginning_or_after_the_end() {
    assert_eq!(step(State::Closed, object("a", "1")).0, State::Closed);
    assert!(step(State::Ended, Event::Open { from: None, streaming: true }).1.is_empty());
}
