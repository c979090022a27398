//! One key in a worker's hands.

use std::hash::Hash;

use super::WorkQueue;

/// A key to be worked on. Nobody else has it until it is done or given back; dropping it (the worker panicked,
/// say) gives it back for a retry.
#[must_use = "dropping it means that the work failed"]
pub struct Work<K: Clone + Eq + Hash + Send + 'static> {
    queue: WorkQueue<K>,
    key: K,
    tries: u32,
    open: bool,
}

impl<K: Clone + Eq + Hash + Send + 'static> Work<K> {
    pub(super) fn new(queue: WorkQueue<K>, key: K, tries: u32) -> Self {
        Self { queue, key, tries, open: true }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// How often it has failed in a row.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// The work is done; the key's failures are forgotten.
    pub fn done(mut self) {
        self.open = false;
        self.queue.finish(&self.key, Ok(()));
    }

    /// The work failed: the key comes again later, or is given up.
    pub fn retry(mut self, reason: impl Into<String>) {
        self.open = false;
        self.queue.finish(&self.key, Err(reason.into()));
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for Work<K> {
    fn drop(&mut self) {
        if self.open {
            self.queue.finish(&self.key, Err("its worker ended without a result".to_owned()));
        }
    }
}
