//! What is known of the files: how much is kept, how old it is, what of it was of use, and what is wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Persistence, Slot};
use crate::id::{Name, ResourceType};

/// What is known of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersistenceStatus {
    /// Every type that is kept, or should be.
    pub types: Vec<KeptType>,
    /// How many slots there are.
    pub slots: usize,
    /// How many of them began with what an earlier life had left.
    pub restored: usize,
    /// The bytes of their files.
    pub bytes: u64,
    /// When something was last written, since the Unix epoch.
    pub written: Option<Duration>,
    /// For how long something has been waiting to be written; `None`: nothing is.
    pub behind: Option<Duration>,
    /// What could not be written or used, with the reason.
    pub failing: Vec<String>,
    /// Corrupt files that are kept for whoever wants to look at them.
    pub set_aside: Vec<PathBuf>,
}

/// What is known of one type's file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptType {
    /// The source.
    pub source: Name,
    /// The type.
    pub resource_type: ResourceType,
    /// How long its file is.
    pub bytes: u64,
    /// What it began with, if an earlier life had left something that could be used.
    pub restored: Option<RestoredType>,
    /// Its objects are not kept, because they would have to be encrypted and are not to be, or cannot be.
    pub left_out: bool,
    /// Of how many objects an earlier version is kept, because nobody can use the present one.
    pub held_back: usize,
    /// What is wrong with its file.
    pub failing: Option<String>,
}

/// What a type began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredType {
    /// So many objects.
    pub objects: usize,
    /// When the source had last told anything then, since the Unix epoch.
    pub at: Option<Duration>,
}

/// What is said of a file while somebody else writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub bytes: u64,
    pub left_out: bool,
    pub held_back: usize,
}

impl Persistence {
    /// What is known of the files.
    pub fn status(&self) -> PersistenceStatus {
        let slots: Vec<Arc<Slot>> = self.shared.slots.lock().values().cloned().collect();
        let told = self.shared.status.lock();
        let types: Vec<KeptType> = slots
            .iter()
            .map(|slot| {
                let Figures { bytes, left_out, held_back } = *slot.figures.lock();
                let (source, resource_type) = slot.informer.id();
                let failing = told.failing.get(&slot.path).cloned();
                KeptType { source, resource_type, bytes, restored: slot.restored, left_out, held_back, failing }
            })
            .collect();
        let failing = told.failing.iter().map(|(path, why)| format!("{}: {why}", path.display()));
        PersistenceStatus {
            slots: types.len(),
            restored: types.iter().filter(|kept| kept.restored.is_some()).count(),
            bytes: types.iter().map(|kept| kept.bytes).sum(),
            types,
            written: told.written,
            behind: told.behind_since.map(|since| self.shared.env.clock.now().saturating_duration_since(since)),
            failing: failing.collect(),
            set_aside: told.set_aside.clone(),
        }
    }

    /// Sets the gauges that change by themselves as time goes by; call it when metrics are read.
    pub fn record_metrics(&self) {
        let (status, metrics) = (self.status(), &self.shared.metrics);
        metrics.size.set(status.bytes as f64);
        metrics.behind.set(status.behind.map_or(0.0, |behind| behind.as_secs_f64()));
        metrics.written.set(status.written.map_or(0.0, |written| written.as_secs_f64()));
        metrics.left_out.set(status.types.iter().filter(|kept| kept.left_out).count() as f64);
        metrics.restored_types.set(status.restored as f64);
    }
}
