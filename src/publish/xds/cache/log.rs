//! What changed and when, so that clients look only at that; bounded, and whoever is too far behind looks at
//! everything instead.

use std::collections::VecDeque;

use tidegate_actors::id::Name;
use tokio::time::Instant;

use crate::publish::xds::kind::Kind;

/// One change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The cache's version that it came with.
    pub version: u64,
    /// When its cause reached us.
    pub since: Option<Instant>,
    /// The type.
    pub kind: Kind,
    /// The name.
    pub name: Name,
}

/// The latest changes, oldest first.
pub struct Log {
    entries: VecDeque<Entry>,
    capacity: usize,
    /// The newest version of which entries were dropped.
    forgotten: u64,
}

impl Log {
    /// Holds so many entries.
    pub fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, forgotten: 0 }
    }

    /// Adds a change.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.capacity
            && let Some(dropped) = self.entries.pop_front()
        {
            self.forgotten = dropped.version;
        }
        self.entries.push_back(entry);
    }

    /// What came after a version; `None` if some of that is forgotten.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Entry>> {
        let from = self.entries.partition_point(|entry| entry.version <= version);
        (version >= self.forgotten).then(|| self.entries.range(from..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_entry(version: u64) -> Entry {
        Entry { version, since: None, kind: Kind::Cluster, name: version.to_string().into() }
    }

    #[test]
    fn a_reader_gets_what_came_after_its_version_or_is_told_that_some_is_forgotten() {
        let mut log = Log::new(3);
        for version in 1..=4 {
            log.push(mk_entry(version));
        }
        let after = |version| log.since(version).map(|entries| entries.map(|e| e.version).collect::<Vec<_>>());
        assert_eq!(after(0), None);
        assert_eq!(after(1), Some(vec![2, 3, 4]));
        assert_eq!(after(3), Some(vec![4]));
        assert_eq!(after(4), Some(vec![]));
    }
}
