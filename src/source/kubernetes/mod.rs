//! The Kubernetes source: lists and watches of any resource type of one cluster, over kube's client.
//!
//! Authentication, TLS and kubeconfigs are kube's. What is ours: objects are decoded from the bytes of the responses in
//! one pass, watches share connections, and each answer that an API server can give has one meaning
//! ([`SourceError`](tidegate_actors::source::SourceError)), on which the engine's reflector acts.
//!
//! ```text
//! feed ─ performs ─▶ machine      what to ask and to tell next; pure
//!  │                 request      paths and queries
//!  ├─ exchange ─▶ pool ─▶ lane    clients, connections, credentials
//!  │                 greeting     how much a connection takes
//!  ├─ body ─▶ cut, frame          pieces of bodies, decoded; what cannot be is in quarantine
//!  └─ landmark                    what tells a server that was restored from a backup
//! merge                           several namespaces as one stream
//!
//! types ─ observes ─▶ discovered   which types there are; pure
//!  ├─ definition, discover         definitions and API groups, read
//!  ├─ notice                       what that means for streams and for those who wait
//!  └─ registrar                    types watched because they match a pattern
//!
//! status, events, lease ─▶ write   conditions back, what people should see, and which replica writes it
//! ```

mod access;
mod body;
mod cluster;
#[cfg_attr(feature = "fuzzing", allow(missing_docs, reason = "nobody's but the fuzz targets'"))]
mod cut;
mod definition;
mod discover;
mod discovered;
mod ending;
mod events;
mod exchange;
#[cfg_attr(feature = "fuzzing", allow(missing_docs, reason = "nobody's but the fuzz targets'"))]
mod failure;
mod feed;
#[cfg_attr(feature = "fuzzing", allow(missing_docs, reason = "nobody's but the fuzz targets'"))]
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod greeting;
#[cfg_attr(feature = "fuzzing", allow(missing_docs, reason = "nobody's but the fuzz targets'"))]
mod identity;
mod landmark;
mod lane;
mod lease;
#[cfg_attr(feature = "fuzzing", allow(missing_docs, reason = "nobody's but the fuzz targets'"))]
mod machine;
mod make;
mod merge;
mod notice;
mod options;
mod pool;
mod quarantine;
mod registrar;
mod request;
mod shared;
mod status;
mod types;
mod version;
mod write;

pub use access::{Access, AccessError};
pub use cluster::{Cluster, Clusters};
pub use make::make;
pub use options::{Options, TypeOptions};
pub use registrar::Registrar;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::Object;
use tidegate_actors::problem::Problems;
use tidegate_actors::source::{Cursor, Source, SourceStream};
use tidegate_actors::supervisor::ChildSpec;

use self::events::KubernetesEvents;
use self::feed::Feed;
use self::landmark::Landmark;
use self::lease::KubernetesLease;
use self::merge::{Spelling, merge};
use self::request::Target;
use self::shared::Shared;
use self::status::KubernetesStatus;
use super::lease::{Leadership, LeaseRecord};
use super::schema::Catalogue;
use super::sink::{EventSink, StatusSink};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct KubernetesSource {
    shared: Arc<Shared>,
}

impl KubernetesSource {
    /// A source. Nothing is read or asked before the first stream is opened.
    pub fn new(options: Options, env: Env, problems: Problems, catalogue: Catalogue) -> Self {
        Self { shared: Arc::new(Shared::new(options, env, problems, catalogue)) }
    }

    /// Where its objects take their conditions back, from the replica that leads.
    pub fn status(&self, leadership: Leadership) -> impl StatusSink {
        KubernetesStatus::new(self.shared.clone(), leadership)
    }

    /// Where people look for what happens to its objects; written by the replica that leads, which is `instance`.
    pub fn events(&self, leadership: Leadership, instance: &str) -> impl EventSink {
        KubernetesEvents::new(self.shared.clone(), leadership, instance)
    }

    /// The record of who leads among replicas.
    pub fn lease(&self, namespace: &str, name: &str) -> impl LeaseRecord {
        KubernetesLease::new(self.shared.clone(), namespace.to_owned(), name.to_owned())
    }

    /// The cluster, for those who write to it.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.shared.clone())
    }

    /// The child that follows which types come and go, so that streams of the source and those who wait for a type
    /// hear of it at once. With a registrar it watches what matches its patterns.
    pub fn discovery(&self, registrar: Option<Registrar>) -> ChildSpec {
        types::spec(self, registrar)
    }

    /// Looks at the files with the credentials now and then, until `stop` resolves, so that new ones are in use before
    /// the old ones are refused.
    pub async fn follow_credentials(&self, stop: impl Future<Output = ()>) {
        let (mut stop, shared) = (pin!(stop), &self.shared);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = shared.env.clock.sleep(shared.options.credentials_interval) => {}
            }
            if let Err(error) = shared.pool.look().await {
                tracing::warn!(source = %shared.options.name, %error, "the credentials cannot be read again");
            }
        }
    }
}

impl Source for KubernetesSource {
    fn name(&self) -> &Name {
        &self.shared.options.name
    }

    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream {
        let options = self.shared.options.of(resource_type);
        let namespaces = self.shared.options.namespaces_of(resource_type);
        let memory = self.shared.memory(resource_type);
        let standing = memory.standing.subscribe();
        let version = standing.borrow().version.clone();
        let spelling = Spelling::new(namespaces.clone(), &options);
        let versions = from.and_then(|cursor| spelling.versions(&cursor));
        let feeds = namespaces.into_iter().enumerate().map(|(index, namespace)| {
            let target = Target {
                resource_type: resource_type.clone(),
                version: version.clone(),
                namespace,
                labels: options.labels.clone(),
                fields: options.fields.clone(),
            };
            let from = versions.as_ref().map(|versions| versions[index].clone());
            Feed::new(self.shared.clone(), memory.clone(), target, from)
        });
        let stream = merge(feeds.collect(), spelling, versions);
        notice::until_notice(stream, standing, version, self.shared.env.clone())
    }

    fn fingerprint(&self, resource_type: &ResourceType) -> String {
        let (options, of) = (&self.shared.options, self.shared.options.of(resource_type));
        let Access { kubeconfig, context } = &options.access;
        let namespaces = options.namespaces_of(resource_type);
        format!("kubernetes {kubeconfig:?} {context:?} {namespaces:?} {:?} {:?}", of.labels, of.fields)
    }

    /// A watch that is resumed does not name again what could not be read before.
    fn can_resume(&self, resource_type: &ResourceType) -> bool {
        self.shared.memory(resource_type).quarantine.is_empty()
    }

    fn restored(&self, resource_type: &ResourceType, objects: &[Arc<Object>]) {
        let memory = self.shared.memory(resource_type);
        // Of what a first list cannot read, an earlier version may be held.
        memory.listed.fetch_or(!objects.is_empty(), Ordering::SeqCst);
        for namespace in self.shared.options.namespaces_of(resource_type) {
            let is_of = |object: &&Arc<Object>| namespace.is_none() || object.key().namespace == namespace;
            memory.remember(&namespace, Landmark::newest(objects.iter().filter(is_of)).map(Into::into));
        }
    }

    fn unwatched(&self, resource_type: &ResourceType) {
        let memory = self.shared.memory(resource_type);
        memory.quarantine.forget();
        memory.forget_landmarks();
    }

    fn arrival(&self, resource_type: &ResourceType) -> BoxFuture<'static, ()> {
        notice::arrival(&self.shared.memory(resource_type))
    }
}
