//! The ractor actor around the machine: turns messages into events, and actions into tasks and timers.
//!
//! Law: no handler awaits anything, so that no child can keep the others from being supervised.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::exit::{ChildExit, Exit, Failure, SupervisorError};
use super::life::{self, Birth};
use super::machine::{Action, ChildId, End, Event, Machine, Order};
use super::policy::Strategy;
use super::report::Reporter;
use super::spec::ChildSpec;
use super::status::{State, millis};
use super::table::{Row, Table};
use super::task::Owned;
use crate::Map;
use crate::id::Name;

pub(super) type Reply = oneshot::Sender<Result<(), SupervisorError>>;

pub(super) enum Msg {
    Add { spec: ChildSpec, reply: Reply },
    Ask { name: Name, order: Order, reply: Reply },
    Started { id: ChildId, generation: u64, cell: ActorCell },
    Gone { id: ChildId, generation: u64, exit: Result<ChildExit, ActorId> },
    Due { id: ChildId, generation: u64 },
    Shutdown,
}

pub(super) struct SupervisorActor;

pub(super) struct Arguments {
    pub(super) table: Arc<Table>,
    pub(super) strategy: Strategy,
}

/// The state of the actor.
pub(super) struct Keeper {
    myself: ActorRef<Msg>,
    table: Arc<Table>,
    machine: Machine,
    slots: BTreeMap<ChildId, Slot>,
    /// How actors ended, until the rest of them is gone too.
    exits: Map<ActorId, ChildExit>,
}

/// What belongs to one child. Its tasks end with it.
struct Slot {
    row: Row,
    cell: Option<ActorCell>,
    cancel: Option<oneshot::Sender<()>>,
    life: Option<Owned>,
    timer: Option<Owned>,
    stop: Option<Owned>,
    /// Who waits for the first attempt to start.
    on_attempt: Vec<Reply>,
    /// Who waits for the child to be down.
    on_down: Vec<Reply>,
}

#[ractor::async_trait]
impl Actor for SupervisorActor {
    type Msg = Msg;
    type State = Keeper;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Msg>, arguments: Arguments) -> Result<Keeper, ActorProcessingErr> {
        let Arguments { table, strategy } = arguments;
        let machine = Machine::new(strategy);
        Ok(Keeper { myself, table, machine, slots: BTreeMap::new(), exits: Map::default() })
    }

    async fn post_start(&self, myself: ActorRef<Msg>, keeper: &mut Keeper) -> Result<(), ActorProcessingErr> {
        for (row, paused) in keeper.table.renew(myself) {
            keeper.add(row, paused, None)?;
        }
        keeper.table.set_settled(keeper.machine.is_settled());
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Msg>, message: Msg, keeper: &mut Keeper) -> Result<(), ActorProcessingErr> {
        keeper.handle(message)?;
        keeper.table.set_settled(keeper.machine.is_settled());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Msg>,
        event: SupervisionEvent,
        keeper: &mut Keeper,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, state, reason) => {
                // The child's guards are in its state; it counts as gone without them.
                drop(state);
                let killed = matches!(reason.as_deref(), Some("killed" | "actor_task_cancelled"));
                let exit = if killed { ChildExit::Killed } else { ChildExit::Finished };
                keeper.exits.insert(cell.get_id(), exit);
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                keeper.exits.insert(cell.get_id(), ChildExit::of_error(&error));
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }

    /// Somebody stopped the actor itself; a shutdown leaves nothing to do here.
    async fn post_stop(&self, _: ActorRef<Msg>, keeper: &mut Keeper) -> Result<(), ActorProcessingErr> {
        for slot in keeper.slots.values().rev() {
            if let Some(cell) = &slot.cell {
                life::stop(&slot.row, cell, &*keeper.table.env.clock).await;
            }
        }
        if keeper.table.end().is_none() {
            keeper.table.set_end(End::Stopped);
        }
        Ok(())
    }
}

