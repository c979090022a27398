//! One life of a child, from its start to its end, as tasks beside the supervisor's mailbox, which waits for
//! none of them.
//!
//! Law: a start has one outcome, told once: it did not work, or it did and later the child is gone, with its
//! state dropped.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use ractor::{Actor as _, ActorCell, ActorRef, SpawnErr};
use tokio::sync::oneshot;

use super::actor::{Arguments, Msg, SupervisorActor};
use super::exit::{ChildExit, Failure};
use super::report::Reporter;
use super::spec::{Kind, Spawned};
use super::table::Row;
use crate::env::Clock;

/// How long something that was killed may take to be gone; only code that never awaits takes longer.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// What a start needs.
pub(super) struct Birth {
    pub(super) row: Row,
    pub(super) generation: u64,
    pub(super) supervisor: ActorRef<Msg>,
    pub(super) reporter: Reporter,
    pub(super) clock: std::sync::Arc<dyn Clock>,
}

/// Starts a child, tells the supervisor, waits for its end, and tells that too. Resolving `cancel` before the
/// child has started gives the start up.
pub(super) async fn live(birth: Birth, cancel: oneshot::Receiver<()>) {
    let supervisor = birth.supervisor.clone();
    let (id, generation) = (birth.row.id, birth.generation);
    let started = tokio::select! {
        biased;
        _ = cancel => Err(ChildExit::Stopped),
        started = start(birth) => started,
    };
    let exit = match started {
        Err(exit) => Ok(exit),
        Ok((cell, joined)) => {
            let actor = cell.get_id();
            // A cast fails only when the supervisor is gone, and its children with it.
            let _ = supervisor.cast(Msg::Started { id, generation, cell });
            let _ = joined.await;
            Err(actor)
        }
    };
    let _ = supervisor.cast(Msg::Gone { id, generation, exit });
}

async fn start(birth: Birth) -> Result<Spawned, ChildExit> {
    let Birth { row, supervisor, reporter, clock, .. } = birth;
    let timeout = row.spec.policy.start_timeout;
    // The closure that makes the actor runs in here too, so that its panic is the child's.
    let spawned = AssertUnwindSafe(async move {
        match (&row.spec.kind, row.nested) {
            (Kind::Actor(start), _) => start(reporter, supervisor.get_cell()).await,
            (Kind::Supervisor { strategy, .. }, Some(table)) => {
                let arguments = Arguments { table, strategy: *strategy };
                let spawned = SupervisorActor::spawn_linked(None, SupervisorActor, arguments, supervisor.get_cell());
                spawned.await.map(|(actor, joined)| (actor.get_cell(), joined))
            }
            (Kind::Ended, _) => Err(SpawnErr::StartupFailed("its tree has ended".into())),
            (Kind::Supervisor { .. }, None) => Err(SpawnErr::StartupFailed("a supervisor without a table".into())),
        }
    });
    match within(&*clock, timeout, spawned.catch_unwind()).await {
        Some(Ok(Ok(spawned))) => Ok(spawned),
        Some(Ok(Err(error))) => Err(exit_of(&error)),
        Some(Err(panic)) => Err(ChildExit::of_error(&Failure::panicked(&*panic).into())),
        None => Err(ChildExit::Failed(format!("it did not start within {timeout:?}"))),
    }
}

fn exit_of(error: &SpawnErr) -> ChildExit {
    match error {
        // ractor's own words for an actor that killed itself before it ran.
        SpawnErr::StartupFailed(error) if error.to_string() == "Actor killed during startup" => ChildExit::Killed,
        SpawnErr::StartupFailed(error) => ChildExit::of_error(error),
        other => ChildExit::Failed(other.to_string()),
    }
}

/// Asks a child to stop and, when it takes longer than `patience`, kills it. True when it is gone.
pub(super) async fn stop(row: &Row, cell: &ActorCell, clock: &dyn Clock) -> bool {
    let patience = row.patience();
    if row.nested.is_some() {
        // It stops its children in order and then itself, with its mailbox open all the while.
        let _ = ActorRef::<Msg>::from(cell.clone()).cast(Msg::Shutdown);
    } else {
        cell.stop(None);
    }
    if within(clock, patience, cell.wait(None)).await.is_some() {
        return true;
    }
    tracing::warn!(actor = row.path, ?patience, "actor does not stop: killed");
    cell.kill();
    let gone = within(clock, GRACE, cell.wait(None)).await.is_some();
    if !gone {
        tracing::error!(actor = row.path, "actor does not end even when killed: abandoned");
    }
    gone
}

/// What a future gives, unless it takes longer.
pub(super) async fn within<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(limit) => None,
    }
}
