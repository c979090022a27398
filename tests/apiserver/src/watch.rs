//! Watches: where one begins, and the task that writes its lines until it ends.
//!
//! Laws: a watcher sees every write of what it selects, once and in order, unless a fault says otherwise; a bookmark
//! comes only when everything before it has been sent; a watcher that falls behind what is remembered is cut off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Answer, Broken, JSON};
use crate::faults::{Act, Then, millis};
use crate::harm::Harm;
use crate::kind::Kind;
use crate::object::quoted;
use crate::query::ListOptions;
use crate::routes::Target;
use crate::selectors::Selectors;
use crate::state::{OpenWatch, State};
use crate::status::Status;
use crate::store::Range;
use crate::watch_cache::{Event, WatchCache, frame};

/// Lines that wait for a slow client.
const WAITING: usize = 64;
/// Events that are taken from the cache at once.
const BATCH: usize = 256;

/// Opens a watch.
pub fn watch(state: &Arc<State>, target: &Target, options: &ListOptions, acts: &[Act]) -> Result<Answer, Status> {
    let selectors = Selectors::parse(&target.kind, &options.labels, &options.fields)?;
    let initial = options.initial_events.unwrap_or(false) || matches!(options.version.as_str(), "" | "0");
    let begun = {
        let world = state.world.lock();
        let frozen = state.frozen.borrow().filter(|_| target.replica).map(|frozen| frozen.revision);
        let current = frozen.unwrap_or(world.revision);
        let wanted = options.revision()?;
        let resource = world.resources.get(&target.kind.id()).ok_or_else(|| Status::not_found(&target.kind, ""))?;
        let (cache, life, changes) = (resource.cache.clone(), resource.life.clone(), resource.changes());
        let start = if initial && wanted > current {
            Err(Status::too_large(wanted, current))
        } else if initial {
            let prefix = target.prefix();
            let range = Range { revision: current, prefix: &prefix, from: "", most: 0, left: None };
            let page = resource.page(&range, |object| selectors.matches(object));
            page.map(|page| (current, page.objects)).map_err(|_| Status::list_expired())
        } else {
            let since = cache.lock().since(wanted, 0);
            since.map(|_| (wanted, Vec::new())).map_err(|forgotten| Status::too_old(wanted, forgotten.0))
        };
        start.map(|start| (start, cache, life, changes))
    };
    let ((cursor, objects), cache, life, changes) = match begun {
        Ok(begun) => begun,
        Err(status) if state.options.watch.gone_as_status => return Err(status),
        Err(status) => return Ok(answer::whole(200, JSON, frame("ERROR", &status.to_bytes()))),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let withheld = acts.contains(&Act::WithholdBookmarks);
    let (kind, version) = (target.kind.clone(), target.version.clone());
    let open = OpenWatch { resource: kind.id(), namespace: target.namespace.clone() };
    let (id, commands) = state.enter(open);
    let mut script: Vec<(usize, Then)> = acts.iter().filter_map(scripted).collect();
    script.sort_by_key(|(after, _)| *after);
    let session = Session {
        state: state.clone(),
        id,
        kind,
        version,
        namespace: target.namespace.clone(),
        replica: target.replica,
        selectors,
        harm: Harm::of(acts),
        bookmarks: options.bookmarks && !withheld,
        cache,
        life,
        cursor,
        sender,
        script,
        sent: 0,
        twice: false,
        slow: Duration::ZERO,
    };
    let timeout = options.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(state.options.watch.timeout);
    let closing = initial && options.bookmarks && state.options.watch.streaming_lists && !withheld;
    let begin = Begin { objects, closing, deadline: Instant::now() + timeout };
    tokio::spawn(session.run(begin, changes, commands));
    let lines = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
        let line: Result<Bytes, Broken> = receiver.recv().await?;
        Some((line, receiver))
    });
    Ok(answer::streamed(JSON, lines))
}

