//! A whole engine for one test: supervisor, informers, correlations and publishers of one seed, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use super::{FaultPlan, MemoryDisk, MemorySource, Probe};
use crate::correlation::{Correlation, Graph};
use crate::env::Env;
use crate::id::ResourceType;
use crate::informer::{Informer, InformerError, InformerFactory, RegisterOptions};
use crate::persistence::{Persistence, PersistenceOptions};
use crate::problem::Problems;
use crate::source::Source;
use crate::supervisor::{BoxError, Strategy, Supervisor, SupervisorError};

/// See the module. What it is made of is public, for whatever it has no short way to.
///
/// ```
/// use std::time::Duration;
/// use tidegate_actors::correlation::View;
/// use tidegate_actors::env::Fault;
/// use tidegate_actors::id::{ResourceType, Scope};
/// use tidegate_actors::object::Object;
/// use tidegate_actors::problem::FieldError;
/// use tidegate_actors::testing::{FaultRule, ProbeTaps, Rig};
///
/// #[derive(PartialEq)]
/// struct Person {
///     motto: String,
/// }
///
/// impl View for Person {
///     fn parse(object: &Object) -> Result<Self, Vec<FieldError>> {
///         let json: serde_json::Value =
///             serde_json::from_slice(object.raw()).map_err(|e| vec![FieldError::new("", e.to_string())])?;
///         let motto = json["motto"].as_str().ok_or_else(|| vec![FieldError::new("motto", "is missing")])?;
///         Ok(Self { motto: motto.to_owned() })
///     }
/// }
///
/// let seed = 7;
/// Rig::run(seed, async |rig: Rig| {
///     let people = ResourceType::new("example.test", "v1", "Person", "people", Scope::Namespaced);
///     let source = rig.memory_source("demo").expect("one of this name");
///     source.apply(&people, Some("n"), "ann", r#""motto":"go""#);
///     rig.register(&source, &people).await.expect("the source is known");
///     rig.factory.start().await.expect("the supervisor runs");
///
///     let of_type = people.clone();
///     let correlation = rig.correlate("greetings", move |graph| {
///         let people = graph.source::<Person>(&of_type);
///         graph.correlate("greetings", people, |_, key, person| vec![(key.clone(), person.motto.to_uppercase())])
///     });
///     let correlation = correlation.await.expect("the supervisor runs");
///     let probe = ProbeTaps::default().tap("greetings", *correlation.handles()).build();
///     rig.publish("probe", &correlation, &probe).await.expect("the supervisor runs");
///     rig.settle().await;
///     assert_eq!(probe.get("greetings/demo:n/ann").as_deref(), Some("\"GO\""));
///
///     // Whatever fails, and whoever is killed: the change arrives, and the probe is told all that it missed.
///     rig.faults.add(FaultRule::once("source/*/event", Fault::Drop));
///     source.apply(&people, Some("n"), "ann", r#""motto":"stay""#);
///     assert!(rig.kill("greetings"));
///     rig.settle().await;
///     assert_eq!(probe.get("greetings/demo:n/ann").as_deref(), Some("\"STAY\""));
///     assert!(probe.broken_promises().is_empty());
/// });
/// ```
pub struct Rig {
    /// The outside world.
    pub env: Env,
    /// What goes wrong in it.
    pub faults: FaultPlan,
    /// The root of the tree.
    pub supervisor: Supervisor,
    /// The registered types.
    pub factory: InformerFactory,
    /// What was found wrong with objects.
    pub problems: Problems,
    /// What keeps its types on disk, if anything does.
    pub persistence: Option<Persistence>,
}

impl Rig {
    /// Runs a test with the rig of a seed, on one thread, in virtual time.
    ///
    /// # Panics
    /// When the test does.
    #[allow(clippy::expect_used)]
    pub fn run<T>(seed: u64, test: impl AsyncFnOnce(Self) -> T) -> T {
        super::run(async move {
            let rig = Self::start(seed).await.expect("a first supervisor has nobody in its way");
            let supervisor = rig.supervisor.clone();
            let result = test(rig).await;
            // Children lead back to the tree, which would hold itself: thousands of seeds would fill the memory.
            supervisor.shutdown(Duration::ZERO).await;
            result
        })
    }

