//! A Tidegate with more in it than ours: kinds of sources, publishers, correlations and actors that another
//! binary brings along, each with a typed section of the config file.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_actors::correlation::{Correlation, Graph, Taps};
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::informer::{Informer, InformerFactory};
use tidegate_actors::problem::Problems;
use tidegate_actors::publisher::{self, Publisher};
use tidegate_actors::source::Source;
use tidegate_actors::supervisor::{BoxError, ChildSpec};

use crate::config::{Config, Directory, Kubernetes, Limits, Registry, SectionType, SourceConfig};
use crate::correlate::Outputs;
use crate::resource;
use crate::source::kubernetes;
use crate::source::schema::{Catalogue, Entry, Schema};
use crate::source::sink::{EventSink, StatusSink, WriteRate};

/// What a source is made with.
pub struct SourceContext<'a> {
    /// The configured name, which stands in the key of every object.
    pub name: Name,
    /// The outside world.
    pub env: &'a Env,
    /// Where bad input is reported.
    pub problems: &'a Problems,
    /// Which kinds are known, and how their objects are checked.
    pub catalogue: &'a Arc<Catalogue>,
    /// How much may be taken in.
    pub limits: &'a Limits,
    /// Where its types are registered.
    pub factory: &'a InformerFactory,
}

/// A source, and what must run for it to work.
pub struct SourceParts {
    /// Opens lists and watches.
    pub source: Arc<dyn Source>,
    /// Children of the supervisor, started before the first list and stopped after the last.
    pub children: Vec<ChildSpec>,
    /// Children that may register types of the source: started after it is known, stopped before it goes.
    pub registrars: Vec<ChildSpec>,
    /// Takes the objects' conditions back, so fast; without it they are in the API only.
    pub status: Option<(Arc<dyn StatusSink>, WriteRate)>,
    /// Says what people should see of the objects, so fast; without it nothing is said.
    pub events: Option<(Arc<dyn EventSink>, WriteRate)>,
}

impl SourceParts {
    /// A source that needs nothing else to run, and takes nothing back.
    pub fn new(source: impl Source) -> Self {
        Self { source: Arc::new(source), children: Vec::new(), registrars: Vec::new(), status: None, events: None }
    }
}

type MakeSource = Arc<dyn Fn(&SourceConfig, &SourceContext<'_>) -> Result<SourceParts, BoxError> + Send + Sync>;
type MakePublisher = Arc<dyn Fn(&Config, &Env, &Correlation<Outputs>) -> Option<ChildSpec> + Send + Sync>;
type MakeCorrelation = Arc<dyn Fn(&Config, &Env, &Problems) -> Option<ExtraCorrelation> + Send + Sync>;
type MakeActor = Arc<dyn Fn(&Env) -> ChildSpec + Send + Sync>;

/// A correlation beside the gateway's own, ready to be wired.
pub(crate) struct ExtraCorrelation {
    pub correlation: Arc<dyn Wire>,
    /// The correlation itself, then its publisher.
    pub children: Vec<ChildSpec>,
}

/// What wiring needs of a correlation whose handles it does not know.
pub(crate) trait Wire: Send + Sync {
    fn name(&self) -> &str;
    fn resource_types(&self) -> &[ResourceType];
    fn add_informer(&self, informer: &Informer);
    fn remove_input(&self, of: &ResourceType, source: &Name);
}

impl<H: Send + Sync + 'static> Wire for Correlation<H> {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn resource_types(&self) -> &[ResourceType] {
        Self::resource_types(self)
    }

    fn add_informer(&self, informer: &Informer) {
        Self::add_informer(self, informer);
    }

    fn remove_input(&self, of: &ResourceType, source: &Name) {
        Self::remove_input(self, of, source);
    }
}

/// What a Tidegate is made of, apart from its config.
#[derive(Clone)]
pub struct Tidegate {
    pub(crate) registry: Registry,
    pub(crate) catalogue: Catalogue,
    pub(crate) clusters: kubernetes::Clusters,
    pub(crate) sources: BTreeMap<String, MakeSource>,
    pub(crate) publishers: Vec<MakePublisher>,
    pub(crate) correlations: Vec<MakeCorrelation>,
    pub(crate) actors: Vec<MakeActor>,
}

