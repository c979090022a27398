//! A dynamic multi-resource informer built of supervised actors.
//!
//! Modules stand in the order in which data flows: identity and objects, the outside world as traits, the
//! one kind of edge between stages, then source, queue, reflector, store, handlers, correlation, publishers,
//! and the supervisor that keeps all of them running.
//!
//! Invariant: nothing in this crate knows Kubernetes' client, the Gateway API or Envoy.

/// Who an object is: source, resource type, namespace, name.
pub mod id;

/// An object as raw JSON plus the metadata parsed from it.
pub mod object;

/// The outside world as traits: clock, randomness, disk, network.
pub mod env;

/// What is wrong with somebody's input: place, reason, remedy.
pub mod problem;

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
