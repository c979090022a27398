//! The last known state of one resource type: an actor that writes, and
//! [`Lister`](crate::store::Lister)s that read without asking it.
//! The state belongs to the type's slot and outlives the actor, as well as the reflector that feeds it.
//!
//! Laws: one writer; a batch is applied as a whole; readers are told of a state only after they can read it;
//! user code that panics harms one object in one index, and nobody else.

mod state;

mod selector;

mod index;

mod ordered;

mod held;

mod lister;

mod actor;

pub use actor::{Store, StoreMessage};
pub use index::IndexFn;
pub use lister::{Lister, ObjectChanges, Subscription, UnknownIndex};
pub use selector::{Requirement, Selector, SelectorError};
pub use state::SyncState;

#[cfg(test)]
mod tests;
