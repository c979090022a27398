//! The source under the engine: a store and an observer for each type, and how all of them compare with the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tidegate::source::kubernetes::{Access, KubernetesSource, Options};
use tidegate::source::schema::Catalogue;
use tidegate_actors::env::Env;
use tidegate_actors::handler::HandlerOptions;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::informer::{Informer, InformerFactory, RegisterOptions};
use tidegate_actors::problem::Problems;
use tidegate_actors::queue::Phase;
use tidegate_actors::reflector::ReflectorOptions;
use tidegate_actors::source::{Cursor, Source, SourceError, SourceEvent, SourceStream};
use tidegate_actors::supervisor::{Backoff, BreakerPolicy, Strategy, Supervisor};
use tokio::task::JoinHandle;

use crate::api::until;
use crate::history::{Observer, Time, Told, Which, name_of, replay, which};

/// How streams began and ended.
#[derive(Debug, Default)]
pub struct Counts {
    pub lists: AtomicU64,
    pub retries: AtomicU64,
    pub relists: AtomicU64,
    pub denials: AtomicU64,
    pub absences: AtomicU64,
}

/// The source, counting.
struct Counted {
    source: KubernetesSource,
    counts: Arc<Counts>,
}

impl Source for Counted {
    fn name(&self) -> &Name {
        self.source.name()
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let counts = self.counts.clone();
        let count = move |told: &Result<SourceEvent, SourceError>| {
            let counter = match told {
                Ok(SourceEvent::InitDone(_)) => &counts.lists,
                Err(SourceError::Retry { .. }) => &counts.retries,
                Err(SourceError::Relist { .. }) => &counts.relists,
                Err(SourceError::NotPermitted { .. }) => &counts.denials,
                Err(SourceError::Absent { .. }) => &counts.absences,
                Ok(_) => return,
            };
            counter.fetch_add(1, Ordering::SeqCst);
        };
        Box::pin(self.source.open(resource_type, from).inspect(count))
    }

    fn arrival(&self, resource_type: &ResourceType) -> BoxFuture<'static, ()> {
        self.source.arrival(resource_type)
    }
}

/// One type that is watched.
pub struct Type {
    pub informer: Informer,
    pub observer: Arc<Observer>,
}

/// See the module.
pub struct Watched {
    pub types: Vec<Type>,
    pub counts: Arc<Counts>,
    factory: InformerFactory,
    supervisor: Supervisor,
    credentials: JoinHandle<()>,
}

/// What a source is started with whose server is near and whose test is not to take long.
pub fn mk_options(name: &str, kubeconfig: &Path) -> Options {
    let access = Access { kubeconfig: Some(PathBuf::from(kubeconfig)), context: None };
    let mut options = Options::new(name, access);
    options.connect_timeout = Duration::from_secs(2);
    options.response_timeout = Duration::from_secs(5);
    options.bookmark_deadline = Duration::from_secs(5);
    options.settle = Duration::from_secs(1);
    options.silence_grace = Duration::from_secs(1);
    options.ping_interval = Duration::from_secs(1);
    options.ping_timeout = Duration::from_secs(1);
    options.credentials_interval = Duration::from_secs(1);
    options
}

/// The same for reflectors.
pub fn mk_patience() -> ReflectorOptions {
    let backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_millis(1500), ..Backoff::default() };
    ReflectorOptions {
        backoff,
        breaker: BreakerPolicy { failures: 1000, open_for: Duration::from_secs(1) },
        settle: Duration::from_millis(200),
        absent_probe: Duration::from_millis(300),
        denied_probe: Duration::from_millis(300),
        ..ReflectorOptions::default()
    }
}

impl Watched {
    pub async fn start(options: Options, reflector: &ReflectorOptions, types: &[ResourceType]) -> Self {
        let (env, problems, name) = (Env::system(), Problems::default(), options.name.clone());
        let source = KubernetesSource::new(options, env.clone(), problems.clone(), Catalogue::new());
        let supervisor = Supervisor::start(&format!("faults-{name}"), Strategy::OneForOne, env.clone()).await.unwrap();
        let factory = InformerFactory::new(env, supervisor.clone(), problems);
        let counts = Arc::new(Counts::default());
        factory.add_source(Arc::new(Counted { source: source.clone(), counts: counts.clone() })).unwrap();
        let mut watched = Vec::new();
        for resource_type in types {
            let options = RegisterOptions { reflector: reflector.clone(), ..RegisterOptions::default() };
            let informer = factory.register(&name, resource_type.clone(), options).await.unwrap();
            let observer = Arc::new(Observer::default());
            informer.add_handler("observer", observer.clone(), HandlerOptions::default()).await.unwrap();
            watched.push(Type { informer, observer });
        }
        factory.start().await.unwrap();
        let credentials = tokio::spawn(async move { source.follow_credentials(std::future::pending()).await });
        Self { types: watched, counts, factory, supervisor, credentials }
    }