impl Keeper {
    /// Fails only to end the actor, when a core child cannot be kept running.
    fn handle(&mut self, message: Msg) -> Result<(), Failure> {
        match message {
            Msg::Add { spec, reply } => {
                if self.machine.is_ending() {
                    return answer(reply, Err(down("add", self.table.path_of(&spec.name))));
                }
                let name = spec.name.clone();
                match self.table.insert(spec) {
                    Some(row) => self.add(row, false, Some(reply)),
                    None => answer(reply, Err(SupervisorError::Exists { path: self.table.path_of(&name) })),
                }
            }
            Msg::Ask { name, order, reply } => self.ask(&name, order, reply),
            Msg::Started { id, generation, cell } => {
                let slot = self.slots.get_mut(&id).filter(|_| self.machine.is_current(id, generation));
                let Some(slot) = slot else {
                    // Its start had been given up for lost.
                    cell.kill();
                    return Ok(());
                };
                slot.cell = Some(cell.clone());
                self.table.set_cell(id, Some(cell));
                self.step(Event::Started { id, generation })
            }
            Msg::Gone { id, generation, exit } => {
                // ractor tells the exit before the actor's task ends, except where it is torn down with the runtime.
                let exit = exit.unwrap_or_else(|actor| self.exits.remove(&actor).unwrap_or(ChildExit::Killed));
                let slot = self.slots.get_mut(&id).filter(|_| self.machine.is_current(id, generation));
                let Some(slot) = slot else { return Ok(()) };
                slot.cell = None;
                slot.stop = None;
                self.table.set_cell(id, None);
                if let Some(nested) = &slot.row.nested {
                    nested.clear();
                }
                self.step(Event::Exited { id, generation, exit })
            }
            Msg::Due { id, generation } => self.step(Event::Due { id, generation }),
            Msg::Shutdown => {
                self.table.become_state(State::Stopping);
                self.step(Event::Shutdown)
            }
        }
    }

    fn add(&mut self, row: Row, paused: bool, reply: Option<Reply>) -> Result<(), Failure> {
        let (id, policy) = (row.id, row.spec.policy.clone());
        let slot = Slot {
            row,
            cell: None,
            cancel: None,
            life: None,
            timer: None,
            stop: None,
            on_attempt: reply.into_iter().collect(),
            on_down: Vec::new(),
        };
        self.slots.insert(id, slot);
        self.step(Event::Add { id, policy, paused })
    }

    fn ask(&mut self, name: &str, order: Order, reply: Reply) -> Result<(), Failure> {
        // By name, since a restart of this supervisor gives new ids.
        let found = self.slots.iter_mut().find(|(_, slot)| *slot.row.spec.name == *name);
        let Some((&id, slot)) = found else {
            return answer(reply, Err(SupervisorError::NotFound { path: self.table.path_of(name) }));
        };
        if self.machine.is_ending() {
            return answer(reply, Err(down(order.name(), slot.row.path.clone())));
        }
        tracing::info!(actor = slot.row.path, order = order.name(), "asked by hand");
        if matches!(order, Order::Pause | Order::Remove) {
            slot.on_down.push(reply);
            self.step(Event::Ask { id, order })?;
            if self.machine.view(id).is_some_and(|view| view.state != State::Stopping) {
                self.tell_down(id);
            }
            return Ok(());
        }
        self.step(Event::Ask { id, order })?;
        answer(reply, Ok(()))
    }

    fn step(&mut self, event: Event) -> Result<(), Failure> {
        let env = self.table.env.clone();
        let actions = self.machine.step(env.clock.now(), event, &*env.rng);
        let mut end = None;
        let mut asked_down = Vec::new();
        for action in actions {
            match action {
                Action::Start { id, generation, again } => self.start(id, generation, again),
                Action::Stop { id, generation } => self.stop(id, generation),
                Action::Timer { id, generation, at } => self.set_timer(id, generation, at),
                Action::Gone { id, exit, asked } => {
                    self.gone(id, &exit, asked);
                    asked_down.extend(asked.then_some(id));
                }
                Action::Forget { id } => self.forget(id),
                Action::End(how) => end = Some(how),
            }
        }
        // Shown before it is answered, so that whoever gets the answer sees it.
        self.publish();
        for id in asked_down {
            self.tell_down(id);
        }
        match end {
            Some(end) => self.end(end),
            None => Ok(()),
        }
    }

