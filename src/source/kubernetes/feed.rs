//! One list-then-watch, performed: the machine's actions become requests, what comes back becomes its events.
//!
//! Laws: everything that is waited for has a deadline; a chunk of a body is read at once into events, so no more than
//! one chunk and one unfinished object is held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tidegate_actors::id::Name;
use tidegate_actors::source::{SourceError, SourceEvent};
use tokio::time::Instant;

use super::body::{PageBody, WatchBody};
use super::discover::{self, Position};
use super::ending;
use super::exchange::{Answer, chunk, exchange};
use super::failure::{Ending, Failure};
use super::landmark::Tracker;
use super::machine::{Action, Event, State, step};
use super::pool::Place;
use super::quarantine::Named;
use super::request::Target;
use super::shared::{Memory, Shared};

/// See the module.
pub(super) struct Feed {
    shared: Arc<Shared>,
    memory: Arc<Memory>,
    target: Target,
    state: State,
    todo: VecDeque<Action>,
    told: VecDeque<Result<SourceEvent, SourceError>>,
    io: Io,
    probe: Option<BoxFuture<'static, Option<Position>>>,
    tracker: Tracker,
    /// Of the credentials that the last request used.
    generation: u64,
    /// The last request was a list, streaming or not.
    listing: bool,
    named: Named,
    ended: bool,
}

enum Io {
    Idle,
    Page { body: Body, page: PageBody },
    Watch(Watch),
}

struct Watch {
    body: Body,
    lines: WatchBody,
    silent_at: Instant,
    silence: Duration,
    bookmark_by: Option<Instant>,
    settled_at: Option<Instant>,
    _place: Option<Place>,
}

impl Feed {
    /// A feed that begins when it is asked for the first event.
    pub fn new(shared: Arc<Shared>, memory: Arc<Memory>, target: Target, from: Option<Name>) -> Self {
        let streaming = shared.streams(&target.resource_type);
        let (state, actions) = step(State::Closed, Event::Open { from, streaming });
        let tracker = Tracker::new(memory.clone(), target.namespace.clone());
        Self {
            shared,
            memory,
            target,
            state,
            todo: actions.into(),
            told: VecDeque::new(),
            io: Io::Idle,
            probe: None,
            tracker,
            generation: 0,
            listing: false,
            named: Named::new(),
            ended: false,
        }
    }

