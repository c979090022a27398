//! One writer among replicas: who holds a record that all of them see and that is replaced only over the version that
//! was read. Which registry keeps the record is its affair.
//!
//! Laws: at most one replica leads at a time, whatever their clocks say (only their own passing of time counts); one
//! that was stopped in its tracks leads no more when it comes to and the others have waited; whoever leads goes on
//! leading for as long as it renews in time; one that ends in order leaves the lead at once.

mod machine;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_actors::env::{Clock, Env};
use tidegate_actors::supervisor::{ChildSpec, TaskContext};
use tidegate_actors::watch;
use tokio::time::Instant;

use machine::{Action, Machine};

/// What the replicas share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the registry; empty if the record is to be created.
    pub version: String,
    /// Who leads; empty if nobody does.
    pub holder: String,
    /// How often the lead went to somebody else.
    pub transitions: i32,
    /// How long whoever does not hold it waits for it to change before taking over.
    pub duration: Duration,
    /// When the holder began to lead, since the epoch; for people.
    pub acquired: Duration,
    /// When the holder last renewed, since the epoch; for people.
    pub renewed: Duration,
}

/// Why a record was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote meanwhile.
    #[error("somebody else wrote the lease meanwhile")]
    Conflict,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Where the record is kept.
#[async_trait]
pub trait LeaseRecord: Send + Sync + 'static {
    /// The record as it is now, if there is one. Never a copy that may be old.
    ///
    /// # Errors
    /// When the registry does not say.
    async fn read(&self) -> Result<Option<Record>, LeaseError>;

    /// Replaces the record if its version is still the one given, or creates it if that is empty; returns it with
    /// its new version.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if somebody was faster.
    async fn write(&self, record: &Record) -> Result<Record, LeaseError>;
}

/// How patient replicas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Others take over when the record has not changed for so long.
    pub duration: Duration,
    /// A leader that could not renew for so long stops leading. What is between this and `duration` is for writes
    /// that were under way.
    pub renew_deadline: Duration,
    /// How often a leader renews and the others look.
    pub retry: Duration,
}

impl Default for LeaseOptions {
    /// client-go's: 15 s, 10 s, 2 s.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { duration: seconds(15), renew_deadline: seconds(10), retry: seconds(2) }
    }
}

/// Whether this replica leads. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    until: watch::Sender<Option<Instant>>,
    leading: watch::Sender<bool>,
}

impl Leadership {
    /// Of nobody yet.
    pub fn new(env: &Env) -> Self {
        let shared = Shared { env: env.clone(), until: watch::Sender::new(None), leading: watch::Sender::new(false) };
        Self { shared: Arc::new(shared) }
    }

    /// Of a replica that has no others beside it.
    pub fn alone(env: &Env) -> Self {
        let alone = Self::new(env);
        alone.shared.until.send_replace(Some(env.clock.now() + Duration::from_secs(100 * 365 * 86_400)));
        alone.shared.leading.send_replace(true);
        alone
    }

    /// Whether it leads, and each change of that.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.shared.leading.subscribe()
    }

    /// Whether it leads at this very moment; to be asked right before each write, because a process that was stopped
    /// learns last that it leads no more.
    pub fn is_leading(&self) -> bool {
        self.shared.until.borrow().is_some_and(|until| self.shared.env.clock.now() < until)
    }

    /// The actor `name` that gains, keeps and leaves the lead as `identity`.
    pub fn spec(&self, name: &str, identity: &str, record: Arc<dyn LeaseRecord>, options: LeaseOptions) -> ChildSpec {
        let (leadership, identity) = (self.clone(), identity.to_owned());
        ChildSpec::task(name, move |context: TaskContext| {
            let (leadership, record) = (leadership.clone(), record.clone());
            let machine = Machine::new(&identity, options);
            async move {
                leadership.run(machine, &*record, &context).await;
                Ok(())
            }
        })
    }

    async fn run(&self, mut machine: Machine, record: &dyn LeaseRecord, context: &TaskContext) {
        let clock = &self.shared.env.clock;
        // However this ends, nobody goes on believing that it leads.
        let _ends = Resign(self);
        loop {
            let now = clock.now();
            let action = machine.next(now, clock.wall(), &*self.shared.env.rng);
            self.tell(machine.until());
            match machine.trouble() {
                Some(reason) => context.reporter.degraded(reason),
                None => context.reporter.running(),
            }
            let step = async {
                match action {
                    Action::Wait(at) => clock.sleep(at.saturating_duration_since(now)).await,
                    Action::Read => {
                        let read = within(clock, machine.patience(), record.read()).await;
                        machine.has_read(clock.now(), read);
                    }
                    Action::Write(new) => {
                        let written = within(clock, machine.patience(), record.write(&new)).await;
                        machine.has_written(now, clock.now(), written);
                    }
                }
            };
            tokio::select! {
                biased;
                () = context.stop.stopped() => break,
                () = step => {}
            }
        }
        self.tell(None);
        if let Some(empty) = machine.release(clock.now(), clock.wall()) {
            // Whoever waits finds out by waiting if this does not arrive.
            if let Err(error) = within(clock, machine.patience(), record.write(&empty)).await {
                tracing::info!(%error, "the lease could not be given back; others take it over when it has run out");
            }
        }
    }

    fn tell(&self, until: Option<Instant>) {
        let leading = until.is_some_and(|until| self.shared.env.clock.now() < until);
        self.shared.until.send_replace(until.filter(|_| leading));
        let changed = self.shared.leading.send_if_modified(|told| std::mem::replace(told, leading) != leading);
        if changed {
            tracing::info!(leading, "leadership");
        }
    }
}

async fn within<T>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    answer: impl Future<Output = Result<T, LeaseError>>,
) -> Result<T, LeaseError> {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = clock.sleep(limit) => Err(LeaseError::Failed("no answer in time".to_owned())),
    }
}

struct Resign<'a>(&'a Leadership);

impl Drop for Resign<'_> {
    fn drop(&mut self) {
        self.0.tell(None);
    }
}
