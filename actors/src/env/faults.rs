//! Where faults can be injected. In production nothing is: [`NoFaults`] compiles to a constant.

use std::time::Duration;

/// What to do to the next thing that passes a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Hold it back for so long.
    Delay(Duration),
    /// Deliver it twice.
    Duplicate,
    /// Let the next thing overtake it.
    Reorder,
    /// Damage it on the way, so that nobody can read it.
    Corrupt,
    /// Lose it, as the network or a crash would.
    Drop,
    /// Fail with this text.
    Error(String),
    /// Panic with this text, in whoever handles it.
    Panic(String),
    /// Never finish.
    Stall,
}

/// Decides about faults. Places are paths: `port/NAME/send`, `port/NAME/receive`, `source/NAME/TYPE/open`,
/// `source/NAME/TYPE/event`, `disk/write`, `correlate/NAME`, `publish/NAME`, and `net/connect`, `net/accept`, `net/up`, `net/down` of
/// a network in memory. Where a fault means nothing (nobody can reorder a connect), it does nothing.
pub trait Faults: Send + Sync + 'static {
    /// The fault for what passes `place` now.
    fn at(&self, place: &str) -> Fault;
}

/// No faults, ever.
pub struct NoFaults;

impl Faults for NoFaults {
    fn at(&self, _place: &str) -> Fault {
        Fault::None
    }
}
