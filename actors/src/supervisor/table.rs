//! The table that everybody reads: what each child is now. It belongs to the supervisor's place in the tree
//! and outlives its actor, so that what was added stays added when a nested supervisor is restarted.
//!
//! Invariant: no decision is made here. Locks are taken from the root downwards, never upwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use ractor::{ActorCell, ActorRef};
use tokio::time::Instant;

use super::actor::Msg;
use super::exit::Exit;
use super::machine::{ChildId, End, View};
use super::report::Report;
use super::spec::{ChildSpec, Kind};
use super::status::{State, TreeStatus, millis, rest_of};
use crate::env::Env;
use crate::watch;

/// The children of one supervisor.
pub(super) struct Table {
    /// The supervisor's path; empty for the root.
    pub(super) path: String,
    pub(super) env: Env,
    next_id: AtomicU64,
    rows: RwLock<Vec<Row>>,
    /// The supervisor itself, while it runs.
    actor: RwLock<Option<ActorRef<Msg>>>,
    own: RwLock<(State, Instant)>,
    /// How the actor said that it ends, for who finds it gone.
    end: Mutex<Option<End>>,
    settled: watch::Sender<bool>,
}

/// One child.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: ChildId,
    pub(super) spec: ChildSpec,
    pub(super) path: String,
    /// Its own children, if it is a supervisor.
    pub(super) nested: Option<Arc<Table>>,
    pub(super) cell: Option<ActorCell>,
    view: View,
    report: Option<Reported>,
    since: Instant,
}

#[derive(Clone)]
struct Reported {
    report: Report,
    next_attempt: Option<Instant>,
}

impl Row {
    pub(super) fn state(&self) -> State {
        match (self.view.state, self.report.as_ref().map(|reported| &reported.report)) {
            (State::Running, Some(Report::Degraded(_))) => State::Degraded,
            (State::Running, Some(Report::Waiting(..))) => State::Waiting,
            (state, _) => state,
        }
    }

    /// How long to wait for its end; a supervisor's children end one after the other.
    pub(super) fn patience(&self) -> Duration {
        let own = self.spec.policy.stop_timeout;
        let nested = self.nested.as_ref().map_or(Duration::ZERO, |nested| nested.patience());
        own.saturating_add(nested)
    }
}

impl Table {
    pub(super) fn new(path: String, env: Env) -> Arc<Self> {
        let now = env.clock.now();
        Arc::new(Self {
            path,
            env,
            next_id: AtomicU64::new(1),
            rows: RwLock::default(),
            actor: RwLock::new(None),
            own: RwLock::new((State::Starting, now)),
            end: Mutex::new(None),
            settled: watch::Sender::new(false),
        })
    }

    /// The table of a nested supervisor, with rows for its first children.
    fn nested(path: &str, env: &Env, spec: &ChildSpec) -> Option<Arc<Self>> {
        let Kind::Supervisor { children, .. } = &spec.kind else { return None };
        let table = Self::new(path.to_owned(), env.clone());
        for child in children.iter() {
            table.insert(child.clone());
        }
        Some(table)
    }

