//! The rules of the protocol, one test each, on the state machine alone.

mod delta;
mod model;
mod nack;
mod order;
mod rig;
mod sotw;
