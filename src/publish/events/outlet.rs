//! One source's way out: a queue of what changed, one worker, its own rate, and what happens when a word is refused.

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::id::Name;
use tidegate_actors::problem::{Problem, Serving};
use tidegate_actors::supervisor::Backoff;
use tidegate_actors::watch;
use tidegate_actors::workqueue::{TokenBucket, Work, WorkQueue, WorkQueueOptions};
use tokio::time::Instant;

use super::memory::{Memory, Saying, Step};
use super::{Key, Shared};
use crate::source::sink::{EventSink, Notice, SinkError, WriteRate};

/// How often something is tried to be said before it is let go.
const MAX_TRIES: u32 = 5;

/// How long nothing is said after we were told that we may not.
const REFUSED: Duration = Duration::from_secs(30);

/// How much longer what was refused waits, so that it does not stand in the way of what may be said.
const STAND_BACK: Duration = Duration::from_secs(15);

/// See the module.
pub struct Outlet {
    shared: Arc<Shared>,
    source: Name,
    sink: Arc<dyn EventSink>,
    leading: watch::Receiver<bool>,
    queue: WorkQueue<Key>,
    rate: TokenBucket,
    memory: Memory,
    /// Until when we may not.
    refused: Option<Instant>,
    /// The rule that is missing was named.
    named: bool,
    /// Something was let go, and nothing said since.
    failing: bool,
}

impl Outlet {
    /// One that nobody has told anything yet.
    pub fn new(shared: Arc<Shared>, source: &Name, sink: Arc<dyn EventSink>, rate: WriteRate) -> Self {
        let now = shared.env.clock.now();
        let backoff = Backoff { min: Duration::from_millis(250), ..Backoff::default() };
        // The rate is that of the words; tries are counted here.
        let options = WorkQueueOptions { backoff, rate: None, max_tries: None };
        Self {
            queue: WorkQueue::new("events", options, &shared.env),
            source: source.clone(),
            leading: sink.leading(),
            sink,
            rate: TokenBucket::new(rate, now),
            memory: Memory::default(),
            refused: None,
            named: false,
            failing: false,
            shared,
        }
    }

    /// Says what is to be said, until it is dropped.
    pub async fn run(mut self) {
        self.shared.queues.write().insert(self.source.clone(), self.queue.clone());
        let (queue, mut leading) = (self.queue.clone(), self.leading.clone());
        leading.mark_changed();
        loop {
            let lead = async {
                // A sink that is gone leads no more and begins no more.
                if leading.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                *leading.borrow_and_update()
            };
            tokio::select! {
                biased;
                leads = lead => {
                    self.memory.forget();
                    if leads {
                        self.shared.wrong_with(&self.source).into_iter().for_each(|key| queue.add(key));
                    }
                }
                work = queue.get() => match work {
                    Some(work) => self.look(work).await,
                    None => return,
                },
            }
        }
    }

    async fn look(&mut self, work: Work<Key>) {
        let now = self.shared.env.clock.now();
        if let Some(until) = self.refused.filter(|until| now < *until) {
            return self.later(work, until - now);
        }
        match self.step(work.key(), now) {
            Step::Nothing => return work.done(),
            Step::Wait(wait) => return self.later(work, wait),
            Step::Say(..) => {}
        }
        let turn = self.rate.take(now);
        self.shared.env.clock.sleep(turn.saturating_duration_since(now)).await;
        // It may be over by now.
        let now = self.shared.env.clock.now();
        let Step::Say(saying, before) = self.step(work.key(), now) else { return work.done() };
        let notice = self.notice(work.key(), &saying);
        let result = self.sink.say(&notice, before).await;
        self.conclude(work, saying, before, result);
    }

    fn step(&mut self, key: &Key, now: Instant) -> Step {
        if !*self.leading.borrow() {
            return Step::Nothing;
        }
        if self.shared.is_elsewhere(&key.0) {
            self.memory.forget_of(key);
            return Step::Nothing;
        }
        let held = self.shared.held(&key.0);
        let uid = held.as_ref().and_then(|held| held.uid()).map(Name::from);
        self.memory.step(key, self.shared.wrong(key), held.is_some(), uid.as_ref(), now)
    }

    fn notice(&self, key: &Key, saying: &Saying) -> Notice {
        let (object, action) = key;
        let version = self.shared.held(object).and_then(|held| held.resource_version().map(Name::from));
        Notice {
            object: object.clone(),
            uid: saying.uid.clone(),
            resource_version: version,
            reporter: (self.shared.reporter)(),
            grade: saying.grade,
            action: action.name(),
            reason: saying.said.reason.clone(),
            note: saying.said.note.clone(),
        }
    }

    fn conclude(&mut self, work: Work<Key>, saying: Saying, before: u32, result: Result<u32, SinkError>) {
        let now = self.shared.env.clock.now();
        let outcome = match &result {
            Ok(_) if before == 0 => "said",
            Ok(_) => "repeated",
            Err(SinkError::NotLeading) => "not_leading",
            Err(SinkError::NotPermitted { .. }) => "not_permitted",
            Err(SinkError::Busy { .. }) => "busy",
            Err(SinkError::Conflict | SinkError::Failed { .. }) => "failed",
        };
        self.count(outcome);
        match result {
            Ok(times) => {
                (self.refused, self.named, self.failing) = (None, false, false);
                self.shared.problems.clear(&scope(&self.source), PERMISSION);
                self.memory.was_said(work.key(), saying, times, now);
                work.done();
            }
            // Whoever begins to lead looks at everything.
            Err(SinkError::NotLeading) => work.done(),
            Err(SinkError::NotPermitted { reason }) => {
                self.refused = Some(now + REFUSED);
                if !std::mem::replace(&mut self.named, true) {
                    self.report(&reason);
                }
                self.later(work, REFUSED + STAND_BACK);
            }
            Err(SinkError::Busy { after: Some(after), .. }) => {
                // It asks everybody for patience, and not this word alone.
                self.refused = Some(now + after);
                self.later(work, after);
            }
            Err(error) if work.tries() + 1 < MAX_TRIES => work.retry(error.to_string()),
            Err(error) => {
                let (source, object) = (&self.source, &work.key().0);
                let tries = MAX_TRIES;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%source, %object, %error, tries, "Events cannot be written; some are left out");
                }
                self.count("dropped");
                self.memory.was_said(work.key(), saying, before, now);
                work.done();
            }
        }
    }

    fn later(&self, work: Work<Key>, wait: Duration) {
        self.queue.add_after(work.key().clone(), wait);
        work.done();
    }

    fn count(&self, outcome: &'static str) {
        let labels = [("source", self.source.to_string()), ("outcome", outcome.to_owned())];
        metrics::counter!("tidegate_events_total", &labels).increment(1);
    }

    fn report(&self, reason: &str) {
        let problem = Problem {
            place: self.source.to_string(),
            object: None,
            field: String::new(),
            reason: format!("Events cannot be written: {reason}"),
            serving: Serving::Current,
        };
        tracing::warn!(source = %self.source, reason, "Events are not written");
        self.shared.problems.set(&scope(&self.source), PERMISSION, problem);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.queues.write().remove(&self.source);
        self.shared.problems.replace(&scope(&self.source), []);
    }
}

const PERMISSION: &str = "permission";

fn scope(source: &str) -> String {
    format!("events/{source}")
}