    /// Adds a row; `None` when its name is taken.
    pub(super) fn insert(&self, spec: ChildSpec) -> Option<Row> {
        let mut rows = self.rows.write();
        if rows.iter().any(|row| row.spec.name == spec.name) {
            return None;
        }
        let path = self.path_of(&spec.name);
        let row = Row {
            id: self.new_id(),
            nested: Self::nested(&path, &self.env, &spec),
            view: View { state: State::Stopped, generation: 0, restarts: 0, last_exit: None, next_attempt: None },
            path,
            spec,
            cell: None,
            report: None,
            since: self.env.clock.now(),
        };
        rows.push(row.clone());
        Some(row)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn new_id(&self) -> ChildId {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The rows for a new life of the supervisor's actor. Each gets a new id, so that whatever an earlier life
    /// left behind concerns nobody. A child that was paused is still meant to be.
    pub(super) fn renew(&self, actor: ActorRef<Msg>) -> Vec<(Row, bool)> {
        *self.actor.write() = Some(actor);
        *self.end.lock() = None;
        self.become_state(State::Running);
        let mut rows = self.rows.write();
        for row in rows.iter_mut() {
            row.id = self.new_id();
            row.view.generation = 0;
            row.report = None;
        }
        rows.iter().map(|row| (row.clone(), row.view.state == State::Paused)).collect()
    }

    pub(super) fn actor(&self) -> Option<ActorRef<Msg>> {
        self.actor.read().clone()
    }

    /// The actor is gone, however that came: nothing under it is alive.
    pub(super) fn clear(&self) {
        *self.actor.write() = None;
        let failed = matches!(*self.end.lock(), Some(End::Escalated { .. }));
        self.become_state(if failed { State::Failed } else { State::Stopped });
        let now = self.env.clock.now();
        let mut rows = self.rows.write();
        for row in rows.iter_mut() {
            row.cell = None;
            row.report = None;
            row.view.next_attempt = None;
            if !matches!(row.view.state, State::Paused | State::Stopped | State::Failed) {
                row.view.state = State::Stopped;
                row.since = now;
            }
            set_up(&row.path, false);
            if let Some(nested) = &row.nested {
                nested.clear();
            }
        }
        drop(rows);
        self.settled.send_replace(true);
    }

    /// The whole tree has ended. It still says how its actors stood, and holds nothing more of them: what children
    /// capture often leads back to their supervisor.
    pub(super) fn retire(&self) {
        self.clear();
        self.let_go();
    }

    fn let_go(&self) {
        let let_go = |row: &mut Row| (std::mem::replace(&mut row.spec.kind, Kind::Ended), row.nested.clone());
        let rows: Vec<_> = self.rows.write().iter_mut().map(let_go).collect();
        // Without the lock: whatever is dropped may look at this table.
        for (_, nested) in rows {
            nested.iter().for_each(|nested| nested.let_go());
        }
    }

    pub(super) fn become_state(&self, state: State) {
        *self.own.write() = (state, self.env.clock.now());
    }

    pub(super) fn set_end(&self, end: End) {
        *self.end.lock() = Some(end);
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end.lock().clone()
    }

    /// How it ended; without a word from the actor, it was killed.
    pub(super) fn exit(&self) -> Exit {
        match self.end.lock().clone() {
            Some(End::Stopped) => Exit::Stopped,
            Some(End::Escalated { id, error }) => {
                let child = self.row(id).map(|row| row.path).unwrap_or_default();
                Exit::Escalated { child, error }
            }
            None => Exit::Killed,
        }
    }

    /// Every actor that is alive under this supervisor, at any depth.
    pub(super) fn alive(&self) -> Vec<(String, ActorCell)> {
        let mut alive = Vec::new();
        for row in self.rows() {
            alive.extend(row.cell.map(|cell| (row.path, cell)));
            alive.extend(row.nested.iter().flat_map(|nested| nested.alive()));
        }
        alive
    }

    pub(super) fn remove(&self, id: ChildId) {
        self.rows.write().retain(|row| {
            if row.id == id {
                set_up(&row.path, false);
            }
            row.id != id
        });
    }

    pub(super) fn row(&self, id: ChildId) -> Option<Row> {
        self.rows.read().iter().find(|row| row.id == id).cloned()
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.rows.read().clone()
    }

    /// The table that holds the child at a path, and its row.
    pub(super) fn find(self: &Arc<Self>, path: &str) -> Option<(Arc<Self>, Row)> {
        let rows = self.rows.read();
        let under = |row: &&Row| rest_of(path, &row.spec.name).is_some();
        let row = rows.iter().filter(under).max_by_key(|row| row.spec.name.len())?;
        match rest_of(path, &row.spec.name)? {
            "" => Some((self.clone(), row.clone())),
            rest => row.nested.as_ref()?.find(rest),
        }
    }

    pub(super) fn set_cell(&self, id: ChildId, cell: Option<ActorCell>) {
        if let Some(row) = self.rows.write().iter_mut().find(|row| row.id == id) {
            row.cell = cell;
        }
    }

    /// Shows what the machine has decided about a child; what it was before, if that is something else.
    pub(super) fn publish(&self, id: ChildId, view: View) -> Option<State> {
        let mut rows = self.rows.write();
        let row = rows.iter_mut().find(|row| row.id == id)?;
        if row.view == view {
            return None;
        }
        let before = row.state();
        if row.view.generation != view.generation {
            row.report = None;
        }
        row.view = view;
        if row.state() == before {
            return None;
        }
        row.since = self.env.clock.now();
        let up = matches!(row.state(), State::Running | State::Degraded | State::Waiting) && row.cell.is_some();
        set_up(&row.path, up);
        Some(before)
    }

    /// Shows what a child says of itself, if it still lives the life in which it says so.
    pub(super) fn report(&self, id: ChildId, generation: u64, report: Report) {
        let now = self.env.clock.now();
        let mut rows = self.rows.write();
        let Some(row) = rows.iter_mut().find(|row| row.id == id && row.view.generation == generation) else { return };
        let before = row.state();
        let next_attempt = match &report {
            Report::Waiting(_, Some(wait)) => now.checked_add(*wait),
            _ => None,
        };
        match &report {
            Report::Running if before == State::Running => {}
            Report::Running => tracing::info!(actor = row.path, "actor is well again"),
            Report::Degraded(reason) => tracing::warn!(actor = row.path, reason, "actor is degraded"),
            Report::Waiting(reason, wait) => {
                tracing::info!(actor = row.path, reason, next_attempt_ms = wait.map(millis), "actor waits");
            }
        }
        row.report = Some(Reported { report, next_attempt });
        if row.state() != before {
            row.since = now;
        }
    }

    /// Once settled, it stays so.
    pub(super) fn set_settled(&self, settled: bool) {
        if settled {
            self.settled.send_if_modified(|before| !std::mem::replace(before, true));
        }
    }

    /// Waits until every first child, at any depth, has been tried once.
    pub(super) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as `self`.
        let _ = settled.wait_for(|settled| *settled).await;
        for row in self.rows() {
            if let Some(nested) = row.nested {
                Box::pin(nested.settled()).await;
            }
        }
    }

    fn patience(&self) -> Duration {
        self.rows.read().iter().fold(Duration::ZERO, |sum, row| sum.saturating_add(row.patience()))
    }

    pub(super) fn status(&self, name: &str) -> TreeStatus {
        let (state, since) = *self.own.read();
        let now = self.env.clock.now();
        TreeStatus {
            name: name.to_owned(),
            path: self.path.clone(),
            state,
            reason: None,
            restarts: 0,
            last_error: None,
            next_attempt: None,
            since: millis(now.duration_since(since)),
            children: self.children(now),
        }
    }

    fn children(&self, now: Instant) -> Vec<TreeStatus> {
        let rows = self.rows.read();
        let status = |(index, row): (usize, &Row)| {
            let reported = row.report.as_ref().filter(|_| row.view.state == State::Running);
            let reason = match (reported.map(|reported| &reported.report), row.view.state) {
                (Some(Report::Degraded(reason) | Report::Waiting(reason, _)), _) => Some(reason.clone()),
                (_, State::Waiting) => awaited(&rows[..index]).map(|name| format!("waits for `{name}`")),
                _ => None,
            };
            let next_attempt = row.view.next_attempt.or_else(|| reported.and_then(|reported| reported.next_attempt));
            TreeStatus {
                name: row.spec.name.to_string(),
                path: row.path.clone(),
                state: row.state(),
                reason,
                restarts: row.view.restarts,
                last_error: row.view.last_exit.as_ref().map(ToString::to_string),
                next_attempt: next_attempt.map(|at| millis(at.duration_since(now))),
                since: millis(now.duration_since(row.since)),
                children: row.nested.as_ref().map_or_else(Vec::new, |nested| nested.children(now)),
            }
        };
        rows.iter().enumerate().map(status).collect()
    }
}

/// The first that is not up among those whom a child waits for.
fn awaited(before: &[Row]) -> Option<&str> {
    let up = |row: &&Row| !matches!(row.view.state, State::Running | State::Stopped | State::Failed);
    before.iter().find(up).map(|row| &*row.spec.name)
}

fn set_up(path: &str, up: bool) {
    metrics::gauge!("tidegate_actor_up", "actor" => path.to_owned()).set(if up { 1.0 } else { 0.0 });
}