    /// The rig of a seed, inside a runtime of the caller's.
    ///
    /// # Errors
    /// When the supervisor does not start.
    pub async fn start(seed: u64) -> Result<Self, SupervisorError> {
        let (env, faults) = super::env(seed);
        let supervisor = Supervisor::start("rig", Strategy::OneForOne, env.clone()).await?;
        let problems = Problems::default();
        let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
        Ok(Self { env, faults, supervisor, factory, problems, persistence: None })
    }

    /// The rig of a seed that begins with what an earlier one left on a disk, and keeps there what it has, as the child
    /// `snapshot`.
    ///
    /// # Errors
    /// When the supervisor does not start, or the directory cannot be looked into.
    pub async fn start_on(seed: u64, disk: &MemoryDisk, options: PersistenceOptions) -> Result<Self, BoxError> {
        let (mut env, faults) = super::env(seed);
        env.disk = Arc::new(disk.clone());
        let supervisor = Supervisor::start("rig", Strategy::OneForOne, env.clone()).await?;
        let problems = Problems::default();
        let persistence = Persistence::open(&env, &problems, options).await?;
        supervisor.add(persistence.spec("snapshot")).await?;
        let (of_env, of_supervisor, of_problems) = (env.clone(), supervisor.clone(), problems.clone());
        let kept = Some(persistence.clone());
        let factory = InformerFactory::with_persistence(of_env, of_supervisor, of_problems, kept);
        Ok(Self { env, faults, supervisor, factory, problems, persistence: Some(persistence) })
    }

    /// A source in memory, known to the factory.
    ///
    /// # Errors
    /// When there is one of this name.
    pub fn memory_source(&self, name: &str) -> Result<MemorySource, InformerError> {
        let source = MemorySource::new(name);
        self.factory.add_source(Arc::new(source.clone()))?;
        Ok(source)
    }

    /// Watches a type of a source, which exists there from now on, and waits for nothing.
    ///
    /// # Errors
    /// As [`InformerFactory::register`].
    pub async fn register(&self, source: &MemorySource, of: &ResourceType) -> Result<Informer, InformerError> {
        source.add_type(of);
        self.factory.register(source.name(), of.clone(), RegisterOptions::default()).await
    }

    /// Starts a correlation, as the child of its name, over every type registered so far that it reads.
    ///
    /// # Errors
    /// When the name is taken, or the supervisor is stopping.
    pub async fn correlate<H: Send + Sync + 'static>(
        &self,
        name: &str,
        build: impl Fn(&mut Graph) -> H + Send + Sync + 'static,
    ) -> Result<Correlation<H>, SupervisorError> {
        let correlation = Correlation::over_informers(name, &self.env, &self.problems, build);
        for informer in self.factory.informers() {
            if correlation.resource_types().contains(informer.resource_type()) {
                correlation.add_informer(&informer);
            }
        }
        self.supervisor.add(correlation.spec(name)).await?;
        Ok(correlation)
    }

    /// Starts a probe as a publisher: a child of this name.
    ///
    /// # Errors
    /// When the name is taken, or the supervisor is stopping.
    pub async fn publish<H: Send + Sync + 'static>(
        &self,
        name: &str,
        correlation: &Correlation<H>,
        probe: &Probe,
    ) -> Result<(), SupervisorError> {
        self.supervisor.add(probe.spec(name, &self.env, correlation)).await
    }

    /// Lets virtual time go by.
    pub async fn advance(&self, time: Duration) {
        self.env.clock.sleep(time).await;
    }

    /// Lets so much virtual time go by that every retry and every deadline with default options has come, which
    /// takes hardly any real time.
    pub async fn settle(&self) {
        self.advance(Duration::from_secs(700)).await;
    }

    /// Kills the actor at a path, as a bug would; false when none runs there.
    pub fn kill(&self, path: &str) -> bool {
        let actor = self.supervisor.get(path);
        actor.as_ref().inspect(|actor| actor.kill()).is_some()
    }
}
