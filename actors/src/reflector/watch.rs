//! The reflector's loop: open, feed, and when the stream ends, wait as its error advises.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::attempts::Attempts;
use super::{Reflector, faulty};
use crate::queue::Phase;
use crate::source::{SourceError, SourceEvent, SourceStream};
use crate::supervisor::{BoxError, Reporter, TaskContext};

/// Runs until its context says stop.
pub(super) async fn run(reflector: Reflector, context: TaskContext) -> Result<(), BoxError> {
    let mut attempts = Attempts::new(&reflector.options, &reflector.env);
    let counters = Counters::new(&reflector);
    let mut watch = Watch { reflector, reporter: context.reporter, counters, healthy: false };
    let work = async {
        loop {
            let wait = attempts.permit();
            if !wait.is_zero() {
                watch.reflector.env.clock.sleep(wait).await;
                continue;
            }
            // Heard from before the stream is opened: what comes while it is refused is not missed.
            let arrival = watch.reflector.source.arrival(watch.reflector.lister.resource_type());
            let end = watch.follow(&mut attempts).await;
            let wait = watch.ended(&end, &mut attempts);
            let wait = watch.reflector.env.clock.sleep(wait);
            if !matches!(end, SourceError::Absent { .. }) {
                wait.await;
                continue;
            }
            tokio::select! {
                biased;
                () = arrival => {}
                () = wait => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = context.stop.stopped() => Ok(()),
        () = work => Ok(()),
    }
}

struct Watch {
    reflector: Reflector,
    reporter: Reporter,
    counters: Counters,
    healthy: bool,
}

impl Watch {
    /// Opens the stream and feeds the queue with it until it ends; says how it ended.
    async fn follow(&mut self, attempts: &mut Attempts) -> SourceError {
        // What an earlier stream began to list, before it was cut or its reflector killed, is of no use.
        let (from, doubtful) = self.reflector.port.send(|queue| {
            queue.abort_list();
            (queue.cursor().cloned(), queue.is_doubtful())
        });
        let mut stream = self.open(from.clone());
        // Silence proves nothing of a source that has not been heard in this life.
        let mut patience = Patience::new(&self.reflector, from.is_some(), from.is_some() && !doubtful);
        let mut alarm = self.reflector.env.clock.sleep(patience.remaining());
        loop {
            let item = tokio::select! {
                biased;
                item = stream.next() => Some(item),
                () = &mut alarm => None,
            };
            match item {
                Some(Some(Ok(event))) => {
                    patience.heard(&event);
                    self.feed(event, attempts);
                    // A stream that is always ready would keep everybody else from running.
                    tokio::task::consume_budget().await;
                }
                Some(Some(Err(error))) => return error,
                Some(None) => return broken("the stream ended"),
                None => match patience.over() {
                    Over::Not => alarm = self.reflector.env.clock.sleep(patience.remaining()),
                    Over::Settled => {
                        self.works(attempts);
                        self.reflector.port.send(|queue| queue.set_phase(Phase::Synced));
                        alarm = self.reflector.env.clock.sleep(patience.remaining());
                    }
                    Over::Broken(reason) => return broken(reason),
                },
            }
        }
    }

    fn open(&self, from: Option<crate::source::Cursor>) -> SourceStream {
        let source = self.reflector.source.clone();
        let resource_type = self.reflector.lister.resource_type().clone();
        let place = format!("source/{}/{}", source.name(), resource_type.plural_and_group());
        faulty::open(&self.reflector.env, place, move || source.open(&resource_type, from))
    }

    fn feed(&mut self, event: SourceEvent, attempts: &mut Attempts) {
        self.counters.event(&event);
        self.reflector.lister.touch();
        let listing = self.reflector.port.send(|queue| {
            queue.feed(event);
            // A watch that tells anything is followed again; a list has to end first.
            if queue.is_complete() && !queue.is_listing() {
                queue.set_phase(Phase::Synced);
            }
            queue.is_listing()
        });
        if !listing {
            self.works(attempts);
        }
    }

    fn works(&mut self, attempts: &mut Attempts) {
        attempts.success();
        if !self.healthy {
            self.healthy = true;
            self.reporter.running();
        }
    }

    /// Says how things stand now, and for how long to wait.
    fn ended(&mut self, end: &SourceError, attempts: &mut Attempts) -> Duration {
        self.counters.error(end);
        let (source, resource_type) = (self.reflector.lister.source(), self.reflector.lister.resource_type());
        let options = &self.reflector.options;
        let text = end.to_string();
        let (wait, phase) = match end {
            SourceError::Retry { after, .. } => (attempts.failure(*after), Some(Phase::Degraded(text.clone()))),
            SourceError::Relist { .. } => (attempts.relist(), Some(Phase::Degraded(text.clone()))),
            SourceError::Absent { reason } => {
                (attempts.probe(options.absent_probe), Some(Phase::Absent(reason.clone())))
            }
            SourceError::NotPermitted { .. } => {
                (attempts.probe(options.denied_probe), Some(Phase::Degraded(text.clone())))
            }
        };
        // Streams end all the time; one failure of one that is known to work is not worth a word.
        let routine = matches!(end, SourceError::Retry { .. } | SourceError::Relist { .. }) && attempts.failures() < 2;
        self.reflector.port.send(|queue| {
            queue.abort_list();
            if matches!(end, SourceError::Relist { .. } | SourceError::Absent { .. }) {
                queue.forget_cursor();
            }
            if let Some(phase) = phase.filter(|_| !(routine && queue.is_complete())) {
                queue.set_phase(phase);
            }
        });
        tracing::debug!(%source, %resource_type, error = text, wait_ms = wait.as_millis(), "stream ended");
        if !routine {
            if self.healthy {
                tracing::warn!(%source, %resource_type, error = text, "cannot follow the source; the last known state serves");
            }
            self.healthy = false;
            match end {
                SourceError::NotPermitted { .. } => self.reporter.degraded(text),
                SourceError::Absent { .. } => self.reporter.waiting(text, None),
                _ => self.reporter.waiting(text, Some(wait)),
            }
        }
        wait
    }
}

fn broken(reason: impl Into<String>) -> SourceError {
    SourceError::Retry { reason: reason.into(), after: None }
}

/// The deadlines of one stream.
struct Patience {
    silence: Duration,
    list_deadline: Duration,
    heard: Instant,
    list_until: Option<Instant>,
    settle_at: Option<Instant>,
    clock: std::sync::Arc<dyn crate::env::Clock>,
}

enum Over {
    Not,
    Settled,
    Broken(String),
}

impl Patience {
    fn new(reflector: &Reflector, resumed: bool, settles: bool) -> Self {
        let options = &reflector.options;
        let now = reflector.env.clock.now();
        Self {
            silence: options.silence,
            list_deadline: options.list_deadline,
            heard: now,
            list_until: (!resumed).then(|| now + options.list_deadline),
            settle_at: settles.then(|| now + options.settle),
            clock: reflector.env.clock.clone(),
        }
    }

    fn heard(&mut self, event: &SourceEvent) {
        self.heard = self.clock.now();
        self.settle_at = None;
        match event {
            SourceEvent::Init => self.list_until = Some(self.heard + self.list_deadline),
            SourceEvent::InitDone(_) => self.list_until = None,
            _ => {}
        }
    }

    fn next(&self) -> Instant {
        let silent_at = self.heard + self.silence;
        [self.list_until, self.settle_at].into_iter().flatten().fold(silent_at, Instant::min)
    }

    fn remaining(&self) -> Duration {
        self.next().saturating_duration_since(self.clock.now())
    }

    fn over(&mut self) -> Over {
        let now = self.clock.now();
        if self.heard + self.silence <= now {
            return Over::Broken(format!("nothing heard for {:?}", self.silence));
        }
        if self.list_until.is_some_and(|until| until <= now) {
            return Over::Broken(format!("the list was not complete after {:?}", self.list_deadline));
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle_at = None;
            return Over::Settled;
        }
        Over::Not
    }
}

/// `tidegate_reflector_events_total` and `tidegate_source_errors_total`, looked up once.
struct Counters {
    events: [metrics::Counter; 7],
    errors: [metrics::Counter; 4],
}

impl Counters {
    fn new(reflector: &Reflector) -> Self {
        let source = reflector.lister.source().to_string();
        let resource_type = reflector.lister.resource_type().to_string();
        let labels = |key, value| [("source", source.clone()), ("type", resource_type.clone()), (key, value)];
        let events = ["init", "init-apply", "init-done", "apply", "delete", "bookmark", "init-keep"];
        let errors = ["retry", "relist", "absent", "not-permitted"];
        Self {
            events: events
                .map(|event| metrics::counter!("tidegate_reflector_events_total", &labels("event", event.to_owned()))),
            errors: errors
                .map(|error| metrics::counter!("tidegate_source_errors_total", &labels("error", error.to_owned()))),
        }
    }

    fn event(&self, event: &SourceEvent) {
        let at = match event {
            SourceEvent::Init => 0,
            SourceEvent::InitApply(_) => 1,
            SourceEvent::InitDone(_) => 2,
            SourceEvent::Apply(_) => 3,
            SourceEvent::Delete(_) => 4,
            SourceEvent::Bookmark(_) => 5,
            SourceEvent::InitKeep(_) => 6,
        };
        self.events[at].increment(1);
    }

    fn error(&self, error: &SourceError) {
        let at = match error {
            SourceError::Retry { .. } => 0,
            SourceError::Relist { .. } => 1,
            SourceError::Absent { .. } => 2,
            SourceError::NotPermitted { .. } => 3,
        };
        self.errors[at].increment(1);
    }
}
