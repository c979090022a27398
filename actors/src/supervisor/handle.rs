//! The handle of a whole tree: add, remove, pause, resume, restart, look, shut down.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor as _, ActorCell};
use tokio::sync::oneshot;

use super::actor::{Arguments, Msg, SupervisorActor, down};
use super::exit::{Exit, SupervisorError};
use super::life::{GRACE, within};
use super::machine::Order;
use super::policy::Strategy;
use super::spec::ChildSpec;
use super::status::TreeStatus;
use super::table::Table;
use crate::env::Env;
use crate::watch;

/// A running tree of supervised actors. Cheap to clone. Paths are names joined by `/`, without the root's:
/// `sources/demo/httproutes`. Dropping the handle stops nothing.
#[derive(Clone)]
pub struct Supervisor {
    name: Arc<str>,
    table: Arc<Table>,
    root: ActorCell,
    end: watch::Receiver<Option<Exit>>,
}

impl Supervisor {
    /// Starts a root without children.
    pub async fn start(name: &str, strategy: Strategy, env: Env) -> Result<Self, SupervisorError> {
        let table = Table::new(String::new(), env);
        let arguments = Arguments { table: table.clone(), strategy };
        let spawned = SupervisorActor::spawn(None, SupervisorActor, arguments).await;
        let (root, joined) =
            spawned.map_err(|source| SupervisorError::Start { name: name.to_owned(), source: Box::new(source) })?;
        let (told, end) = watch::channel(None);
        let of_root = table.clone();
        tokio::spawn(async move {
            // However the root's task ended, it is over.
            let _ = joined.await;
            let exit = of_root.exit();
            of_root.retire();
            told.send_replace(Some(exit));
        });
        let supervisor = Self { name: name.into(), table, root: root.get_cell(), end };
        // Its actor is known to the table now, so that children can be added.
        supervisor.table.settled().await;
        Ok(supervisor)
    }

    /// Adds a child to the root and waits for its first attempt to start (with that of its own first children,
    /// if it is a supervisor). A child that cannot start is no error here: it is backed off like one that crashed.
    pub async fn add(&self, spec: ChildSpec) -> Result<(), SupervisorError> {
        self.add_to("", spec).await
    }

    /// Adds a child to the supervisor at `parent`; the empty path is the root.
    pub async fn add_to(&self, parent: &str, spec: ChildSpec) -> Result<(), SupervisorError> {
        let table = if parent.is_empty() {
            self.table.clone()
        } else {
            let found = self.table.find(parent).and_then(|(_, row)| row.nested);
            found.ok_or_else(|| SupervisorError::NotASupervisor { path: parent.to_owned() })?
        };
        if spec.name.is_empty() {
            return Err(SupervisorError::EmptyName { parent: parent.to_owned() });
        }
        let path = table.path_of(&spec.name);
        ask(&table, "add", &path, |reply| Msg::Add { spec, reply }).await?;
        if let Some(nested) = self.table.find(&path).and_then(|(_, row)| row.nested) {
            nested.settled().await;
        }
        Ok(())
    }

    /// Stops a child, waits until it is gone, and forgets it.
    pub async fn remove(&self, path: &str) -> Result<(), SupervisorError> {
        self.order(path, Order::Remove).await
    }

    /// Stops a child, waits until it is gone, and keeps it down until `resume` or `restart`.
    pub async fn pause(&self, path: &str) -> Result<(), SupervisorError> {
        self.order(path, Order::Pause).await
    }

    /// Starts a paused child again; does nothing to one that is not paused. Does not wait for the start.
    pub async fn resume(&self, path: &str) -> Result<(), SupervisorError> {
        self.order(path, Order::Resume).await
    }

    /// Stops a child if it runs and starts it at once, whatever it waited for, with its failures forgotten.
    /// Does not wait for it.
    pub async fn restart(&self, path: &str) -> Result<(), SupervisorError> {
        self.order(path, Order::Restart).await
    }

    /// What everybody does now.
    pub fn tree(&self) -> TreeStatus {
        self.table.status(&self.name)
    }

    /// The running actor at a path; `None` when there is none or it does not run. The empty path is the root.
    pub fn get(&self, path: &str) -> Option<ActorCell> {
        if path.is_empty() {
            return self.table.actor().map(|_| self.root.clone());
        }
        self.table.find(path)?.1.cell
    }

    /// Stops the children in reverse order of their start, each awaited and, after its stop timeout, killed;
    /// then the root. What is left at the deadline is killed.
    pub async fn shutdown(&self, deadline: Duration) {
        let clock = &*self.table.env.clock;
        // It fails only when the root has ended already.
        let _ = self.root.send_message(Msg::Shutdown);
        if within(clock, deadline, self.ended()).await.is_some() {
            return;
        }
        let left = self.table.alive();
        for (path, _) in &left {
            tracing::warn!(actor = path, "actor is still alive at the deadline of the shutdown: killed");
        }
        self.root.kill();
        let gone = async {
            for (_, cell) in &left {
                // ractor kills the root's descendants with it, but not one that is no longer linked.
                cell.kill();
            }
            for (_, cell) in left {
                let _ = cell.wait(None).await;
            }
            self.ended().await;
        };
        if within(clock, GRACE, gone).await.is_none() {
            tracing::error!("some actors do not end even when killed: abandoned");
        }
    }

    /// Resolves when the root has ended, and says how.
    pub async fn ended(&self) -> Exit {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Killed),
            // The runtime is going away.
            Err(_) => Exit::Killed,
        }
    }

    async fn order(&self, path: &str, order: Order) -> Result<(), SupervisorError> {
        let (table, row) = self.table.find(path).ok_or_else(|| SupervisorError::NotFound { path: path.to_owned() })?;
        ask(&table, order.name(), path, |reply| Msg::Ask { name: row.spec.name, order, reply }).await
    }
}

async fn ask(
    table: &Table,
    operation: &'static str,
    path: &str,
    message: impl FnOnce(super::actor::Reply) -> Msg,
) -> Result<(), SupervisorError> {
    let (reply, answer) = oneshot::channel();
    let supervisor = table.actor().ok_or_else(|| down(operation, path.to_owned()))?;
    supervisor.cast(message(reply)).map_err(|_| down(operation, path.to_owned()))?;
    // No answer means that it ended before it came to this.
    answer.await.unwrap_or_else(|_| Err(down(operation, path.to_owned())))
}
