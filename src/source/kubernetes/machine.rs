//! List-then-watch as a state machine: what happened goes in, what is to be done comes out. It knows the rules of the
//! Kubernetes API (pages, continue tokens, bookmarks, streaming lists, versions), and nothing of HTTP or time.
//!
//! Laws: a list is a consistent one, never "any version"; a cursor moves only over what was told; only a list may lower
//! what is held, so what is older than the cursor is either old news or the sign of a server that went back in time.

use std::cmp::Ordering;
use std::sync::Arc;

use tidegate_actors::id::{Name, ObjectKey};
use tidegate_actors::object::Object;
use tidegate_actors::source::{Cursor, SourceEvent};

use super::failure::{Ending, Failure};
use super::version::{compare, is_usable};

/// Where a list or watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has been asked for.
    Closed,
    /// The pages of a list come one by one.
    Listing(Listing),
    /// A list comes as the beginning of a watch (KEP-3157); `begun` once anything of it came.
    Streaming { begun: bool },
    /// The list is known, changes are followed.
    Watching(Watching),
    /// Nothing comes any more.
    Ended,
}

/// A list under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// How many pages are complete.
    pages: u32,
    /// Anything of it was told.
    begun: bool,
    /// It was asked for in one piece, since its pages had expired.
    whole: bool,
    /// The version of its first page, which is that of all.
    version: Option<Name>,
}

/// A watch under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Up to where everything was told.
    cursor: Name,
    /// The server is known to have reached the cursor itself. One that was restored from a backup has not: it would be
    /// silent until it gets there, and what it tells then is another history.
    proven: bool,
    /// It was asked where it is, or the list was its own.
    asked: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody wants the objects; `streaming` if lists may come as streams.
    Open { from: Option<Name>, streaming: bool },
    /// An item of a page, or an object added or changed.
    Object { object: Arc<Object>, version: Option<Name> },
    /// An object that cannot be read, which was reported; what is held of it stays.
    Unreadable { key: Option<ObjectKey>, version: Option<Name> },
    /// An object was deleted, or must not be kept.
    Deleted { key: ObjectKey, version: Option<Name> },
    /// All of a page has come.
    PageEnd { version: Option<Name>, next: Option<String> },
    /// Everything up to a version was told; `initial_end` if that ends a streaming list.
    Bookmark { version: Option<Name>, initial_end: bool },
    /// The server said what went wrong, as a status or in the stream.
    Failed(Failure),
    /// The body is over, in good order.
    BodyEnd,
    /// The body broke off, or is not what it should be.
    Broken(String),
    /// Nothing at all came for too long.
    Silence,
    /// The bookmark that ends a streaming list did not come in time.
    BookmarkOverdue,
    /// A watch has gone on for a while.
    Settled,
    /// The version at which the server is now.
    Probed(Option<Name>),
    /// Something that was told is not there, or is older than it was.
    Lost(String),
}

/// What is to be done, in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask for a page of a consistent list; `next` is the last page's continue token.
    RequestPage { next: Option<String>, limited: bool },
    /// Ask for a streaming list that goes on as a watch.
    OpenStreaming,
    /// Ask for a watch.
    OpenWatch { from: Name },
    /// Ask for the version at which the server is.
    Probe,
    /// The server does not do streaming lists: do not ask again.
    RememberPaged,
    /// Tell the reflector.
    Emit(SourceEvent),
    /// Say how it ended.
    End(Ending),
}

type Step = (State, Vec<Action>);

/// The next state, and what to do.
pub fn step(state: State, event: Event) -> Step {
    match (state, event) {
        (State::Ended, _) => (State::Ended, Vec::new()),
        (_, Event::Open { from, streaming }) => open(from, streaming),
        (State::Closed, _) => (State::Closed, Vec::new()),
        (State::Listing(listing), event) => in_list(listing, event),
        (State::Streaming { begun }, event) => in_stream(begun, event),
        (State::Watching(watching), event) => in_watch(watching, event),
    }
}

fn open(from: Option<Name>, streaming: bool) -> Step {
    match from.filter(|version| is_usable(version)) {
        Some(from) => {
            let watching = Watching { cursor: from.clone(), proven: false, asked: false };
            (State::Watching(watching), vec![Action::OpenWatch { from }])
        }
        None if streaming => (State::Streaming { begun: false }, vec![Action::OpenStreaming]),
        None => (State::Listing(Listing::default()), vec![first_page()]),
    }
}

fn first_page() -> Action {
    Action::RequestPage { next: None, limited: true }
}

fn end(ending: Ending) -> Step {
    (State::Ended, vec![Action::End(ending)])
}

/// What is told of a list, after its beginning if this is the first of it.
fn tell(begun: &mut bool, event: Option<SourceEvent>) -> Vec<Action> {
    let init = (!std::mem::replace(begun, true)).then_some(SourceEvent::Init);
    init.into_iter().chain(event).map(Action::Emit).collect()
}

/// The list is complete; `Err` when nobody could go on from its version.
fn complete(begun: &mut bool, version: Option<Name>) -> Result<(Watching, Vec<Action>), Step> {
    let Some(version) = version.filter(|version| is_usable(version)) else {
        return Err(end(Ending::retry("the list has no resource version from which to watch")));
    };
    let actions = tell(begun, Some(SourceEvent::InitDone(Cursor(version.clone()))));
    Ok((Watching { cursor: version, proven: true, asked: true }, actions))
}