    fn start(&mut self, id: ChildId, generation: u64, again: bool) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if again {
            tracing::info!(actor = slot.row.path, "actor is started again");
            metrics::counter!("tidegate_actor_restarts_total", "actor" => slot.row.path.clone()).increment(1);
        }
        let (cancel, cancelled) = oneshot::channel();
        let birth = Birth {
            row: slot.row.clone(),
            generation,
            supervisor: self.myself.clone(),
            reporter: Reporter::new(self.table.clone(), id, generation),
            clock: self.table.env.clock.clone(),
        };
        slot.timer = None;
        slot.cancel = Some(cancel);
        slot.life = Some(Owned(tokio::spawn(life::live(birth, cancelled))));
    }

    fn stop(&mut self, id: ChildId, generation: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let (row, cell) = (slot.row.clone(), slot.cell.clone());
        let (supervisor, clock) = (self.myself.clone(), self.table.env.clock.clone());
        slot.cancel = None;
        slot.stop = Some(Owned(tokio::spawn(async move {
            let gone = match cell {
                Some(cell) => life::stop(&row, &cell, &*clock).await,
                // The start has been cancelled, and tells so itself unless it hangs.
                None => {
                    clock.sleep(row.patience() + life::GRACE).await;
                    false
                }
            };
            if !gone {
                let _ = supervisor.cast(Msg::Gone { id, generation, exit: Ok(ChildExit::Killed) });
            }
        })));
    }

    fn set_timer(&mut self, id: ChildId, generation: u64, at: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let clock = &self.table.env.clock;
        let sleep = clock.sleep(at.duration_since(clock.now()));
        let supervisor = self.myself.clone();
        slot.timer = Some(Owned(tokio::spawn(async move {
            sleep.await;
            let _ = supervisor.cast(Msg::Due { id, generation });
        })));
    }

    fn gone(&self, id: ChildId, exit: &ChildExit, asked: bool) {
        let Some(slot) = self.slots.get(&id) else { return };
        let actor = &slot.row.path;
        if asked {
            tracing::debug!(actor, exit = exit.name(), "actor is down as asked");
            return;
        }
        let view = self.machine.view(id);
        let state = view.as_ref().map(|view| view.state.name());
        let now = self.table.env.clock.now();
        let next = view.and_then(|view| view.next_attempt).map(|at| millis(at.duration_since(now)));
        if exit.is_failure() {
            tracing::warn!(actor, exit = exit.name(), error = %exit, state, next_attempt_ms = next, "actor went down");
        } else {
            tracing::info!(actor, exit = exit.name(), state, next_attempt_ms = next, "actor went down");
        }
    }

    fn tell_down(&mut self, id: ChildId) {
        let waiting = self.slots.get_mut(&id).map(|slot| std::mem::take(&mut slot.on_down));
        for reply in waiting.into_iter().flatten() {
            let _ = reply.send(Ok(()));
        }
    }

    fn forget(&mut self, id: ChildId) {
        self.table.remove(id);
        if let Some(slot) = self.slots.remove(&id) {
            tracing::info!(actor = slot.row.path, "actor is removed");
            for reply in slot.on_down.into_iter().chain(slot.on_attempt) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn publish(&mut self) {
        for (id, slot) in &mut self.slots {
            let Some(view) = self.machine.view(*id) else { continue };
            let state = view.state;
            if let Some(before) = self.table.publish(*id, view) {
                tracing::debug!(actor = slot.row.path, from = before.name(), to = state.name(), "actor changes state");
            }
            if state != State::Starting {
                for reply in slot.on_attempt.drain(..) {
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }

    fn end(&mut self, end: End) -> Result<(), Failure> {
        self.table.set_end(end.clone());
        match self.table.exit() {
            Exit::Escalated { child, error } => {
                tracing::error!(actor = child, error, "a core actor cannot be kept running: its supervisor fails");
                Err(Failure::Returned(Exit::Escalated { child, error }.to_string().into()))
            }
            Exit::Stopped | Exit::Killed => {
                self.myself.stop(None);
                Ok(())
            }
        }
    }
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Remove => "remove",
        }
    }
}

pub(super) fn down(operation: &'static str, path: String) -> SupervisorError {
    SupervisorError::Down { operation, path }
}

fn answer(reply: Reply, result: Result<(), SupervisorError>) -> Result<(), Failure> {
    // Whoever asked may have stopped waiting.
    let _ = reply.send(result);
    Ok(())
}
