//! Where objects come from. A [`Source`](crate::source::Source) opens list-then-watch for one resource type and
//! yields events; it never sees a store, and it never retries by itself: it says how to go on, and the reflector does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};

use crate::env::Env;
use crate::id::{Name, ObjectKey, ResourceType};
use crate::object::Object;

/// A place in a source's history from which a watch can be resumed (Kubernetes: a resource version).
/// Opaque to everybody but the source that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub Name);

/// What a source tells, in order. A stream opened without a cursor starts with `Init`.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// A full list begins; what follows until `InitDone` replaces everything held.
    Init,
    /// One object of the list.
    InitApply(Arc<Object>),
    /// An object of the list that cannot be read: what is held of it, if anything, stays.
    InitKeep(ObjectKey),
    /// The list is complete; objects that it did not name are gone. The watch goes on from the cursor.
    InitDone(Cursor),
    /// An object was added or changed.
    Apply(Arc<Object>),
    /// An object was deleted.
    Delete(ObjectKey),
    /// Everything up to the cursor has been told. A source whose every event moves its cursor sends one after
    /// each, so that a resumed watch repeats nothing; it also proves that a quiet source is alive.
    Bookmark(Cursor),
}

/// Why a stream ended, as advice on how to go on. The stream yields nothing after it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection broke, or the server is overloaded: resume from the last cursor, after `after` if given.
    #[error("watch interrupted: {reason}")]
    Retry {
        /// What happened, for people.
        reason: String,
        /// What the server asked for (Retry-After), at the least.
        after: Option<Duration>,
    },
    /// The cursor is no longer known (Kubernetes: 410): list anew. The old state serves until then.
    #[error("history is gone, a new list is needed: {reason}")]
    Relist {
        /// What happened, for people.
        reason: String,
    },
    /// The resource type does not exist (yet, or no more). This is not an empty list.
    #[error("the resource type does not exist: {reason}")]
    Absent {
        /// What happened, for people.
        reason: String,
    },
    /// We may not list or watch it. The last good state serves on.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// What is missing, such as the RBAC rule, for people.
        reason: String,
    },
}

impl SourceError {
    /// An interruption that says nothing about when to come back.
    pub fn retry(reason: impl std::fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string(), after: None }
    }
}

/// What [`Source::open`] returns.
pub type SourceStream = Pin<Box<dyn Stream<Item = Result<SourceEvent, SourceError>> + Send>>;

/// A registry of objects: a directory, a cluster, a catalogue. One per configured source.
pub trait Source: Send + Sync + 'static {
    /// The configured name, which stands in the key of every object from here.
    fn name(&self) -> &Name;

    /// Lists, then watches one resource type; with `from`, resumes there without a list if it can, else lists. A
    /// resumed stream should tell a bookmark as soon as it is known to work, even if nothing has changed.
    fn open(&self, resource_type: &ResourceType, from: Option<Cursor>) -> SourceStream;

    /// What, beside the type, decides which objects there are and what they look like: where they come from, selectors.
    /// Opaque. What was kept on disk under another one is of no use.
    fn fingerprint(&self, resource_type: &ResourceType) -> String {
        let _ = resource_type;
        String::new()
    }

    /// Whether a run of the program that comes after this one may go on from a cursor that was told of this type. If
    /// not, it begins with a list: cursors mean nothing outside of one run, or something has to be told again.
    fn can_resume(&self, resource_type: &ResourceType) -> bool {
        let _ = resource_type;
        true
    }

    /// What an earlier run held of a type, and is served until the source tells otherwise. Called before the type's
    /// first stream is opened. Of an object that cannot be read it may be the last good version.
    fn restored(&self, resource_type: &ResourceType, objects: &[Arc<Object>]) {
        let _ = (resource_type, objects);
    }

    /// Nobody watches a resource type any more, and no stream of it is left: whatever was said of its objects is out of
    /// date. Does nothing unless a source says things.
    fn unwatched(&self, resource_type: &ResourceType) {
        let _ = resource_type;
    }

    /// Resolves when, after this call, the source hears that a type has come: whoever waits because the type was
    /// [`Absent`](SourceError::Absent) looks again at once. It may resolve for nothing. A source that hears nothing of
    /// types leaves this as it is, and is asked now and then.
    fn arrival(&self, resource_type: &ResourceType) -> BoxFuture<'static, ()> {
        let _ = resource_type;
        std::future::pending().boxed()
    }
}

/// A stream that ends at once: for a type that the source does not have, say.
pub fn failed(error: SourceError) -> SourceStream {
    stream::iter([Err(error)]).boxed()
}

/// A stream for what can only be asked for everything: lists now and then every `period`. Each list replaces what is
/// held, and only what is different in it is told on, so the source needs no memory of its own. An object without a
/// resource version is compared by its content.
pub fn poll<F, Asked>(env: &Env, period: Duration, list: F) -> SourceStream
where
    F: Fn() -> Asked + Send + 'static,
    Asked: Future<Output = Result<Vec<Object>, SourceError>> + Send + 'static,
{
    let lists = stream::try_unfold((env.clock.clone(), list, Duration::ZERO), move |(clock, list, wait)| async move {
        clock.sleep(wait).await;
        // On a line of its own: borrowed over the await, the function would have to be `Sync`.
        let asked = list();
        let objects = asked.await?;
        let listed = objects.into_iter().map(|object| SourceEvent::InitApply(Arc::new(object)));
        let end = SourceEvent::InitDone(Cursor(Name::from("")));
        let events: Vec<_> = [SourceEvent::Init].into_iter().chain(listed).chain([end]).collect();
        Ok::<_, SourceError>(Some((stream::iter(events).map(Ok), (clock, list, period))))
    });
    lists.try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::reflector::scripted::mk_object;

    #[tokio::test(start_paused = true)]
    async fn a_polled_source_lists_at_once_then_every_period_and_ends_with_its_first_error() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let mut stream = poll(&Env::system(), Duration::from_secs(5), move || {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let object = Arc::into_inner(mk_object("demo", "a", 1)).ok_or(SourceError::retry("shared"))?;
                if nth < 2 { Ok(vec![object]) } else { Err(SourceError::retry("gone")) }
            }
        });
        let start = tokio::time::Instant::now();
        let mut told = Vec::new();
        while let Some(event) = stream.next().await {
            let event = event.map_or_else(|error| error.to_string(), |event| format!("{event:?}"));
            let name = event.split('(').next().unwrap_or_default().to_owned();
            told.push((name, start.elapsed().as_secs()));
        }
        let told: Vec<(&str, u64)> = told.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        let list = ["Init", "InitApply", "InitDone"];
        let lists = [0, 5].into_iter().flat_map(|at| list.map(|name| (name, at)));
        assert_eq!(told, lists.chain([("watch interrupted: gone", 10)]).collect::<Vec<_>>());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}