    /// What is told next; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<SourceEvent, SourceError>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            if self.ended {
                return None;
            }
            match self.todo.pop_front() {
                Some(action) => self.perform(action).await,
                None => {
                    for event in self.wait().await {
                        self.take(event);
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (state, actions) = step(state, event);
        self.state = state;
        for action in actions {
            match action {
                Action::Emit(event) => {
                    if matches!(event, SourceEvent::InitDone(_)) {
                        self.list_complete();
                    }
                    self.tracker.tell(&event);
                    self.told.push_back(Ok(event));
                }
                other => self.todo.push_back(other),
            }
        }
    }

    fn list_complete(&mut self) {
        self.memory.quarantine.keep_only(&self.target.namespace, &std::mem::take(&mut self.named));
        self.memory.listed.store(true, Ordering::SeqCst);
        self.listing = false;
        if let Io::Watch(watch) = &mut self.io {
            watch.bookmark_by = None;
        }
    }

    async fn perform(&mut self, action: Action) {
        match action {
            // Those are told where they come up.
            Action::Emit(event) => self.told.push_back(Ok(event)),
            Action::RememberPaged => self.shared.remember_paged(&self.target.resource_type),
            Action::RequestPage { next, limited } => {
                (self.listing, self.io) = (true, Io::Idle);
                if next.is_none() {
                    self.named.clear();
                }
                let limit = limited.then_some(self.shared.options.page_size);
                let request = self.target.page(limit, next.as_deref());
                if let Some(Answer { body, .. }) = self.ask(request, false).await {
                    self.io = Io::Page { body, page: PageBody::new(self.shared.options.max_object) };
                }
            }
            Action::OpenStreaming => {
                self.listing = true;
                self.named.clear();
                let timeout = self.watch_timeout();
                let deadline = self.shared.options.bookmark_deadline;
                self.watch(self.target.streaming(timeout), timeout, Some(deadline)).await;
            }
            Action::OpenWatch { from } => {
                (self.listing, self.io) = (false, Io::Idle);
                let timeout = self.watch_timeout();
                self.watch(self.target.watch(&from, timeout), timeout, None).await;
            }
            Action::Probe => {
                let landmark = self.tracker.before().cloned();
                self.probe = Some(discover::position(self.shared.clone(), self.target.clone(), landmark));
            }
            Action::End(ending) => self.end(ending).await,
        }
    }

    async fn end(&mut self, ending: Ending) {
        (self.ended, self.io, self.probe) = (true, Io::Idle, None);
        let error = ending::conclude(&self.shared, &self.memory, &self.target, self.listing, self.generation, ending);
        self.told.push_back(Err(error.await));
    }

    /// Between once and twice the configured time, so that watches that began together do not end together.
    fn watch_timeout(&self) -> Duration {
        let least = self.shared.options.watch_timeout;
        least + Duration::from_millis(self.shared.env.rng.below(u64::try_from(least.as_millis()).unwrap_or(u64::MAX)))
    }

    async fn watch(&mut self, request: Request<Body>, timeout: Duration, bookmark: Option<Duration>) {
        let Some(Answer { body, place }) = self.ask(request, true).await else { return };
        let options = &self.shared.options;
        let (now, silence) = (self.shared.env.clock.now(), timeout + options.silence_grace);
        self.io = Io::Watch(Watch {
            body,
            lines: WatchBody::new(options.max_object),
            silent_at: now + silence,
            silence,
            bookmark_by: bookmark.map(|deadline| now + deadline),
            settled_at: bookmark.is_none().then(|| now + options.settle),
            _place: place,
        });
    }

    async fn ask(&mut self, request: Request<Body>, watch: bool) -> Option<Answer> {
        let (generation, answer) = exchange(&self.shared, request, watch).await;
        self.generation = generation;
        match answer {
            Ok(answer) => Some(answer),
            Err(failure) => {
                self.take(Event::Failed(failure));
                None
            }
        }
    }

    /// Waits for what happens next.
    async fn wait(&mut self) -> Vec<Event> {
        let context = Context { shared: &self.shared, memory: &self.memory, target: &self.target };
        match &mut self.io {
            Io::Idle => vec![Event::Broken("there is nothing to wait for".to_owned())],
            Io::Page { body, page } => {
                let deadline = self.shared.options.response_timeout;
                match chunk(body, &self.shared.env, deadline).await {
                    Err(reason) => vec![Event::Broken(reason)],
                    Ok(Some(bytes)) => page.feed(&bytes, &context, &mut self.named),
                    Ok(None) => {
                        let Io::Page { page, .. } = std::mem::replace(&mut self.io, Io::Idle) else {
                            return Vec::new();
                        };
                        vec![page.finish()]
                    }
                }
            }
            Io::Watch(watch) => {
                let clock = &self.shared.env.clock;
                let alarm =
                    [watch.bookmark_by, watch.settled_at].into_iter().flatten().fold(watch.silent_at, Instant::min);
                let probe = async {
                    match &mut self.probe {
                        Some(probe) => probe.await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    frame = watch.body.frame() => watch.heard(frame, &context, &mut self.named, self.listing, clock.now()),
                    position = probe => {
                        self.probe = None;
                        let event = probed(position, &mut self.tracker);
                        if self.tracker.is_missed() {
                            watch.settled_at = Some(clock.now() + self.shared.options.settle);
                        }
                        vec![event]
                    }
                    () = clock.sleep(alarm.saturating_duration_since(clock.now())) => {
                        watch.over(clock.now(), &self.tracker)
                    }
                }
            }
        }
    }
}

/// What was heard of a position.
fn probed(position: Option<Position>, tracker: &mut Tracker) -> Event {
    let Some(Position { version, verdict }) = position else { return Event::Probed(None) };
    let judged = verdict.map_or(Ok(()), |verdict| tracker.judged(verdict));
    judged.map_or_else(Event::Lost, |()| Event::Probed(Some(version)))
}

impl Watch {
    fn heard(
        &mut self,
        frame: Option<Result<hyper::body::Frame<Bytes>, kube::Error>>,
        context: &Context<'_>,
        named: &mut Named,
        listing: bool,
        now: Instant,
    ) -> Vec<Event> {
        match frame {
            None => self.lines.finish(context, named, listing),
            Some(Err(error)) => vec![Event::Broken(super::access::words(&error))],
            Some(Ok(frame)) => {
                self.silent_at = now + self.silence;
                let data = frame.into_data().unwrap_or_default();
                self.lines.feed(&data, context, named, listing)
            }
        }
    }

    fn over(&mut self, now: Instant, tracker: &Tracker) -> Vec<Event> {
        let mut events = Vec::new();
        if self.silent_at <= now {
            events.push(Event::Silence);
        }
        if self.bookmark_by.is_some_and(|by| by <= now) {
            self.bookmark_by = None;
            events.push(Event::BookmarkOverdue);
        }
        if self.settled_at.is_some_and(|at| at <= now) {
            self.settled_at = None;
            events.push(tracker.explained().map_or_else(Event::Lost, |()| Event::Settled));
        }
        events
    }
}

/// What reading a body needs to know.
pub(super) struct Context<'a> {
    pub shared: &'a Shared,
    pub memory: &'a Memory,
    pub target: &'a Target,
}

impl From<Failure> for Event {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
