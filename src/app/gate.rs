//! When a first configuration may be published: every required type has synced, or is known to be absent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_actors::correlation::{Correlation, Gate};
use tidegate_actors::informer::{Informer, InformerFactory};
use tidegate_actors::persistence::Persistence;
use tidegate_actors::supervisor::{ChildSpec, Restart};

use super::snapshot;
use crate::correlate::Outputs;
use crate::resource;

/// What the gate goes by, beside the types.
#[derive(Clone, Default)]
pub(super) struct Opening {
    /// Everything that is to be waited for is known.
    pub assembled: Arc<AtomicBool>,
    /// It opened although some types had not settled: see [`snapshot::are_spared`].
    pub spared: Arc<AtomicBool>,
}

/// Names the types that are still missing. `required` are types as `plural.group`; empty: all that the gateway
/// reads. What somebody asked for at run time holds nothing up. Until all is `assembled`, there may be types to come
/// that are not settled, while those from a snapshot are already.
pub(super) fn gate(
    factory: &InformerFactory,
    required: &[String],
    persistence: Option<&Persistence>,
    opening: &Opening,
) -> Gate {
    let (factory, required, opening) = (factory.clone(), required.to_vec(), opening.clone());
    let persistence = persistence.cloned();
    Arc::new(move || {
        let informers = factory.informers();
        if informers.is_empty() || !opening.assembled.load(Ordering::SeqCst) {
            return vec!["not every resource type is registered yet".to_owned()];
        }
        let missing = informers.iter().filter(|informer| is_required(informer, &required));
        let mut missing: Vec<&Informer> =
            missing.filter(|informer| !informer.lister().sync_state().is_settled()).collect();
        if snapshot::are_spared(persistence.as_ref(), &factory, &missing) {
            opening.spared.store(true, Ordering::SeqCst);
            missing.clear();
        }
        let missing = missing.into_iter().map(|informer| format!("{}:{}", informer.source(), informer.resource_type()));
        // Types are registered one after the other: one that is required and not there yet is not settled either.
        let is_there = |name: &String| informers.iter().any(|informer| name_of(informer) == *name);
        let unknown =
            required.iter().filter(|name| !is_there(name)).map(|name| format!("{name}: nothing watches it yet"));
        missing.chain(unknown).collect()
    })
}

/// The type's name as the config spells it.
fn name_of(informer: &Informer) -> String {
    informer.resource_type().plural_and_group()
}

fn is_required(informer: &Informer, required: &[String]) -> bool {
    if required.is_empty() {
        resource::kinds().iter().any(|kind| kind.resource_type == *informer.resource_type())
    } else {
        required.contains(&name_of(informer))
    }
}

/// Tells the correlation to look at its gate whenever one more type has settled.
pub(super) fn watcher(factory: &InformerFactory, correlation: &Correlation<Outputs>) -> ChildSpec {
    let (factory, correlation) = (factory.clone(), correlation.clone());
    let run = move |context: tidegate_actors::supervisor::TaskContext| {
        let (factory, correlation) = (factory.clone(), correlation.clone());
        async move {
            let all = async {
                for informer in factory.informers().into_iter().filter(|informer| !informer.is_optional()) {
                    informer.lister().settled().await;
                    correlation.check_gate();
                }
            };
            tokio::select! {
                biased;
                () = context.stop.stopped() => {}
                () = all => {}
            }
            Ok(())
        }
    };
    ChildSpec::task("gate", run).restart(Restart::Transient)
}