    /// Waits until every type has been listed.
    pub async fn synced(&self, limit: Duration) -> Result<(), String> {
        let pending = || self.types.iter().find(|of| !of.informer.lister().sync_state().complete);
        let all = || pending().map_or(Ok(()), |of| Err(format!("{:?}", of.informer.status())));
        until("all types are listed", limit, all).await
    }

    pub async fn stop(self) {
        self.credentials.abort();
        self.factory.shutdown().await;
        self.supervisor.shutdown(Duration::from_secs(5)).await;
    }

    pub fn count(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        of(&self.counts).load(Ordering::SeqCst)
    }
}

impl Type {
    pub fn phase(&self) -> Phase {
        self.informer.lister().sync_state().phase
    }

    /// The names of what is held.
    pub fn names(&self) -> Vec<String> {
        self.informer.lister().list().iter().map(|object| object.key().name.to_string()).collect()
    }

    /// The uid and resource version of what is held, by namespace and name.
    fn versions(&self) -> BTreeMap<String, Which> {
        let objects = self.informer.lister().list();
        objects.iter().map(|object| (name_of(object), which(object))).collect()
    }

    /// What is held, by namespace and name.
    pub fn held(&self) -> BTreeMap<String, Value> {
        let objects = self.informer.lister().list();
        let of = |object: &tidegate_actors::object::Object| serde_json::from_slice(object.raw()).unwrap();
        objects.iter().map(|object| (name_of(object), comparable(of(object)))).collect()
    }

    /// Waits until the store and the observer have what the server has; the server is left alone meanwhile.
    pub async fn until_equal(&self, items: Vec<Value>, limit: Duration, time: Time) -> Result<usize, String> {
        let text = |item: &Value, field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
        let name = |item: &Value| format!("{}/{}", text(item, "namespace"), text(item, "name"));
        let versions = |item: &Value| (text(item, "uid"), text(item, "resourceVersion"));
        let observed: BTreeMap<_, _> = items.iter().map(|item| (name(item), versions(item))).collect();
        let theirs: BTreeMap<_, _> = items.into_iter().map(|item| (name(&item), comparable(item))).collect();
        let what = format!("the store of {} equals the server", self.informer.resource_type().plural());
        // Content is compared when the versions are the same: much is asked again while many are behind.
        let same = || self.versions() == observed && self.held() == theirs;
        let equal = || if same() { Ok(()) } else { Err(self.difference(&observed)) };
        until(&what, limit, equal).await?;
        let told = || replay(&self.observer.told(), time);
        let caught_up = || match told() {
            Ok(told) if told != observed => Err(format!("told {told:?}, and there is {observed:?}")),
            // One that cannot have happened gets no better.
            _ => Ok(()),
        };
        until("the observer was told everything", limit, caught_up).await?;
        told().map(|told| told.len())
    }

    fn difference(&self, theirs: &BTreeMap<String, Which>) -> String {
        let held = self.versions();
        let names = held.keys().chain(theirs.keys());
        let different = names.filter(|name| held.get(*name) != theirs.get(*name));
        let different: Vec<String> =
            different.map(|name| format!("{name} {:?}/{:?}", held.get(name), theirs.get(name))).collect();
        format!("held/there: {}; {:?}", different.join(", "), self.informer.status())
    }

    /// Waits until something was told of an object.
    pub async fn until_told(
        &self,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&[Told]) -> bool,
    ) -> Result<(), String> {
        let told = || {
            let told = self.observer.told_of(name);
            if wanted(&told) { Ok(()) } else { Err(format!("{told:?}; {:?}", self.informer.status())) }
        };
        until(&format!("{name} is told"), limit, told).await
    }
}

/// An object without what a source may leave out.
fn comparable(mut object: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    fields.remove("apiVersion");
    fields.remove("kind");
    fields["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}
