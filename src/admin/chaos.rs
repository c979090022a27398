//! Attacks on the running service, where the config allows them: what `tidegate chaos` asks for, and how each ends.
//!
//! Laws: without `chaos.enabled` nothing here can be done; every attack ends by itself, whatever becomes of who asked
//! for it; healing ends all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_actors::env::{Clock, Env, Fault, FaultPlan, FaultRule};
use tidegate_actors::supervisor::{Supervisor, SupervisorError, TreeStatus};

/// What can be done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Attack {
    /// An actor panics at the next thing that it takes.
    Panic,
    /// An actor stands still for a while.
    Stall,
    /// An actor is stopped for a while.
    Pause,
    /// An actor is killed, as a bug would.
    Kill,
    /// An actor is stopped and started.
    Restart,
    /// A source's connections break, and none can be made for a while.
    Disconnect,
    /// Everything that a source tells comes half a second late, for a while.
    Delay,
    /// Everything that is asked of a source fails, for a while.
    Error,
}

impl Attack {
    /// Whether it is a source that it is aimed at, and not an actor.
    pub fn is_on_source(self) -> bool {
        matches!(self, Self::Disconnect | Self::Delay | Self::Error)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is to be done.
    pub fault: Attack,
    /// To which actor, by its path, or to which source, by its name.
    pub target: String,
    /// For how long, in milliseconds, where it lasts; ten minutes at most.
    #[serde(default = "for_a_while")]
    pub for_ms: u64,
}

fn for_a_while() -> u64 {
    2_000
}

/// No attack lasts longer.
const LONGEST: Duration = Duration::from_secs(600);

/// How late a delayed source is.
const LATE: Duration = Duration::from_millis(500);

/// Why an attack was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChaosError {
    /// The config says nothing of it.
    #[error(
        "this service may not be attacked; for a game day set `chaos.enabled: true` in the config of one that is not in \
         production, and start it again"
    )]
    Off,
    /// There is no such target.
    #[error("there is no {what} `{target}`; {remedy}")]
    NoTarget {
        /// Actor or source.
        what: &'static str,
        /// The name.
        target: String,
        /// Where names are.
        remedy: &'static str,
    },
    /// The attack means nothing for the target.
    #[error(
        "`{target}` cannot be made to {fault:?}: reflectors (sources/...), stores (stores/...), gateway, xds, json and status can"
    )]
    Unfit {
        /// The name.
        target: String,
        /// What was asked for.
        fault: Attack,
    },
    /// The supervisor refused.
    #[error("{0}")]
    Refused(String),
}

/// See the module. Clones are one.
#[derive(Clone, Default)]
pub struct Chaos {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    plan: FaultPlan,
    clock: Arc<dyn Clock>,
    actors: Supervisor,
    active: Mutex<Active>,
}

#[derive(Default)]
struct Active {
    next: u64,
    paused: BTreeSet<String>,
    rules: BTreeMap<u64, (Order, Vec<u64>)>,
}

impl Chaos {
    /// For a service whose environment has `plan` as its faults.
    pub fn new(plan: &FaultPlan, env: &Env, actors: &Supervisor) -> Self {
        let (plan, clock, actors) = (plan.clone(), env.clock.clone(), actors.clone());
        Self { inner: Some(Arc::new(Inner { plan, clock, actors, active: Mutex::default() })) }
    }

    /// What is under way.
    ///
    /// # Errors
    /// When the config does not allow any.
    pub fn active(&self) -> Result<Vec<Order>, ChaosError> {
        let active = self.inner()?.active.lock();
        Ok(active.rules.values().map(|(order, _)| order.clone()).collect())
    }

    /// Attacks.
    ///
    /// # Errors
    /// When the config does not allow it, or there is no such target.
    pub async fn strike(&self, order: &Order) -> Result<(), ChaosError> {
        let inner = self.inner()?;
        tracing::warn!(fault = ?order.fault, target = order.target, for_ms = order.for_ms, "attacked on purpose");
        let path = order.target.as_str();
        if order.fault.is_on_source() {
            return inner.strike_source(order).await;
        }
        let tree = inner.actors.tree();
        if path.is_empty() || tree.find(path).is_none() {
            let remedy = "GET /api/v1/actors lists all";
            return Err(ChaosError::NoTarget { what: "actor", target: path.to_owned(), remedy });
        }
        match order.fault {
            Attack::Kill => drop(inner.actors.get(path).inspect(|actor| actor.kill())),
            Attack::Restart => inner.actors.restart(path).await.map_err(refused)?,
            Attack::Pause => {
                inner.actors.pause(path).await.map_err(refused)?;
                inner.active.lock().paused.insert(path.to_owned());
                Inner::later(inner, order, Vec::new());
            }
            _ => {
                let rules =
                    rules(order).ok_or_else(|| ChaosError::Unfit { target: path.to_owned(), fault: order.fault })?;
                let numbers = rules.into_iter().map(|rule| inner.plan.put(rule)).collect();
                Inner::later(inner, order, numbers);
            }
        }
        Ok(())
    }

