//! One input of a correlation: a store, the port that its changes come through, and whether it is complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::changes::Changes;
use crate::id::{Name, ObjectKey, ResourceType};
use crate::informer::Informer;
use crate::object::Object;
use crate::port::Port;
use crate::store::{Lister, Subscription, SyncState};

/// The edge from a store to a consumer of its changes.
pub type StorePort = Port<Changes<ObjectKey, Arc<Object>>>;

/// Asks a store to send everything it holds, and all changes from then on, to a port, for as long as the
/// subscription is held.
pub type Subscribe = Arc<dyn Fn(StorePort) -> Subscription + Send + Sync>;

/// Which input: a resource type of a source.
pub(super) type InputKey = (ResourceType, Name);

/// How an input is wired; outlives the actor.
#[derive(Clone)]
pub(super) struct Input {
    pub port: StorePort,
    pub subscribe: Subscribe,
    /// `None`: somebody else knows when it is complete.
    lister: Option<Lister>,
}

impl Input {
    pub fn of_store(port: StorePort, subscribe: Subscribe) -> Self {
        Self { port, subscribe, lister: None }
    }

    pub fn of_informer(port: StorePort, informer: &Informer) -> Self {
        let lister = Some(informer.lister().clone());
        let informer = informer.clone();
        Self { port, subscribe: Arc::new(move |port| informer.subscribe(port)), lister }
    }

    fn is_settled(&self) -> bool {
        self.lister.as_ref().is_none_or(|lister| lister.sync_state().is_settled())
    }

    /// Calls back whenever it has become complete, or known to be absent, since the last change of a first list is
    /// told before that, and an empty list tells nothing. Ends with what is returned.
    pub fn when_settled(&self, call: impl Fn() + Send + 'static) -> JoinSet<()> {
        let mut waiting = JoinSet::new();
        if let Some(lister) = self.lister.clone() {
            waiting.spawn(async move {
                let mut sync = lister.watch_sync();
                // What is absent may come and be empty; what is complete stays so.
                while let Ok(state) = sync.wait_for(SyncState::is_settled).await.map(|state| state.clone()) {
                    call();
                    if state.complete || sync.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        waiting
    }
}

/// Names the types that have no input yet, and the inputs that are not complete.
pub(super) fn missing(types: &[ResourceType], inputs: &BTreeMap<InputKey, Input>) -> Vec<String> {
    let without = types.iter().filter(|of| !inputs.keys().any(|(input, _)| input == *of));
    let unsettled = inputs.iter().filter(|(_, input)| !input.is_settled());
    let unsettled = unsettled.map(|((of, source), _)| format!("{source}:{of}"));
    without.map(|of| format!("{of}: nobody reads it from any source yet")).chain(unsettled).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
