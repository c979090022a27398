//! One open watch: the task that writes its lines until it ends.
//!
//! Laws: a watcher sees every write of what it selects, once and in order, unless a fault says otherwise; a bookmark
//! comes only when everything before it has been sent; a watcher that falls behind what is remembered is cut off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer::Broken;
use crate::fault::{Then, millis};
use crate::harm::Harm;
use crate::kind::Kind;
use crate::object::{Object, quoted};
use crate::selectors::Selectors;
use crate::state::State;
use crate::watch_cache::{Event, WatchCache, frame};

/// Events that are taken from the cache at once.
const BATCH: usize = 256;

/// What comes before the events.
pub struct Begin {
    /// What is there.
    pub objects: Vec<Arc<Object>>,
    /// Whether a bookmark closes them.
    pub closing: bool,
    /// When it ends.
    pub deadline: Instant,
}

/// The stream is over.
struct Ended;

/// One open watch.
pub struct Session {
    /// What requests share.
    pub state: Arc<State>,
    /// Its entry among the open watches.
    pub id: u64,
    /// What it watches.
    pub kind: Arc<Kind>,
    /// In which version.
    pub version: String,
    /// Where; empty for everywhere.
    pub namespace: String,
    /// Whether the replica is asked.
    pub replica: bool,
    /// What is meant.
    pub selectors: Selectors,
    /// What comes as something else.
    pub harm: Harm,
    /// Whether it gets bookmarks.
    pub bookmarks: bool,
    /// What happened.
    pub cache: Arc<Mutex<WatchCache>>,
    /// Ends it with its type.
    pub life: CancellationToken,
    /// The last revision that has been sent, or would have been.
    pub cursor: u64,
    /// Where lines go.
    pub sender: mpsc::Sender<Result<Bytes, Broken>>,
    /// After how many lines what happens.
    pub script: Vec<(usize, Then)>,
    /// How many lines have been sent.
    pub sent: usize,
    /// Whether every line goes twice.
    pub twice: bool,
    /// How late every line is.
    pub slow: Duration,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.state.leave(self.id);
    }
}

impl Session {
    /// Runs it to its end.
    pub async fn run(
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
        let json = |object: &Object| self.harm.apply(object, object.in_version(&self.kind, &self.version));
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
