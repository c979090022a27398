//! Slots for what is attached to a gateway, listener, route, rule or backend. Empty today; each policy kind
//! adds a field here and nowhere else, and every level of the model carries the slot already.

use serde::Serialize;

/// Policies in force at one level of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Policies {}