fn in_list(mut listing: Listing, event: Event) -> Step {
    let actions = match event {
        Event::Object { object, .. } => tell(&mut listing.begun, Some(SourceEvent::InitApply(object))),
        Event::Unreadable { key, .. } => tell(&mut listing.begun, key.map(SourceEvent::InitKeep)),
        Event::PageEnd { version, next } => {
            listing.pages += 1;
            let version = listing.version.take().or(version);
            match next.filter(|token| !token.is_empty()) {
                Some(token) => {
                    listing.version = version;
                    let mut actions = tell(&mut listing.begun, None);
                    actions.push(Action::RequestPage { next: Some(token), limited: true });
                    actions
                }
                None => match complete(&mut listing.begun, version) {
                    Ok((watching, mut actions)) => {
                        actions.push(Action::OpenWatch { from: watching.cursor.clone() });
                        return (State::Watching(watching), actions);
                    }
                    Err(ended) => return ended,
                },
            }
        }
        // The token has expired. The server may offer another that goes on in a newer state, which would be no
        // consistent list; nor would smaller pages be faster. So: all at once.
        Event::Failed(failure) if failure.is_expired() && listing.pages > 0 && !listing.whole => {
            let actions = vec![Action::RequestPage { next: None, limited: false }];
            return (State::Listing(Listing { whole: true, ..Listing::default() }), actions);
        }
        Event::Failed(failure) => return end(failure.classify()),
        Event::Broken(reason) => return end(Ending::Retry { reason, after: None }),
        Event::BodyEnd | Event::Silence => return end(Ending::retry("the list broke off")),
        _ => Vec::new(),
    };
    (State::Listing(listing), actions)
}

fn in_stream(mut begun: bool, event: Event) -> Step {
    let actions = match event {
        Event::Object { object, .. } => tell(&mut begun, Some(SourceEvent::InitApply(object))),
        Event::Unreadable { key, .. } => tell(&mut begun, key.map(SourceEvent::InitKeep)),
        Event::Deleted { key, .. } => tell(&mut begun, Some(SourceEvent::Delete(key))),
        Event::Bookmark { version, initial_end: true } => match complete(&mut begun, version) {
            Ok((watching, actions)) => return (State::Watching(watching), actions),
            Err(ended) => return ended,
        },
        Event::Failed(failure) if failure.is_unsupported() => return paged_instead(),
        Event::BookmarkOverdue | Event::BodyEnd => return paged_instead(),
        Event::Failed(failure) => return end(failure.classify()),
        Event::Broken(reason) => return end(Ending::Retry { reason, after: None }),
        Event::Silence => return end(silent()),
        _ => Vec::new(),
    };
    (State::Streaming { begun }, actions)
}

fn paged_instead() -> Step {
    (State::Listing(Listing::default()), vec![Action::RememberPaged, first_page()])
}

fn silent() -> Ending {
    Ending::retry("the watch was silent for too long")
}

fn in_watch(mut watching: Watching, event: Event) -> Step {
    let actions = match event {
        Event::Object { object, version } => watching.follow(version, Some(SourceEvent::Apply(object))),
        Event::Deleted { key, version } => watching.follow(version, Some(SourceEvent::Delete(key))),
        Event::Unreadable { version, .. } => watching.follow(version, None),
        Event::Bookmark { version, .. } => watching.follow(version, None),
        // A cursor that the server cannot make sense of is not its own.
        Event::Failed(failure) if failure.is_unsupported() && !watching.proven => {
            return end(Ending::Relist { reason: failure.to_string() });
        }
        Event::Failed(failure) => return end(failure.classify()),
        Event::Broken(reason) => return end(Ending::Retry { reason, after: None }),
        Event::BodyEnd => return end(Ending::retry("the watch ended")),
        Event::Silence => return end(silent()),
        Event::Settled if !watching.asked => {
            watching.asked = true;
            Ok(vec![Action::Probe])
        }
        Event::Lost(what) => return end(went_back(&what)),
        // Whoever was proven meanwhile may be past what was asked for then.
        Event::Probed(Some(version)) if is_usable(&version) && !watching.proven => {
            if compare(&version, &watching.cursor) == Some(Ordering::Less) {
                return end(watching.is_behind(&version));
            }
            // It is heard now, though nothing has happened.
            watching.proven = true;
            Ok(vec![Action::Emit(SourceEvent::Bookmark(Cursor(watching.cursor.clone())))])
        }
        _ => Ok(Vec::new()),
    };
    match actions {
        Ok(actions) => (State::Watching(watching), actions),
        Err(ending) => end(ending),
    }
}

impl Watching {
    /// Tells what a version brought, unless it is older than what was told already.
    fn follow(&mut self, version: Option<Name>, event: Option<SourceEvent>) -> Result<Vec<Action>, Ending> {
        let Some(version) = version.filter(|version| is_usable(version)) else {
            return Ok(event.into_iter().map(Action::Emit).collect());
        };
        if compare(&version, &self.cursor) == Some(Ordering::Less) {
            // The cursor includes it, if the server's history is the one that the cursor comes from.
            return if self.proven { Ok(Vec::new()) } else { Err(self.is_behind(&version)) };
        }
        self.proven = true;
        self.cursor = version.clone();
        let bookmark = SourceEvent::Bookmark(Cursor(version));
        Ok(event.into_iter().chain([bookmark]).map(Action::Emit).collect())
    }

    fn is_behind(&self, version: &str) -> Ending {
        went_back(&format!("it is at {version}, and had been at {}", self.cursor))
    }
}

fn went_back(what: &str) -> Ending {
    Ending::Relist { reason: format!("the API server went back in time: {what}") }
}

#[cfg(test)]
mod tests;
