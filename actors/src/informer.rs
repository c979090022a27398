//! Resource types registered and unregistered while the system runs. One slot a type and source holds what outlives
//! actors (queue, store's state, cursor); the supervisor keeps a reflector and a store running for each.
//!
//! Laws: readers of a slot never notice a restart; the table of slots is readable without waiting; two slots
//! never share a path in the supervisor's tree.

mod error;

mod factory;

mod slot;

pub use error::{InformerError, NotSynced};
pub use factory::InformerFactory;
pub use slot::{Informer, RegisterOptions, SlotStatus, Snapshot};

#[cfg(test)]
mod tests;
