//! Sources and the correlations that read them: added at the start, and whenever the config changes.

use std::sync::Arc;

use anyhow::anyhow;
use tidegate_actors::handler::HandlerOptions;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::informer::{InformerFactory, RegisterOptions};

use super::{App, Correlations};
use crate::admin::Provider;
use crate::admin::ready::Lack;
use crate::builder::{SourceContext, Tidegate, Wire};
use crate::config::{Config, SourceConfig};
use crate::publish::status::StatusWriter;
use crate::source::schema::Catalogue;

/// Types that a correlation of another binary's reads and no source serves: it would wait for them without a word.
/// The gateway's own reads old versions of kinds too, which sources may serve or not.
pub(super) fn unserved(
    factory: &InformerFactory,
    correlations: &Correlations,
    known: &Catalogue,
) -> Provider<Vec<Lack>> {
    let (factory, correlations, known) = (factory.clone(), correlations.clone(), known.clone());
    Arc::new(move || {
        let informers = factory.informers();
        let mut lacks = Vec::new();
        for correlation in correlations.read().iter().skip(1) {
            let is_served = |of: &ResourceType| informers.iter().any(|informer| informer.resource_type() == of);
            for of in correlation.resource_types().iter().filter(|of| !is_served(of)) {
                let entry = known.get(of.group(), of.kind()).map(|entry| entry.resource_type.version());
                let instead = entry.filter(|version| *version != of.version());
                let instead = instead.map_or(String::new(), |version| format!("; sources serve version {version}"));
                let reason = format!("`{}` reads it and no source serves it{instead}", correlation.name());
                lacks.push(Lack { what: "type", name: of.to_string(), reason });
            }
        }
        lacks
    })
}

/// The names of a source's children, as [`SourceParts`](crate::builder::SourceParts) has them.
#[derive(Default)]
pub(super) struct SourceChildren {
    children: Vec<Name>,
    registrars: Vec<Name>,
}

impl App {
    /// The gateway's correlation, and those that another binary brought along.
    pub(super) async fn add_correlations(&self, tidegate: &Tidegate, config: &Config) -> anyhow::Result<()> {
        let mut all: Vec<Arc<dyn Wire>> = vec![Arc::new(self.correlation.clone())];
        for extra in tidegate.correlations.iter().filter_map(|make| make(config, &self.env, &self.problems)) {
            for child in extra.children {
                self.add(child).await?;
            }
            all.push(extra.correlation);
        }
        *self.correlations.write() = all;
        Ok(())
    }

    /// Makes a source, starts what it needs, and connects it to every correlation.
    pub(super) async fn add_source(
        &self,
        tidegate: &Tidegate,
        config: &Config,
        source: &SourceConfig,
    ) -> anyhow::Result<()> {
        let make = tidegate.sources.get(&source.kind);
        let make =
            make.ok_or_else(|| anyhow!("source `{}`: nobody registered the kind `{}`", source.name, source.kind))?;
        let catalogue = Arc::new(tidegate.catalogue.clone());
        let name = Name::from(source.name.as_str());
        let context = SourceContext {
            name: name.clone(),
            env: &self.env,
            problems: &self.problems,
            catalogue: &catalogue,
            limits: &config.limits,
            factory: &self.factory,
        };
        let parts = make(source, &context).map_err(|error| anyhow!("source `{}`: {error}", source.name))?;
        let mut children: Vec<Name> = parts.children.iter().map(|child| child.name().clone()).collect();
        let takes_status = parts.status.is_some();
        let status = parts.status.map(|(sink, rate)| self.writer.spec(&name, sink, rate));
        let events = parts.events.map(|(sink, rate)| self.teller.spec(&name, sink, rate));
        children.extend(status.iter().chain(&events).map(|child| child.name().clone()));
        let registrars = parts.registrars.iter().map(|child| child.name().clone()).collect();
        self.source_children.lock().insert(name.clone(), SourceChildren { children, registrars });
        for child in parts.children {
            self.add(child).await?;
        }
        self.factory.add_source(parts.source)?;
        for child in status.into_iter().chain(events) {
            self.add(child).await?;
        }
        let correlations = self.correlations.read().clone();
        for correlation in correlations {
            for resource_type in correlation.resource_types() {
                let served = catalogue.get(resource_type.group(), resource_type.kind());
                if served.is_some_and(|entry| entry.resource_type != *resource_type) {
                    // Another version of the kind is what sources serve.
                    continue;
                }
                let options = RegisterOptions::default();
                let informer = self.factory.register(&name, resource_type.clone(), options).await?;
                correlation.add_informer(&informer);
            }
        }
        if takes_status {
            for informer in StatusWriter::told().iter().filter_map(|told| self.factory.get(&name, told)) {
                informer.add_handler("status", Arc::new(self.writer.clone()), HandlerOptions::default()).await?;
            }
        }
        // What was asked for before the source was there is asked of it too.
        for resource_type in self.watches.list().iter().filter_map(|watch| watch.watched.resource_type().ok()) {
            self.factory.register(&name, resource_type, RegisterOptions::default()).await?;
        }
        for child in parts.registrars {
            self.add(child).await?;
        }
        Ok(())
    }

    /// Takes a source away, with everything that came from it.
    pub(super) async fn remove_source(&self, name: &str) -> anyhow::Result<()> {
        let name = Name::from(name);
        let SourceChildren { children, registrars } = self.source_children.lock().remove(&name).unwrap_or_default();
        for child in &registrars {
            self.supervisor.remove(child).await?;
        }
        let correlations = self.correlations.read().clone();
        for correlation in correlations {
            for resource_type in correlation.resource_types() {
                correlation.remove_input(resource_type, &name);
            }
        }
        self.factory.remove_source(&name).await?;
        for child in children.iter().rev() {
            self.supervisor.remove(child).await?;
        }
        Ok(())
    }
}
