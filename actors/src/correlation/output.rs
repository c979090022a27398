//! How differences leave a graph: each consumer taps the collections it wants, and gets the changes of whole
//! commits, coalesced per key for as long as it does not look.
//!
//! Laws: what a consumer takes leads from one consistent version to another; a batch that was begun and not
//! committed is handed out again, unchanged; a full batch names everything there is, so that what it does not
//! name is gone; a consumer that takes over from another gets a full batch first.

use std::any::Any;
use std::sync::Arc;

use tokio::time::Instant;

use super::collection::{Collection, Key, State, Value};
use super::graph::World;
use crate::Map;
use crate::changes::{Batch, Change, Changes};
use crate::port::{Buffer, Port};

/// The edge from a correlation to one consumer.
pub type OutputPort = Port<OutputBuffer>;

/// What waits for one consumer.
#[derive(Default)]
pub struct OutputBuffer {
    waiting: Waiting,
    begun: Option<Arc<OutputBatch>>,
    /// Differences are of no use until a full batch has come.
    lost: bool,
}

#[derive(Default)]
struct Waiting {
    version: Option<u64>,
    since: Option<Instant>,
    full: bool,
    changes: Map<u32, Box<dyn AnyChanges>>,
}

/// A consistent step: all changes from the version that the consumer knew to [`version`](Self::version).
pub struct OutputBatch {
    version: u64,
    since: Option<Instant>,
    full: bool,
    changes: Map<u32, Box<dyn Any + Send + Sync>>,
}

impl OutputBatch {
    /// The version that it leads to; grows over the life of the process.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the oldest change in it reached the correlation.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether it names everything, so that what it does not name is gone.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The changes of one collection, in the order of their first appearance.
    pub fn changes<K: Key, V: Value>(&self, of: Collection<K, V>) -> &[(K, Change<Arc<V>>)] {
        let batch = self.changes.get(&of.id).and_then(|batch| batch.downcast_ref::<Batch<K, Arc<V>>>());
        batch.map_or(&[], |batch| batch)
    }

    /// Whether it changes nothing (a full one that names nothing says that nothing is left).
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl OutputBuffer {
    /// The batch to work on: the one begun and not committed, else all that waits. `None` if there is nothing.
    pub fn begin(&mut self) -> Option<Arc<OutputBatch>> {
        if self.begun.is_none() {
            let waiting = std::mem::take(&mut self.waiting);
            let version = waiting.version?;
            let mut changes = Map::default();
            for (collection, mut waiting) in waiting.changes {
                changes.extend(waiting.take().map(|batch| (collection, batch)));
            }
            let batch = OutputBatch { version, since: waiting.since, full: waiting.full, changes };
            self.begun = Some(Arc::new(batch));
        }
        self.begun.clone()
    }

    /// The batch that was begun is done.
    pub fn commit(&mut self) {
        self.begun = None;
    }

    /// A new consumer takes over, which knows nothing of what was handed out before. Nothing is handed out until
    /// a full batch has come; true when one has to be asked for.
    pub fn hand_over(&mut self) -> bool {
        let untouched = self.begun.is_none() && self.waiting.full;
        if !untouched {
            *self = Self { lost: true, ..Self::default() };
        }
        !untouched
    }

    fn stamp(&mut self, version: u64, since: Option<Instant>) {
        self.waiting.version = Some(version);
        self.waiting.since = match (self.waiting.since, since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Buffer for OutputBuffer {
    fn depth(&self) -> usize {
        let waiting: usize = self.waiting.changes.values().map(|changes| changes.depth()).sum();
        let nothing_yet = usize::from(waiting == 0 && self.waiting.version.is_some());
        waiting + nothing_yet + usize::from(self.begun.is_some())
    }
}

trait AnyChanges: Send {
    fn depth(&self) -> usize;
    fn take(&mut self) -> Option<Box<dyn Any + Send + Sync>>;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<K: Key, V: Value> AnyChanges for Changes<K, Arc<V>> {
    fn depth(&self) -> usize {
        self.len()
    }

    fn take(&mut self) -> Option<Box<dyn Any + Send + Sync>> {
        self.begin().map(|batch| Box::new(batch) as Box<dyn Any + Send + Sync>)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// The collections that one consumer wants.
#[derive(Default)]
pub struct Taps {
    taps: Vec<Box<dyn Tap>>,
}

impl Taps {
    /// Adds a collection.
    pub fn add<K: Key, V: Value>(&mut self, collection: Collection<K, V>) -> &mut Self {
        self.taps.push(Box::new(collection));
        self
    }

    /// With one collection more, for taps in one expression.
    #[must_use]
    pub fn with<K: Key, V: Value>(mut self, collection: Collection<K, V>) -> Self {
        self.add(collection);
        self
    }
}

trait Tap: Send {
    fn is_touched(&self, world: &World) -> bool;
    fn collect(&self, world: &World, replay: bool, into: &mut Waiting);
}

impl<K: Key, V: Value> Tap for Collection<K, V> {
    fn is_touched(&self, world: &World) -> bool {
        world.with(*self, |state: &mut State<K, V>| state.deltas().next().is_some())
    }

    fn collect(&self, world: &World, replay: bool, into: &mut Waiting) {
        world.with(*self, |state: &mut State<K, V>| {
            let mut changes: Vec<(K, Change<Arc<V>>)> = if replay {
                let all = state.iter().map(|(key, value)| (key.clone(), Change::live(None, Some(value.clone()))));
                all.collect()
            } else {
                state.deltas().map(|delta| (delta.key, Change::live(delta.old, delta.new))).collect()
            };
            if changes.is_empty() {
                return;
            }
            if replay {
                changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            }
            let waiting = into.changes.entry(self.id);
            let waiting = waiting.or_insert_with(|| Box::new(Changes::<K, Arc<V>>::default()));
            // One collection, one pair of types: the tap that made the entry had the same handle.
            if let Some(waiting) = waiting.as_any().downcast_mut::<Changes<K, Arc<V>>>() {
                waiting.make_room(changes.len());
                for (key, change) in changes {
                    waiting.record(key, change);
                }
            }
        });
    }
}

/// A port with its taps, held by the graph.
pub(super) struct Output {
    pub port: OutputPort,
    pub taps: Taps,
}

impl Output {
    pub fn name(&self) -> &str {
        self.port.name()
    }

    /// Hands over what this commit changed; nothing, if it changed nothing that is tapped.
    pub fn commit(&self, world: &World, version: u64, since: Option<Instant>) {
        if !self.taps.taps.iter().any(|tap| tap.is_touched(world)) {
            return;
        }
        self.port.send(|buffer| {
            if buffer.lost {
                return;
            }
            for tap in &self.taps.taps {
                tap.collect(world, false, &mut buffer.waiting);
            }
            buffer.stamp(version, since);
        });
    }

    /// Replaces what waits by everything there is.
    pub fn replay(&self, world: &World, version: u64) {
        self.port.send(|buffer| {
            *buffer = OutputBuffer::default();
            buffer.waiting.full = true;
            for tap in &self.taps.taps {
                tap.collect(world, true, &mut buffer.waiting);
            }
            buffer.stamp(version, None);
        });
    }
}
