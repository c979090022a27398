//! The outside world as traits, handed to whoever needs it, so that a whole system can run seeded, in
//! virtual time, on one thread, and replay exactly.
//!
//! Law: no module outside this one asks the operating system for the time, randomness, a file or a socket.

mod clock;
mod disk;
mod fault_plan;
mod faults;
mod net;
mod rng;

pub use clock::{Clock, SystemClock};
pub use disk::{Disk, DiskEntry, DiskFile, SystemDisk};
pub use fault_plan::{FaultPlan, FaultRule};
pub use faults::{Fault, Faults, NoFaults};
pub use net::{Connection, Listener, Net, SystemNet};
pub use rng::{Rng, SeededRng};

use std::sync::Arc;

/// Clock, randomness, disk, network and injected faults of one system. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Jitter and nothing secret.
    pub rng: Arc<dyn Rng>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Sockets.
    pub net: Arc<dyn Net>,
    /// Injected faults: `None` in production.
    pub faults: Option<Arc<dyn Faults>>,
}

impl Env {
    /// The real world.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            rng: Arc::new(SeededRng::from_time()),
            disk: Arc::new(SystemDisk),
            net: Arc::new(SystemNet),
            faults: None,
        }
    }

    /// Does something with the disk, on a thread of its own if that may take a while. What was begun ends, whether
    /// or not somebody still waits for it; a panic in it is the caller's.
    ///
    /// # Panics
    /// When `work` does.
    pub async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&dyn Disk) -> T + Send + 'static) -> T {
        let disk = self.disk.clone();
        if !disk.blocks() {
            return work(&*disk);
        }
        match tokio::task::spawn_blocking(move || work(&*disk)).await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // It was never begun: the runtime is going, and nobody is waiting any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The fault, if any, for what passes a place now; `place` is only built when somebody injects faults.
    pub fn fault(&self, place: impl FnOnce() -> String) -> Fault {
        self.faults.as_ref().map_or(Fault::None, |faults| faults.at(&place()))
    }
}
