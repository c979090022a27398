//! The one writer of a store: takes batches from the slot's queue and applies them.

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::lister::Lister;
use crate::port::Port;
use crate::queue::DeltaQueue;

/// The store's actor. What it writes belongs to the [`Lister`], so a restart loses nothing.
pub struct Store;

/// Messages to a store.
pub enum StoreMessage {
    /// Something waits in the queue.
    Work,
}

#[ractor::async_trait]
impl Actor for Store {
    type Msg = StoreMessage;
    type State = (Port<DeltaQueue>, Lister);
    type Arguments = (Port<DeltaQueue>, Lister);

    async fn pre_start(
        &self,
        myself: ActorRef<StoreMessage>,
        (port, lister): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        port.connect(std::sync::Arc::new(move || {
            // A dead store's nudge is of no use; its successor is nudged when it connects.
            let _ = myself.cast(StoreMessage::Work);
        }));
        Ok((port, lister))
    }

    async fn handle(
        &self,
        _myself: ActorRef<StoreMessage>,
        StoreMessage::Work: StoreMessage,
        (port, lister): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(delta) = port.receive(|queue| queue.begin()) {
            lister.apply(&delta);
            port.receive(|queue| queue.commit());
            port.again();
        }
        Ok(())
    }
}
