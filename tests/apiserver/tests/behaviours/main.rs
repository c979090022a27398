//! What the server does, each behaviour a sentence: driven with kube's client and, where the bytes matter, raw.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// A server, a client, and lines of a watch.
mod rig;

/// Lists, pages and versions.
mod lists;

/// Watches, selectors, bookmarks, streaming lists.
mod watches;

/// Writing by the rules.
mod writes;

/// Types that come and go, and discovery.
mod types;

/// Faults by script.
mod faults;

/// The server as a whole: away, paused, back in time, twice.
mod whole;

/// kube's own machinery against it.
mod kube_runtime;

/// Many objects.
mod scale;
