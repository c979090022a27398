//! For tests of what is built on this crate: a source in memory, a fault plan, a disk in memory, a virtual clock,
//! a probe, and a rig that runs a whole system seeded, in virtual time, on one thread.
//!
//! [`guide`] is a tutorial: start there.
//!
//! Law: one seed, one run. Nothing here asks the operating system for anything.

mod campaign;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod memory_disk;
mod memory_net;
mod memory_source;
pub mod oracle;
mod plan;
mod probe;
mod recorder;
mod rig;
pub mod sieve;
mod trace;
mod virtual_clock;
pub mod wire;

pub use crate::env::{FaultPlan, FaultRule};
pub use campaign::{Campaign, Failed, Scenario, Summary, number};
pub use memory_disk::{MemoryDisk, Trouble};
pub use memory_net::MemoryNet;
pub use memory_source::MemorySource;
pub use oracle::Violation;
pub use plan::{Plan, shrink};
pub use probe::{Mood, Probe, ProbeState, ProbeStep, ProbeTaps};
pub use recorder::{Call, Recorder};
pub use rig::Rig;
pub use trace::{Keep, Trace};
pub use virtual_clock::VirtualClock;
pub use wire::WireProxy;

use std::future::Future;
use std::sync::Arc;

use crate::env::{Env, SeededRng, SystemNet};

/// The outside world of one seed, with a fault plan that is empty at first. Sockets are the machine's: a test
/// in virtual time uses none.
pub fn env(seed: u64) -> (Env, FaultPlan) {
    let plan = FaultPlan::new(seed);
    let env = Env {
        clock: Arc::new(VirtualClock::new()),
        rng: Arc::new(SeededRng::new(seed)),
        disk: Arc::new(MemoryDisk::default()),
        net: Arc::new(SystemNet),
        faults: Some(Arc::new(plan.clone())),
    };
    (env, plan)
}

/// Runs a future to its end on one thread in virtual time: sleeping costs nothing, and the order of events is a
/// function of the program alone.
///
/// # Panics
/// When the runtime cannot be made, or the future panics.
#[allow(clippy::expect_used)]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing from the system").block_on(future)
}
