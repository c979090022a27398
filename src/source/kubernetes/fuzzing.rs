//! What the fuzz targets drive: the pure parts of lists and watches, without the network around them. No logic of its
//! own.

pub use super::body::versions;
pub use super::cut::{Items, Lines, Malformed, Piece};
pub use super::failure::{Ending, Failure};
pub use super::frame::{Frame, read};
pub use super::identity::Identity;
pub use super::machine::{Action, Event, State, step};
