//! A dynamic multi-resource informer built of supervised actors.
//!
//! Modules stand in the order in which data flows: identity and objects, the outside world as traits, the
//! one kind of edge between stages, then source, queue, reflector, store, handlers, correlation, publishers,
//! and the supervisor that keeps all of them running.
//!
//! Invariant: nothing in this crate knows Kubernetes' client, the Gateway API or Envoy.
//!
//! # A first informer
//!
//! A [`Source`](source::Source) is whatever can list and watch objects. An
//! [`InformerFactory`](informer::InformerFactory) runs it for the resource types that are registered, at any time;
//! its actors are children of a [`Supervisor`](supervisor::Supervisor), which starts them again when they fail. A
//! [`Lister`](store::Lister) reads what is held, without asking anybody. This one is over the source in memory that
//! comes with the feature `testing`, in virtual time:
//!
#![cfg_attr(feature = "testing", doc = "```")]
#![cfg_attr(not(feature = "testing"), doc = "```ignore")]
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use tidegate_actors::id::{ResourceType, Scope};
//! use tidegate_actors::informer::{InformerFactory, RegisterOptions};
//! use tidegate_actors::problem::Problems;
//! use tidegate_actors::supervisor::{Strategy, Supervisor};
//! use tidegate_actors::testing::{self, MemorySource};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     testing::run(async {
//!         let (env, _faults) = testing::env(1);
//!         let host = ResourceType::new("example.com", "v1", "Host", "hosts", Scope::Cluster);
//!         let source = MemorySource::new("demo");
//!         source.apply_labelled(&host, None, "anna", &[("zone", "eu")], r#""spec":{"port":8080}"#);
//!
//!         let supervisor = Supervisor::start("tutorial", Strategy::OneForOne, env.clone()).await?;
//!         let factory = InformerFactory::new(env.clone(), supervisor.clone(), Problems::default());
//!         factory.add_source(Arc::new(source.clone()))?;
//!         let hosts = factory.register("demo", host.clone(), RegisterOptions::default()).await?;
//!         factory.start().await?;
//!         factory.wait_for_sync(Duration::from_secs(10)).await?;
//!         assert_eq!(hosts.lister().select(&"zone=eu".parse()?).len(), 1);
//!
//!         // It follows the source, whatever happens to either of them in between.
//!         source.disconnect();
//!         supervisor.restart("sources/demo/hosts.example.com").await?;
//!         source.apply_labelled(&host, None, "bert", &[("zone", "eu")], "");
//!         env.clock.sleep(Duration::from_secs(1)).await;
//!         assert_eq!(hosts.lister().select(&"zone=eu".parse()?).len(), 2);
//!
//!         factory.shutdown().await;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # And then
//!
//! - To be told of changes: an [`EventHandler`](handler::EventHandler), added with
//!   [`Informer::add_handler`](informer::Informer::add_handler); to work on keys with retries, a
//!   [`WorkQueue`](workqueue::WorkQueue).
//! - To join objects of several types: a [`Correlation`](correlation::Correlation) of pure functions, and a
//!   [`Publisher`](publisher::Publisher) for what comes out.
//! - For objects from elsewhere: a [`Source`](source::Source) of one's own; where everything has to be asked for again
//!   and again, [`source::poll`] is one.
//! - For anything else: an actor or a loop of one's own as a [`ChildSpec`](supervisor::ChildSpec), fed through a
//!   [`Port`](port::Port).
//! - To see all that fail: the fault plans of the feature `testing`.
//!
//! Each is an example, in less than 100 lines, under `examples/` at the top of the repository.

/// Who an object is: source, resource type, namespace, name.
pub mod id;

/// An object as raw JSON plus the metadata parsed from it.
pub mod object;

/// The outside world as traits: clock, randomness, disk, network.
pub mod env;

/// What is wrong with somebody's input: place, reason, remedy.
pub mod problem;

/// One function over many values, on all cores.
pub mod parallel;

/// A value of which everybody sees the latest, in an order that replays.
pub mod watch;

/// Changes waiting for a consumer, coalesced per key.
pub mod changes;

/// The one kind of edge between two stages.
pub mod port;

/// Where objects come from: list, then watch.
pub mod source;

/// Deltas between a reflector and its store, coalesced per key.
pub mod queue;

/// The actor that runs one source for one resource type.
pub mod reflector;

/// The last known state of one resource type: one writer, many readers.
pub mod store;

/// Callbacks on a store's changes.
pub mod handler;

/// Keys waiting to be worked on, with retries.
pub mod workqueue;

/// What outlives the process: objects and cursors on disk.
pub mod persistence;

/// Resource types registered and unregistered at run time.
pub mod informer;

/// A sorted sequence that shares what did not change.
pub mod seq;

/// Pure functions from collections to collections, re-run exactly where something changed.
pub mod correlation;

/// Consumers of consistent versions of the outputs.
pub mod publisher;

/// Children in one table: start, health, backoff, stop.
pub mod supervisor;

/// For tests of what is built on this crate: memory source, rig, virtual time, probes, fault plans.
#[cfg(feature = "testing")]
pub mod testing;

/// The actor framework underneath, in the version that [`supervisor::ChildSpec::actor`] takes actors of.
pub use ractor;

/// A hash map whose iteration order depends on its history alone, so that a run replays exactly.
pub type Map<K, V> = hashbrown::HashMap<K, V, rustc_hash::FxBuildHasher>;

/// A hash set with the same property as [`Map`].
pub type Set<K> = hashbrown::HashSet<K, rustc_hash::FxBuildHasher>;
