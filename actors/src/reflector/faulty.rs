//! Injected faults on the way from a source. A lost event without a lost connection would be a lost update that
//! no client could see, so what drops an event ends the stream.

use std::collections::VecDeque;

use futures::{FutureExt as _, StreamExt as _, stream};

use crate::env::{Env, Fault};
use crate::source::{SourceError, SourceEvent, SourceStream};

const DROPPED: &str = "injected: the connection was dropped";
const DAMAGED: &str = "injected: the stream could not be read";

fn broken(reason: impl Into<String>) -> SourceError {
    SourceError::Retry { reason: reason.into(), after: None }
}

/// Opens a stream through the places `PLACE/open` and `PLACE/event`. Without faults it is `open` alone.
pub(super) fn open(env: &Env, place: String, open: impl FnOnce() -> SourceStream + Send + 'static) -> SourceStream {
    if env.faults.is_none() {
        return open();
    }
    let env = env.clone();
    let opened = async move {
        match env.fault(|| format!("{place}/open")) {
            Fault::None | Fault::Duplicate | Fault::Reorder => {}
            Fault::Delay(wait) => env.clock.sleep(wait).await,
            Fault::Drop => return failing(broken(DROPPED)),
            Fault::Corrupt => return failing(broken(DAMAGED)),
            Fault::Error(reason) => return failing(broken(reason)),
            Fault::Panic(reason) => injected_panic(&reason),
            Fault::Stall => return stream::pending().boxed(),
        }
        events(env, place, open())
    };
    stream::once(opened).flatten().boxed()
}

fn failing(error: SourceError) -> SourceStream {
    stream::iter([Err(error)]).boxed()
}

/// What a fault plan asked for.
#[allow(clippy::panic)]
fn injected_panic(reason: &str) -> ! {
    panic!("{reason}")
}

/// One stream on its way.
struct Events {
    env: Env,
    place: String,
    inner: Option<SourceStream>,
    /// What comes before anything that the source says next.
    ready: VecDeque<SourceEvent>,
}

fn events(env: Env, place: String, inner: SourceStream) -> SourceStream {
    let events = Events { env, place, inner: Some(inner), ready: VecDeque::new() };
    stream::unfold(events, |mut events| async { events.next().await.map(|item| (item, events)) }).boxed()
}

impl Events {
    async fn next(&mut self) -> Option<Result<SourceEvent, SourceError>> {
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(event));
        }
        let event = match self.inner.as_mut()?.next().await? {
            Ok(event) => event,
            Err(error) => return self.end(error),
        };
        match self.env.fault(|| format!("{}/event", self.place)) {
            Fault::None => {}
            Fault::Duplicate => self.ready.push_back(event.clone()),
            Fault::Delay(wait) => self.env.clock.sleep(wait).await,
            Fault::Reorder => return self.overtake(event).await,
            Fault::Drop => return self.end(broken(DROPPED)),
            Fault::Corrupt => return self.end(broken(DAMAGED)),
            Fault::Error(reason) => return self.end(broken(reason)),
            Fault::Panic(reason) => injected_panic(&reason),
            Fault::Stall => futures::future::pending().await,
        }
        Some(Ok(event))
    }

    fn end(&mut self, error: SourceError) -> Option<Result<SourceEvent, SourceError>> {
        self.inner = None;
        Some(Err(error))
    }

    /// Lets the next event come first, if it comes at once and if a source could have said it so: what concerns one
    /// object is in order always, and nothing crosses the beginning or the end of a list.
    async fn overtake(&mut self, event: SourceEvent) -> Option<Result<SourceEvent, SourceError>> {
        let Some(next) = self.inner.as_mut()?.next().now_or_never() else { return Some(Ok(event)) };
        match next {
            Some(Ok(next)) if may_overtake(&event, &next) => {
                self.ready.push_back(event);
                Some(Ok(next))
            }
            Some(Ok(next)) => {
                self.ready.push_back(next);
                Some(Ok(event))
            }
            Some(Err(error)) => {
                self.inner = Some(failing(error));
                Some(Ok(event))
            }
            None => {
                self.inner = None;
                Some(Ok(event))
            }
        }
    }
}

fn may_overtake(first: &SourceEvent, second: &SourceEvent) -> bool {
    fn key(event: &SourceEvent) -> Option<&crate::id::ObjectKey> {
        match event {
            SourceEvent::Apply(object) | SourceEvent::InitApply(object) => Some(object.key()),
            SourceEvent::Delete(key) => Some(key),
            _ => None,
        }
    }
    matches!((key(first), key(second)), (Some(first), Some(second)) if first != second)
}