fn scripted(act: &Act) -> Option<(usize, Then)> {
    if let Act::Stream { after, then } = act { Some((*after, then.clone())) } else { None }
}

/// What comes before the events.
struct Begin {
    objects: Vec<Arc<crate::object::Object>>,
    /// Whether a bookmark closes them.
    closing: bool,
    deadline: Instant,
}

/// The stream is over.
struct Ended;

struct Session {
    state: Arc<State>,
    id: u64,
    kind: Arc<Kind>,
    version: String,
    namespace: String,
    replica: bool,
    selectors: Selectors,
    harm: Harm,
    bookmarks: bool,
    cache: Arc<Mutex<WatchCache>>,
    life: CancellationToken,
    /// The last revision that has been sent, or would have been.
    cursor: u64,
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    script: Vec<(usize, Then)>,
    sent: usize,
    twice: bool,
    slow: Duration,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.state.leave(self.id);
    }
}

impl Session {
    async fn run(
        mut self,
        begin: Begin,
        changes: tokio::sync::watch::Receiver<u64>,
        commands: mpsc::UnboundedReceiver<Then>,
    ) {
        let deadline = begin.deadline;
        if self.begin(begin).await.is_ok() {
            // Whatever ended it is over; there is nobody to tell.
            let _ended = self.follow(deadline, changes, commands).await;
        }
    }

