//! From a correlation's batch of outputs to a step of the model. A full batch (after a restart) names what
//! there is; what was there before and is not named becomes a removal.

use std::sync::Arc;

use tidegate_actors::Set;
use tidegate_actors::correlation::{Collection, Graph, Key, OutputBatch, Taps, Value};

use crate::correlate::Outputs;
use crate::model::{ClusterId, ListenerId, ModelUpdate, SecretId, VirtualHostId};

/// The collections that make up the model.
pub fn model_taps(collections: &Outputs) -> Taps {
    let mut taps = Taps::default();
    taps.add(collections.listeners)
        .add(collections.virtual_hosts)
        .add(collections.clusters)
        .add(collections.endpoints)
        .add(collections.secrets);
    taps
}

/// Everything that a graph holds, as a step from nothing: for translations without a server.
pub fn whole(graph: &Graph, outputs: &Outputs, version: u64) -> ModelUpdate {
    fn all<K: Key, V: Value>(graph: &Graph, of: Collection<K, V>) -> Vec<(K, Option<Arc<V>>)> {
        graph.list(of).into_iter().map(|(key, value)| (key, Some(value))).collect()
    }
    ModelUpdate {
        version,
        since: None,
        listeners: all(graph, outputs.listeners),
        virtual_hosts: all(graph, outputs.virtual_hosts),
        clusters: all(graph, outputs.clusters),
        endpoints: all(graph, outputs.endpoints),
        secrets: all(graph, outputs.secrets),
    }
}

/// Remembers which keys a consumer has, over restarts of everybody before it.
#[derive(Default)]
pub struct Steps {
    listeners: Set<ListenerId>,
    virtual_hosts: Set<VirtualHostId>,
    clusters: Set<ClusterId>,
    endpoints: Set<ClusterId>,
    secrets: Set<SecretId>,
}

impl Steps {
    /// The step that a batch means for this consumer.
    pub fn step(&mut self, batch: &OutputBatch, collections: &Outputs) -> ModelUpdate {
        ModelUpdate {
            version: batch.version(),
            since: batch.since(),
            listeners: changes(batch, collections.listeners, &mut self.listeners),
            virtual_hosts: changes(batch, collections.virtual_hosts, &mut self.virtual_hosts),
            clusters: changes(batch, collections.clusters, &mut self.clusters),
            endpoints: changes(batch, collections.endpoints, &mut self.endpoints),
            secrets: changes(batch, collections.secrets, &mut self.secrets),
        }
    }
}

fn changes<K: Key, V: Value>(
    batch: &OutputBatch,
    of: Collection<K, V>,
    known: &mut Set<K>,
) -> Vec<(K, Option<Arc<V>>)> {
    let changes = batch.changes(of).iter().map(|(key, change)| (key.clone(), change.new.clone()));
    let mut changes: Vec<_> = changes.collect();
    if batch.is_full() {
        let named: Set<&K> = changes.iter().map(|(key, _)| key).collect();
        let mut gone: Vec<K> = known.iter().filter(|key| !named.contains(key)).cloned().collect();
        drop(named);
        gone.sort_unstable();
        changes.extend(gone.into_iter().map(|key| (key, None)));
    }
    for (key, value) in &changes {
        if value.is_some() {
            known.insert(key.clone());
        } else {
            known.remove(key);
        }
    }
    changes
}
