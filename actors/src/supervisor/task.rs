//! An async loop as a child: an actor that owns the spawned task. Stopping asks the loop to end and waits;
//! killing, or dropping the actor's state in any other way, aborts it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::exit::{BoxError, Failure};
use super::report::Reporter;
use crate::watch;

/// What a task is given at each start.
#[derive(Clone)]
pub struct TaskContext {
    /// Resolves when the task should end.
    pub stop: Stop,
    /// For telling its health.
    pub reporter: Reporter,
}

/// The wish that somebody ends.
#[derive(Clone)]
pub struct Stop {
    wish: watch::Receiver<bool>,
}

/// The side that has the wish. Dropping it is the wish too: nobody is left to express it.
pub struct Stopper {
    wish: watch::Sender<bool>,
}

impl Stop {
    /// Both sides.
    pub fn channel() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Stopper { wish: sender }, Stop { wish: receiver })
    }

    /// Waits for the wish.
    pub async fn stopped(&self) {
        let mut wish = self.wish.clone();
        // An error says that the other side is gone, which means the same.
        let _ = wish.wait_for(|stop| *stop).await;
    }

    /// Whether the wish has been expressed.
    pub fn is_stopped(&self) -> bool {
        *self.wish.borrow() || self.wish.has_changed().is_err()
    }
}

impl Stopper {
    /// Expresses the wish.
    pub fn stop(&self) {
        self.wish.send_replace(true);
    }
}

/// Runs the loop, any number of times.
pub(super) type Run = dyn Fn(TaskContext) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// The actor that owns the loop.
pub(super) struct TaskActor(pub(super) Arc<Run>);

pub(super) struct Running {
    stopper: Stopper,
    task: Owned,
}

/// The loop has ended.
pub(super) struct Ended(Result<(), BoxError>);

/// A spawned task that ends with its owner.
pub(super) struct Owned(pub(super) tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[ractor::async_trait]
impl Actor for TaskActor {
    type Msg = Ended;
    type State = Running;
    type Arguments = Reporter;

    async fn pre_start(&self, myself: ActorRef<Ended>, reporter: Reporter) -> Result<Running, ActorProcessingErr> {
        let (stopper, stop) = Stop::channel();
        let run = self.0.clone();
        let task = tokio::spawn(async move {
            // What the closure itself panics with, before there is a future, counts as the loop's.
            let run = AssertUnwindSafe(async move { run(TaskContext { stop, reporter }).await }).catch_unwind();
            let outcome = run.await.unwrap_or_else(|panic| Err(Failure::panicked(&*panic).into()));
            // It fails only when the actor is gone, and then nobody wants to know.
            let _ = myself.cast(Ended(outcome));
        });
        Ok(Running { stopper, task: Owned(task) })
    }

    async fn handle(
        &self,
        myself: ActorRef<Ended>,
        Ended(outcome): Ended,
        _state: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        outcome?;
        myself.stop(None);
        Ok(())
    }

    async fn post_stop(&self, _myself: ActorRef<Ended>, state: &mut Running) -> Result<(), ActorProcessingErr> {
        state.stopper.stop();
        // The task catches its panics, so this waits for its end and nothing else.
        let _ = (&mut state.task.0).await;
        Ok(())
    }
}
