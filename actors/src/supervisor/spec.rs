//! What a child is: a name, a policy, and how to start it, any number of times.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::breaker::BreakerPolicy;
use super::exit::{BoxError, Failure};
use super::policy::{Backoff, Intensity, Policy, Restart, Strategy};
use super::report::Reporter;
use super::task::{Run, TaskActor, TaskContext};
use crate::id::Name;

/// A child to be: what to start, under which name and policy. Cheap to clone.
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) name: Name,
    pub(super) policy: Policy,
    pub(super) kind: Kind,
}

/// Starts an actor as a child of the supervisor's.
pub(super) type StartFn = dyn Fn(Reporter, ActorCell) -> BoxFuture<'static, Result<Spawned, SpawnErr>> + Send + Sync;

/// A started actor, and the task that is over when all of it is gone, its state included.
pub(super) type Spawned = (ActorCell, tokio::task::JoinHandle<()>);

#[derive(Clone)]
pub(super) enum Kind {
    Actor(Arc<StartFn>),
    Supervisor {
        strategy: Strategy,
        children: Arc<[ChildSpec]>,
    },
    /// Its tree has ended, and what would start it is dropped.
    Ended,
}

impl ChildSpec {
    /// An actor. `make` is called for each start; what must outlive a crash is captured by it.
    pub fn actor<A: Actor>(
        name: impl Into<Name>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self::actor_with(name, move |_| make())
    }

    /// An actor that tells its health.
    pub fn actor_with<A: Actor>(
        name: impl Into<Name>,
        make: impl Fn(Reporter) -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        let start = move |reporter: Reporter, parent: ActorCell| -> BoxFuture<'static, _> {
            let (actor, arguments) = make(reporter);
            Box::pin(async move {
                let (actor, joined) = Actor::spawn_linked(None, Marking(actor), arguments, parent).await?;
                Ok((actor.get_cell(), joined))
            })
        };
        Self { name: name.into(), policy: Policy::default(), kind: Kind::Actor(Arc::new(start)) }
    }

    /// An async loop. It ends when its context's `stop` says so. `Ok(())` before that means that it finished,
    /// an error that it failed; either is followed by what the restart policy says.
    pub fn task<F, Fut>(name: impl Into<Name>, run: F) -> Self
    where
        F: Fn(TaskContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let run: Arc<Run> = Arc::new(move |context| Box::pin(run(context)));
        Self::actor_with(name, move |reporter| (TaskActor(run.clone()), reporter))
    }

    /// A supervisor of its own, with its first children; `Supervisor::add_to` adds more. What is added or
    /// removed while it runs stays so when it is restarted. Its stop timeout is on top of those of its children.
    pub fn supervisor(name: impl Into<Name>, strategy: Strategy, children: Vec<ChildSpec>) -> Self {
        let kind = Kind::Supervisor { strategy, children: children.into() };
        Self { name: name.into(), policy: Policy::default(), kind }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Replaces the whole policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Which exits are followed by a restart.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// How long to wait before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// When restarts become too many.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy.intensity = intensity;
        self
    }

    /// Stops trying for a while after failures in a row.
    pub fn breaker(mut self, breaker: BreakerPolicy) -> Self {
        self.policy.breaker = Some(breaker);
        self
    }

    /// How long a start may take before it counts as failed.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.policy.start_timeout = timeout;
        self
    }

    /// How long a stop may take before the child is killed.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.policy.stop_timeout = timeout;
        self
    }

    /// Whether this child is core: when it exceeds its intensity, its supervisor fails.
    pub fn escalate(mut self, escalate: bool) -> Self {
        self.policy.escalate = escalate;
        self
    }
}

/// An actor as it is, but for its errors: they are marked, so that its supervisor can tell them from panics.
struct Marking<A>(A);

#[ractor::async_trait]
impl<A: Actor> Actor for Marking<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        self.0.pre_start(myself, arguments).await.map_err(Failure::mark)
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.0.post_start(myself, state).await.map_err(Failure::mark)
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.0.post_stop(myself, state).await.map_err(Failure::mark)
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.0.handle(myself, message, state).await.map_err(Failure::mark)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        message: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.0.handle_supervisor_evt(myself, message, state).await.map_err(Failure::mark)
    }
}
