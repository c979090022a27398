//! Correlation: pure functions from collections to collections, re-run exactly where something changed.
//!
//! A [`Graph`](crate::correlation::Graph) is built once, top down. Its nodes are collections: views of raw objects,
//! functions of another collection, groups, unions. A function reads other collections only through its
//! [`Ctx`](crate::correlation::Ctx), by key or by a named index; each look-up is recorded, absences and empty look-ups
//! too, so that a change re-runs exactly the inputs that looked at what changed. Outputs that come out equal stop there.
//!
//! Laws: a commit applies any number of changes of any number of stores at once, and a function never sees
//! half of one; a function runs at most once an input and commit; a collection is read only by nodes that were
//! declared after it, so there are no cycles; a panic or an error quarantines the one input, keeps its last good
//! output, and is reported; the collections are the same as those of a computation from scratch.
//!
//! Invariant: a look-up without a key or an index cannot be written, so none is discovered at scale.

mod actor;
mod collection;
mod ctx;
mod function;
mod graph;
mod group;
mod index;
mod input;
mod json;
mod numbered;
mod output;
mod report;
mod union;
mod view;
mod watch;

pub use actor::{Correlation, Gate};
pub use collection::{Collection, Key, Value};
pub use ctx::Ctx;
pub(crate) use function::PROBLEMS;
pub use graph::{CommitStats, Graph};
pub use index::Index;
pub use input::{StorePort, Subscribe};
pub use json::Json;
pub use output::{OutputBatch, OutputBuffer, OutputPort, Taps};
pub use view::{View, ViewError};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
