//! Ours: the Kubernetes source under the engine's informers, each with a handler.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memchr::memmem;
use tidegate::source::kubernetes::{Access, KubernetesSource, Options};
use tidegate::source::schema::Catalogue;
use tidegate_actors::env::Env;
use tidegate_actors::handler::{EventHandler, HandlerOptions};
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::informer::{InformerFactory, RegisterOptions};
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::supervisor::{Strategy, Supervisor};

use super::{KINDS, Observed, STAMP};

struct Handler {
    observed: Arc<Observed>,
    /// How the annotation begins in the raw JSON.
    stamp: memmem::Finder<'static>,
}

#[async_trait]
impl EventHandler for Handler {
    async fn on_update(&self, _old: Arc<Object>, new: Arc<Object>) {
        let raw = new.raw();
        let value = self.stamp.find(raw).and_then(|at| raw.get(at + self.stamp.needle().len()..));
        let value = value.and_then(|value| value.split(|byte| *byte == b'"').next());
        self.observed.update(value.and_then(|value| str::from_utf8(value).ok()));
    }
}

pub(super) async fn run(begun: Instant, kubeconfig: &Path) {
    let watched = watch(kubeconfig).await.unwrap_or_else(|error| panic!("{error}"));
    watched.factory.wait_for_sync(Duration::from_secs(60)).await.unwrap_or_else(|error| panic!("{error}"));
    let objects = watched.factory.slots().iter().map(|slot| slot.objects).sum();
    watched.observed.report(begun, objects).await;
}

struct Watched {
    factory: InformerFactory,
    observed: Arc<Observed>,
}

async fn watch(kubeconfig: &Path) -> Result<Watched, Box<dyn std::error::Error>> {
    let (env, problems, observed) = (Env::system(), Problems::default(), Arc::new(Observed::default()));
    let options = Options::new("bench", Access { kubeconfig: Some(kubeconfig.to_owned()), context: None });
    let source = KubernetesSource::new(options, env.clone(), problems.clone(), Catalogue::new());
    let supervisor = Supervisor::start("bench", Strategy::OneForOne, env.clone()).await?;
    let factory = InformerFactory::new(env, supervisor, problems);
    factory.add_source(Arc::new(source))?;
    for kind in KINDS {
        let (group, version, plural) = kind.api();
        let resource_type = ResourceType::new(group, version, kind.name(), plural, Scope::Namespaced);
        let informer = factory.register("bench", resource_type, RegisterOptions::default()).await?;
        let stamp = memmem::Finder::new(&format!(r#""{STAMP}":""#)).into_owned();
        let handler = Arc::new(Handler { observed: observed.clone(), stamp });
        informer.add_handler("bench", handler, HandlerOptions::default()).await?;
    }
    factory.start().await?;
    Ok(Watched { factory, observed })
}