/// Ours alone.
impl Default for Tidegate {
    fn default() -> Self {
        let clusters = kubernetes::Clusters::default();
        let empty = Self {
            clusters: clusters.clone(),
            registry: Registry::default(),
            catalogue: catalogue(),
            sources: BTreeMap::new(),
            publishers: Vec::new(),
            correlations: Vec::new(),
            actors: Vec::new(),
        };
        empty
            .source(Directory::KIND, crate::source::directory::make)
            .source(Kubernetes::KIND, move |section, context| kubernetes::make(section, context, &clusters))
    }
}

/// The kinds that the gateway reads; of several versions of one kind sources serve the preferred one.
fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    for kind in resource::kinds().into_iter().rev() {
        let schema: Arc<dyn Schema> = Arc::new(kind.check);
        let (resource_type, fails_closed) = (kind.resource_type, kind.fails_closed);
        catalogue.insert(Entry { resource_type, schema: Some(schema), fails_closed });
    }
    catalogue
}

impl Tidegate {
    /// Begins with what Tidegate brings along.
    pub fn builder() -> Self {
        Self::default()
    }

    /// Adds a kind of source: entries of `sources` in the config with this `kind` have the keys of `T`.
    #[must_use]
    pub fn source<T: SectionType>(
        mut self,
        kind: &str,
        make: impl Fn(&T, &SourceContext<'_>) -> Result<SourceParts, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.registry = self.registry.source::<T>(kind);
        let make = move |config: &SourceConfig, context: &SourceContext<'_>| {
            let section = config.section::<T>().ok_or("its section is of another kind's type")?;
            make(section, context)
        };
        self.sources.insert(kind.to_owned(), Arc::new(make));
        self
    }

    /// Adds a resource type that sources know and check.
    #[must_use]
    pub fn resource(mut self, entry: Entry) -> Self {
        self.catalogue.insert(entry);
        self
    }

    /// Adds a publisher of the gateway's outputs, whose section is `publish.NAME`; without the section it does
    /// not run.
    #[must_use]
    pub fn publisher<T: SectionType + Clone, P: Publisher>(
        mut self,
        name: &str,
        taps: impl Fn(&Outputs) -> Taps + Clone + Send + Sync + 'static,
        make: impl Fn(&T, &Outputs) -> P + Clone + Send + Sync + 'static,
    ) -> Self {
        self.registry = self.registry.publisher::<T>(name);
        let name = name.to_owned();
        self.publishers.push(Arc::new(move |config, env, correlation| {
            let section = config.publisher::<T>(&name)?.clone();
            let (make, outputs) = (make.clone(), *correlation.handles());
            Some(publisher::spec(&name, env, correlation, taps.clone(), move || make(&section, &outputs)))
        }));
        self
    }

    /// Adds a correlation of one's own, with the publisher that its outputs go to; its section is
    /// `correlate.NAME`, and without it neither runs. Nothing is published before all that it reads has synced.
    #[must_use]
    pub fn correlation<T: SectionType + Clone, H: Clone + Send + Sync + 'static, P: Publisher>(
        mut self,
        name: &str,
        build: impl Fn(&T, &mut Graph) -> H + Clone + Send + Sync + 'static,
        taps: impl Fn(&H) -> Taps + Clone + Send + Sync + 'static,
        make: impl Fn(&T, &H) -> P + Clone + Send + Sync + 'static,
    ) -> Self {
        self.registry = self.registry.correlation::<T>(name);
        let name = name.to_owned();
        self.correlations.push(Arc::new(move |config, env, problems| {
            let section = config.correlation::<T>(&name)?.clone();
            let (build, with) = (build.clone(), section.clone());
            let correlation = Correlation::over_informers(&name, env, problems, move |graph| build(&with, graph));
            let (make, handles) = (make.clone(), correlation.handles().clone());
            let publisher = publisher::spec(&format!("{name}-publisher"), env, &correlation, taps.clone(), move || {
                make(&section, &handles)
            });
            Some(ExtraCorrelation {
                children: vec![correlation.spec(&name), publisher],
                correlation: Arc::new(correlation),
            })
        }));
        self
    }

    /// Adds a supervised actor of one's own.
    #[must_use]
    pub fn actor(mut self, make: impl Fn(&Env) -> ChildSpec + Send + Sync + 'static) -> Self {
        self.actors.push(Arc::new(make));
        self
    }

    /// The clusters among the sources, once those run.
    pub fn clusters(&self) -> &kubernetes::Clusters {
        &self.clusters
    }

    /// Runs the command line: what `main` returns.
    pub fn main(&self) -> std::process::ExitCode {
        crate::cli::main(self)
    }
}
