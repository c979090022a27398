//! What is seen from outside of an engine at work: what its sources told, what its ports held, what it logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use parking_lot::Mutex;
use tidegate_actors::id::{Name, ObjectKey, ResourceType};
use tidegate_actors::source::{Cursor, Source, SourceEvent, SourceStream};
use tidegate_actors::testing::MemorySource;
use tokio::time::Instant;

/// What a source told.
#[derive(Default)]
pub struct Told {
    /// Deletes of a key.
    pub deletes: BTreeMap<(ResourceType, ObjectKey), Vec<Instant>>,
    /// Complete lists of a type.
    pub lists: BTreeMap<(Name, ResourceType), Vec<Instant>>,
}

/// A memory source that is overheard.
pub struct Overheard {
    pub source: MemorySource,
    pub told: Arc<Mutex<Told>>,
}

impl Source for Overheard {
    fn name(&self) -> &Name {
        self.source.name()
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let (told, of, name) = (self.told.clone(), resource_type.clone(), self.name().clone());
        let overhear = move |event: &Result<SourceEvent, _>| {
            let told = &mut *told.lock();
            let times = match event {
                Ok(SourceEvent::Delete(key)) => told.deletes.entry((of.clone(), key.clone())).or_default(),
                Ok(SourceEvent::InitDone(_)) => told.lists.entry((name.clone(), of.clone())).or_default(),
                _ => return,
            };
            times.push(Instant::now());
        };
        self.source.open(resource_type, from).inspect(overhear).boxed()
    }
}

/// The deepest that each queue has ever been.
#[derive(Clone, Default)]
pub struct Depths(Arc<Mutex<BTreeMap<String, Arc<Deepest>>>>);

#[derive(Default)]
struct Deepest(Mutex<f64>);

impl GaugeFn for Deepest {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        let deepest = &mut *self.0.lock();
        *deepest = deepest.max(value);
    }
}

impl Depths {
    pub fn all(&self) -> Vec<(String, usize)> {
        self.0.lock().iter().map(|(queue, deepest)| (queue.clone(), *deepest.0.lock() as usize)).collect()
    }
}

impl metrics::Recorder for Depths {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let queue = key.labels().find(|label| label.key() == "queue");
        match queue {
            Some(queue) if key.name() == "tidegate_queue_depth" => {
                Gauge::from_arc(self.0.lock().entry(queue.value().to_owned()).or_default().clone())
            }
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