    /// Ends everything at once.
    ///
    /// # Errors
    /// When the config does not allow any.
    pub async fn heal(&self) -> Result<(), ChaosError> {
        let inner = self.inner()?;
        inner.plan.heal();
        let Active { paused, rules, .. } = std::mem::take(&mut *inner.active.lock());
        for path in paused {
            // It may have been resumed, or removed, by somebody else.
            drop(inner.actors.resume(&path).await);
        }
        for (order, _) in rules.into_values() {
            inner.wake(&order).await;
        }
        tracing::info!("every attack has ended");
        Ok(())
    }

    fn inner(&self) -> Result<&Arc<Inner>, ChaosError> {
        self.inner.as_ref().ok_or(ChaosError::Off)
    }
}

impl Inner {
    async fn strike_source(self: &Arc<Self>, order: &Order) -> Result<(), ChaosError> {
        let name = order.target.as_str();
        let tree = self.actors.tree();
        let Some(reflectors) = tree.find(&format!("sources/{name}")).filter(|_| !name.contains('/')) else {
            let remedy = "they are named in the config";
            return Err(ChaosError::NoTarget { what: "source", target: name.to_owned(), remedy });
        };
        let injected = || Fault::Error("injected by `tidegate chaos`".to_owned());
        let rules = match order.fault {
            Attack::Delay => vec![FaultRule::always(&format!("source/{name}/*/event"), Fault::Delay(LATE))],
            Attack::Error => vec![FaultRule::always(&format!("source/{name}/*"), injected())],
            _ => vec![FaultRule::always(&format!("source/{name}/*/open"), Fault::Drop)],
        };
        let numbers = rules.into_iter().map(|rule| self.plan.put(rule)).collect();
        Self::later(self, order, numbers);
        if order.fault == Attack::Disconnect {
            for path in leaves(reflectors) {
                // What is waiting or paused has no connection that could break.
                drop(self.actors.restart(&path).await);
            }
        }
        Ok(())
    }

    /// Ends an attack when its time is over.
    fn later(this: &Arc<Self>, order: &Order, rules: Vec<u64>) {
        let number = {
            let active = &mut *this.active.lock();
            active.next += 1;
            active.rules.insert(active.next, (order.clone(), rules));
            active.next
        };
        let (inner, order) = (this.clone(), order.clone());
        let time = Duration::from_millis(order.for_ms).min(LONGEST);
        tokio::spawn(async move {
            inner.clock.sleep(time).await;
            let Some((_, rules)) = inner.active.lock().rules.remove(&number) else { return };
            for rule in rules {
                inner.plan.remove(rule);
            }
            if order.fault == Attack::Pause && inner.active.lock().paused.remove(&order.target) {
                drop(inner.actors.resume(&order.target).await);
            }
            inner.wake(&order).await;
        });
    }

    /// What stands still for ever would outlive its fault: it is started anew. A panic that never found its moment is
    /// taken back, and nothing else.
    async fn wake(&self, order: &Order) {
        // What a port holds back comes by itself.
        if order.fault == Attack::Stall && !order.target.starts_with("stores/") && order.target != "gateway" {
            drop(self.actors.restart(&order.target).await);
        }
    }
}

/// Which faults make an actor panic or stall, where it has a place for that.
fn rules(order: &Order) -> Option<Vec<FaultRule>> {
    let (panic, stall) = (Fault::Panic("injected by `tidegate chaos`".to_owned()), Fault::Stall);
    let path = order.target.as_str();
    let parts: Vec<&str> = path.split('/').collect();
    let rule = match (parts.as_slice(), order.fault) {
        (["sources", source, of], Attack::Panic) => FaultRule::once(&format!("source/{source}/{of}/*"), panic),
        (["sources", source, of], _) => FaultRule::always(&format!("source/{source}/{of}/*"), stall),
        (["stores", source, of], Attack::Panic) => FaultRule::once(&format!("port/store/{source}/{of}/receive"), panic),
        (["stores", source, of], _) => FaultRule::always(&format!("port/store/{source}/{of}/send"), stall),
        // Ports of its inputs have a source and a type in their names, those of its outputs only a publisher's.
        (["gateway"], Attack::Panic) => FaultRule::once("port/gateway/*/*/receive", panic),
        (["gateway"], _) => FaultRule::always("port/gateway/*/*/send", stall),
        ([publisher @ ("xds" | "json" | "status")], Attack::Panic) => {
            FaultRule::once(&format!("publish/{publisher}"), panic)
        }
        ([publisher @ ("xds" | "json" | "status")], _) => FaultRule::always(&format!("publish/{publisher}"), stall),
        _ => return None,
    };
    Some(vec![rule])
}

fn refused(error: SupervisorError) -> ChaosError {
    ChaosError::Refused(error.to_string())
}

fn leaves(node: &TreeStatus) -> Vec<String> {
    if node.children.is_empty() {
        return vec![node.path.to_string()];
    }
    node.children.iter().flat_map(leaves).collect()
}