    async fn begin(&mut self, begin: Begin) -> Result<(), Ended> {
        for object in begin.objects {
            let json = self.harm.apply(&object, object.in_version(&self.kind, &self.version));
            self.line(frame("ADDED", &json)).await?;
        }
        if begin.closing {
            let line = self.bookmark(self.cursor, r#","annotations":{"k8s.io/initial-events-end":"true"}"#);
            self.line(line).await?;
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        deadline: Instant,
        mut changes: tokio::sync::watch::Receiver<u64>,
        mut commands: mpsc::UnboundedReceiver<Then>,
    ) -> Result<(), Ended> {
        let life = self.life.clone();
        let sender = self.sender.clone();
        let mut frozen = self.state.frozen.subscribe();
        let period = self.state.options.watch.bookmark_period;
        let mut bookmark_at = Instant::now() + period;
        loop {
            let seen = self.drain().await?;
            self.due(None).await?;
            tokio::select! {
                biased;
                () = sender.closed() => return Err(Ended),
                Some(then) = commands.recv() => self.suffer(then, None).await?,
                () = life.cancelled() => {
                    // What was written before the type went is still told.
                    self.drain().await?;
                    return Err(Ended);
                }
                changed = changes.changed() => {
                    // Without a sender, the type is gone, and its life is over.
                    if changed.is_err() {
                        self.drain().await?;
                        return Err(Ended);
                    }
                }
                _ = frozen.changed() => {}
                () = sleep_until(deadline) => return Err(Ended),
                () = sleep_until(bookmark_at) => {
                    bookmark_at = Instant::now() + period;
                    if self.bookmarks && seen >= self.cursor {
                        let line = self.bookmark(seen, "");
                        self.line(line).await?;
                    }
                }
            }
        }
    }

    /// Sends all events there are, and says up to which revision that is everything.
    async fn drain(&mut self) -> Result<u64, Ended> {
        loop {
            let (events, revision) = {
                // Nothing is written meanwhile, so that all up to this revision are in the cache.
                let world = self.state.world.lock();
                let events = self.cache.lock().follow(self.cursor, BATCH).map_err(|_| Ended)?;
                (events, world.revision)
            };
            let last = self.state.frozen.borrow().filter(|_| self.replica).map_or(revision, |frozen| frozen.revision);
            let drained = events.len() < BATCH;
            for event in events.iter().filter(|event| event.revision <= last) {
                if let Some(line) = self.of_event(event) {
                    self.line(line).await?;
                }
                self.cursor = event.revision;
            }
            if drained || events.iter().any(|event| event.revision > last) {
                self.cursor = self.cursor.max(last);
                return Ok(last);
            }
        }
    }

    /// What this watcher sees of an event.
    fn of_event(&self, event: &Event) -> Option<Bytes> {
        let object = &event.object;
        if !self.namespace.is_empty() && object.meta.namespace != self.namespace {
            return None;
        }
        let now = !event.deleted && self.selectors.matches(object);
        let before = event.previous.as_ref().is_some_and(|previous| self.selectors.matches(previous));
        let stored = self.version == self.kind.storage || self.kind.behaviour.typed;
        let same_for_all = now != event.deleted && before == event.previous.is_some();
        if stored && same_for_all && !self.harm.meets(object) {
            return Some(event.frame(&self.kind));
        }
        let json =
            |object: &crate::object::Object| self.harm.apply(object, object.in_version(&self.kind, &self.version));
        match (now, before, &event.previous) {
            (true, false, _) => Some(frame("ADDED", &json(object))),
            (true, true, _) => Some(frame("MODIFIED", &json(object))),
            (false, true, _) if event.deleted => Some(frame("DELETED", &json(object))),
            // It no longer matches: its old content at the new version.
            (false, true, Some(previous)) => Some(frame("DELETED", &json(&previous.at(&self.kind, event.revision)))),
            _ => None,
        }
    }

    fn bookmark(&self, revision: u64, annotations: &str) -> Bytes {
        let (name, version) = (quoted(&self.kind.kind), quoted(&self.kind.api_version(&self.version)));
        let meta = format!(r#"{{"resourceVersion":"{revision}"{annotations}}}"#);
        frame("BOOKMARK", format!(r#"{{"kind":{name},"apiVersion":{version},"metadata":{meta}}}"#).as_bytes())
    }

    async fn line(&mut self, line: Bytes) -> Result<(), Ended> {
        self.due(Some(&line)).await?;
        if !self.slow.is_zero() {
            self.state.env().clock.sleep(self.slow).await;
        }
        if self.twice {
            self.write(line.clone()).await?;
        }
        self.write(line).await?;
        self.sent += 1;
        Ok(())
    }

    async fn write(&self, bytes: Bytes) -> Result<(), Ended> {
        self.sender.send(Ok(bytes)).await.map_err(|_| Ended)
    }

    /// What the script has for now.
    async fn due(&mut self, next: Option<&Bytes>) -> Result<(), Ended> {
        while self.script.first().is_some_and(|(after, _)| *after <= self.sent) {
            let (_, then) = self.script.remove(0);
            self.suffer(then, next).await?;
        }
        Ok(())
    }

    async fn suffer(&mut self, then: Then, next: Option<&Bytes>) -> Result<(), Ended> {
        let half = || {
            let made_up = Bytes::from_static(b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Half\"}}");
            let line = next.cloned().unwrap_or(made_up);
            line.slice(..line.len() / 2)
        };
        match then {
            Then::Close => return Err(Ended),
            Then::Cut => {
                self.write(half()).await?;
                // Received or not, the stream is over.
                let _gone = self.sender.send(Err(Broken)).await;
                return Err(Ended);
            }
            Then::Truncate => {
                self.write(half()).await?;
                return Err(Ended);
            }
            Then::Silent => {
                self.sender.closed().await;
                return Err(Ended);
            }
            Then::Write { text } => self.write(Bytes::from(text)).await?,
            Then::Error { status } => {
                self.write(frame("ERROR", &status.to_bytes())).await?;
                return Err(Ended);
            }
            Then::Replay { events } => {
                let last = self.cache.lock().last(events, self.cursor);
                for line in last.iter().filter_map(|event| self.of_event(event)) {
                    self.write(line).await?;
                }
            }
            Then::Duplicate => self.twice = true,
            Then::Slow { millis: late } => self.slow = millis(late),
        }
        Ok(())
    }
}
