//! Types that are watched because they match a pattern: registered as they come, unregistered as they go.
//!
//! Laws: what somebody asked for by name is never unregistered here, and never in its way; no more types are watched
//! so than the limit allows, and the others are named; nothing is unregistered before it is known what there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_actors::id::ResourceType;
use tidegate_actors::informer::{InformerFactory, RegisterOptions};
use tidegate_actors::problem::{Problem, Serving};
use tidegate_actors::watch;

use super::definition::TypeName;
use super::discovered::Discovered;
use super::quarantine::scope;
use super::shared::Shared;
use crate::limit::Limit;

/// How many types a problem names.
const MAX_NAMED: usize = 10;

/// Where types are registered, and which. Cheap to clone.
#[derive(Clone)]
pub struct Registrar {
    factory: InformerFactory,
    limit: usize,
    matches: Arc<dyn Fn(&ResourceType) -> bool + Send + Sync>,
}

impl Registrar {
    /// One that registers whatever `matches`, up to `limit` types.
    pub fn new(
        factory: &InformerFactory,
        limit: usize,
        matches: impl Fn(&ResourceType) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { factory: factory.clone(), limit, matches: Arc::new(matches) }
    }

    /// Resolves whenever somebody registered or unregistered a type.
    pub(super) fn on_change(&self) -> watch::Receiver<u64> {
        self.factory.on_change()
    }

    /// Makes what is registered what was discovered. `settled`: what was not discovered is not there.
    pub(super) async fn reconcile(&self, shared: &Arc<Shared>, discovered: &Discovered, settled: bool) {
        let wanted: BTreeMap<TypeName, ResourceType> = discovered
            .iter()
            .filter_map(|(name, definition)| {
                let mut types = definition.versions.iter().map(|version| definition.resource_type(name, version));
                Some((name.clone(), types.find(|of| (self.matches)(of))?))
            })
            .collect();
        let source = &shared.options.name;
        let here = self.factory.informers().into_iter().filter(|informer| informer.source() == source);
        let mut registered = BTreeMap::new();
        for informer in here {
            let of = informer.resource_type();
            let name = TypeName::new(of.group(), of.plural());
            if settled && informer.is_optional() && !wanted.contains_key(&name) {
                tracing::info!(%source, resource_type = %of, "a discovered type is gone, and watched no more");
                self.unregister(shared, of.clone()).await;
                continue;
            }
            registered.insert(name, informer.is_optional());
        }
        let mut watched = registered.values().filter(|optional| **optional).count();
        let mut excess = Vec::new();
        for (name, resource_type) in wanted.into_iter().filter(|(name, _)| !registered.contains_key(name)) {
            if watched >= self.limit {
                excess.push(name);
            } else if self.register(shared, resource_type).await {
                watched += 1;
            }
        }
        self.report(shared, &excess);
        let source = source.to_string();
        // As many types as fit a limit of the config are no news to a float.
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("tidegate_discovered_types", "source" => source).set(watched as f64);
    }

    async fn register(&self, shared: &Arc<Shared>, found: ResourceType) -> bool {
        let known = shared.catalogue.get(found.group(), found.kind()).map(|entry| entry.resource_type.clone());
        let resource_type = known.filter(|known| known.plural() == found.plural()).unwrap_or(found);
        let (source, factory) = (shared.options.name.clone(), self.factory.clone());
        shared.memory(&resource_type).any_version.store(true, Ordering::SeqCst);
        let of = resource_type.clone();
        // In a task of its own: a registration is done whole or not at all, whoever is stopped meanwhile.
        let registered = tokio::spawn(async move {
            let options = RegisterOptions { optional: true, ..RegisterOptions::default() };
            factory.register(&source, of, options).await.map(|_| ())
        });
        let source = &shared.options.name;
        match registered.await {
            Ok(Ok(())) => {
                tracing::info!(%source, %resource_type, "a type was discovered, and is watched");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%source, %resource_type, %error, "a discovered type is not watched");
                false
            }
            Err(_) => false,
        }
    }

    async fn unregister(&self, shared: &Arc<Shared>, resource_type: ResourceType) {
        let (source, factory) = (shared.options.name.clone(), self.factory.clone());
        shared.memory(&resource_type).any_version.store(false, Ordering::SeqCst);
        // It is an error only if the runtime is ending.
        let _ = tokio::spawn(async move { factory.unregister_optional(&source, &resource_type).await }).await;
    }

    fn report(&self, shared: &Shared, excess: &[TypeName]) {
        let (source, id) = (&shared.options.name, "discover");
        if excess.is_empty() {
            shared.problems.clear(&scope(source), id);
            return;
        }
        let named: Vec<String> = excess.iter().take(MAX_NAMED).map(TypeName::to_string).collect();
        let more = if excess.len() > MAX_NAMED { ", ..." } else { "" };
        let reason = format!(
            "{} more resource types match `discover` than the {} that may be watched so, and are not watched: {}{more}; \
             narrow the patterns, or raise `limits.watches`",
            excess.len(),
            self.limit,
            named.join(", ")
        );
        let problem = Problem {
            place: source.to_string(),
            object: None,
            field: String::new(),
            reason,
            serving: Serving::Nothing,
        };
        if shared.problems.set(&scope(source), id, problem.clone()) {
            Limit::Watches.exceeded(excess.len());
            tracing::warn!(%source, reason = problem.reason, "too many types were discovered");
        }
    }
}
